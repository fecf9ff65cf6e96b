"""The stranger's path: every command of docs/new_robot.md, as written, and what the page promises of it.

pytest -m slow tests/end_to_end/test_new_robot.py       half an hour on two cores
RTX_NEW_ROBOT=FOLDER pytest ...                         in a folder that stays: what is done there is not done again
"""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from rtx.eval.results import load_evaluation
from rtx.files import read_json
from tests.end_to_end.command import COMMAND, environment, rtx
from tests.end_to_end.test_quickstart import needs_gl

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200), needs_gl]
PAGE = Path(__file__).parents[2] / "docs" / "new_robot.md"


def commands() -> list[list[str]]:
    """Of the page's code blocks, without what stands behind #."""
    blocks = re.findall(r"^```\n(.*?)^```$", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = [line.split("#")[0] for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("rtx ")]


def test_the_page_as_written(tmp_path):
    folder = Path(os.environ.get("RTX_NEW_ROBOT") or tmp_path)
    verbs = [command[0] for command in commands()]
    assert verbs == ["quickstart", "robots", "robots", "data", "finetune", "eval", "serve", "finetune", "eval"]
    for command in commands():
        if command[0] == "serve":
            serves(command, folder)
        elif not (command[:2] == ["robots", "new"] and (folder / command[2]).exists()):
            done = rtx(*command, cwd=folder, timeout=3600)
            assert done.returncode == 0, done.stderr[-3000:]
    runs = [folder / "runs" / name for name in ("my_robot", "scratch")]
    tuned, scratch = (load_evaluation(run / "eval-full") for run in runs)
    rates = [evaluation.rate(evaluation.main) for evaluation in (tuned, scratch)]
    assert [rate.trials for rate in rates] == [60, 60]
    assert rates[0].interval.low > rates[1].interval.high, [str(rate) for rate in rates]
    steps = [read_json(run / "finetune.json")["config"]["train"]["num_steps"] for run in runs]
    assert steps[0] == steps[1]


def serves(command: list[str], folder: Path) -> None:
    """It comes up and says where."""
    words, pipe = [*COMMAND, *command], subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, text=True, cwd=folder, env=environment()) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
    assert line.startswith("ready: ws://")
