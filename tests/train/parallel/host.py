"""One host of a run, as a process with two CPU devices: `rtx train`, and a SIGTERM of its own with the batch that is asked for.

python -m tests.train.parallel.host STOP BAD ARGUMENTS...
    STOP: number of that batch, 0 = none; BAD: number of a sample whose robot state is NaN; then what `rtx` is told
"""

from __future__ import annotations

import os
import signal
import sys

from rtx.cli import main
from rtx.train.prefetch import Prefetch
from tests.train.small_run import poisoned


def stop_with(batch: int) -> None:
    take, calls = Prefetch.take, []

    def stopping(self):
        calls.append(None)
        if len(calls) == batch:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(self)

    Prefetch.take = stopping


if __name__ == "__main__":
    if int(sys.argv[1]):
        stop_with(int(sys.argv[1]))
    with poisoned(int(sys.argv[2])):
        main(sys.argv[3:])
