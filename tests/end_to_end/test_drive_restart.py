"""`rtx drive` while its `rtx serve` is killed and started again: real processes, a simulated arm, nothing stale.

    python -m pytest -m slow tests/end_to_end/test_drive_restart.py -s

The robot's own record says what was sent when; the clock is the machine's, the same for all three processes. How long after
"ready" the robot moved again is printed, not judged: on a machine that does other things it says little.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rtx.control.guard_log import replay
from rtx.data import catalogue
from rtx.doctor.recording import load_episodes
from rtx.robots.adapter import Adapter
from rtx.robots.sim_arms import SIM_ARMS
from tests.end_to_end.command import COMMAND, environment, rtx
from tests.end_to_end.test_quickstart import needs_gl
from tests.saved_policy import save_policy
from tests.small_policy import contract, rt1_policy

ROBOT = "sim_panda"
PERIOD_NS = round(1e9 / SIM_ARMS[ROBOT].control_hz)
CHUNK_NS = contract().chunk * PERIOD_NS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_gl]


@pytest.fixture(name="run_dir", scope="module")
def _run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_policy(rt1_policy(), tmp_path_factory.mktemp("run"))


@contextlib.contextmanager
def serving(run_dir: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`rtx serve`, and when it was ready; killed with SIGKILL at the latest when the block ends."""
    command = [*COMMAND, "serve", str(run_dir), "--port", str(port), "--max-batch", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()) as process:
        try:
            assert process.stdout is not None
            assert re.fullmatch(r"ready: ws://\S+\n", process.stdout.readline())
            yield process, time.monotonic_ns()
        finally:
            process.kill()


@contextlib.contextmanager
def driving(port: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "drive", f"ws://127.0.0.1:{port}", "--robot", ROBOT, "--driver", "sim", "--instruction", "push it",
               "--stop-after", "900", "--record", str(folder)]  # fmt: skip
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(command, stdin=null, stdout=pipe, stderr=pipe, text=True, env=environment()) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Of the drive so far; the last one may still be under way."""
    file = folder / "drive.jsonl"
    whole = file.read_text().split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in whole]


def waited_for(folder: Path, process: subprocess.Popen[str], seen: Callable[[list[dict[str, Any]]], bool]) -> None:
    while not seen(lines_of(folder)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def sent(lines: list[dict[str, Any]], after_ns: int = 0) -> list[dict[str, Any]]:
    return [line for line in lines if "action" in line and line["now_ns"] > after_ns]


def test_it_holds_while_the_server_is_gone_and_goes_on_by_itself(run_dir, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with serving(run_dir, port) as (server, _), driving(port, tmp_path) as robot:
        waited_for(tmp_path, robot, lambda lines: len(sent(lines)) >= 10)
        server.kill()
        server.wait()
        killed_ns = time.monotonic_ns()
        gone_ns = killed_ns + CHUNK_NS  # from here on nothing that was answered is still good
        waited_for(tmp_path, robot, lambda lines: lines[-1]["now_ns"] > gone_ns + 10 * PERIOD_NS)
        with serving(run_dir, port) as (_, ready_ns):
            waited_for(tmp_path, robot, lambda lines: len(sent(lines, ready_ns)) >= 10)
            robot.send_signal(signal.SIGINT)
            said, complaint = robot.communicate(timeout=300)
    assert robot.returncode == 0, complaint
    lines = lines_of(tmp_path)
    between = [line for line in lines if gone_ns + 2 * PERIOD_NS < line["now_ns"] < ready_ns]
    assert len(between) >= 5
    assert [line for line in between if "action" in line] == []
    assert {line["mode"] for line in between} == {"holding"}
    first = sent(lines, ready_ns)[0]
    assert first["stamp_ns"] > killed_ns, "an answer of the server that was killed"
    assert [line for line in sent(lines) if line["now_ns"] > line["stamp_ns"] + CHUNK_NS] == [], "stale"
    assert "stopped:" not in said
    print(f"moved again {(first['now_ns'] - ready_ns) * 1e-9:.2f} s after ready")
    assert replay(tmp_path / "guard.jsonl", Adapter(SIM_ARMS[ROBOT])).different == ()
    kept = load_episodes(tmp_path / f"served_{ROBOT}", catalogue.find(f"served_{ROBOT}", tmp_path / "records.py"), most=9)
    assert sum(map(len, kept)) == len(sent(lines))
    assert kept[0].picture("primary", 0) is not None
    films = rtx("film", tmp_path).stdout.split()
    assert [Path(film).stat().st_size > 1000 for film in films] == [True] * len(kept)
