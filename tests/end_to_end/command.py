"""Runs the rtx command as a person would: a process of its own, its text on two pipes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from rtx.cli import main; main()"]


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **extra}


def rtx(*arguments: object, cwd: Path | None = None, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """The finished process; the test looks at its code and texts."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd or ROOT, env=environment(), timeout=timeout)


def start(*arguments: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """A running process in a process group of its own, so that all of it can be killed at once; its stderr is a pipe."""
    words, null, pipe = [*COMMAND, *map(str, arguments)], subprocess.DEVNULL, subprocess.PIPE
    return subprocess.Popen(
        words, stdout=null, stderr=pipe, text=True, cwd=cwd or ROOT, env=environment(), start_new_session=True
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one message of a refused command: no traceback, nothing on standard output, a non-zero code."""
    assert done.returncode in (1, 2), done
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""
    return done.stderr
