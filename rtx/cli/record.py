"""`rtx data record`: demonstrations from a driver, while somebody moves the arm or the simulation's expert does."""

from __future__ import annotations

import argparse
import select
import sys
import time
from pathlib import Path

from rtx.cli.verbs import Verbs, cameras, verb
from rtx.errors import UserError


def add_record(verbs: Verbs) -> None:
    parser = verb(verbs, "record", _record, "record demonstrations while somebody moves the arm, as HDF5 episodes")
    parser.add_argument("out", type=Path, help="folder of the episodes; new ones come after those that are there")
    parser.add_argument("--robot", required=True, metavar="R", help="a name of `rtx robots list`, or your my_robot.py")
    parser.add_argument("--driver", required=True, metavar="D", help="sim, ur:ADDRESS, xarm:ADDRESS, ... (docs/drivers.md)")
    parser.add_argument("--camera", action="append", default=[], metavar="ROLE=SOURCE", help="e.g. primary=v4l2:/dev/video0")
    parser.add_argument("--instruction", default="", metavar="TEXT", help="of all episodes (default: asked before each)")
    parser.add_argument("--seconds", type=float, default=120.0, help="an episode lasts at most (default: %(default)s)")
    parser.add_argument(
        "--expert",
        type=int,
        default=0,
        metavar="N",
        help="of driver sim: its scripted expert shows N episodes, nobody is asked",
    )


class Person:
    """Somebody at the terminal: Enter starts and ends an episode, k or d says whether it is kept."""

    def __init__(self, instruction: str) -> None:
        self._fixed, self._last = instruction, ""

    def begin(self, number: int) -> str | None:
        told = self._fixed or self._last
        said = self._ask(f"episode {number}: {f'Enter for {told!r}' if told else 'its instruction'}, q ends the recording: ")
        while not (said or told):
            said = self._ask("write what the robot is to do: ")
        if said == "q":
            return None
        self._last = self._fixed or said or self._last
        print(f"recording {self._last!r}; Enter ends the episode", flush=True)
        return self._last

    def is_over(self, steps: int) -> bool:
        if not select.select([sys.stdin], [], [], 0)[0]:
            return False
        sys.stdin.readline()
        return True

    def keep(self, summary: str) -> bool:
        said = self._ask(f"{summary}. Keep it? k keeps, d discards: ")
        while said not in ("k", "d", "q"):
            said = self._ask("k keeps, d discards: ")
        return said == "k"

    def _ask(self, question: str) -> str:
        """The line, or q at the end of the input."""
        print(question, end="", flush=True)
        line = sys.stdin.readline()
        return line.strip() if line else "q"


class _AtOnce:
    """The simulated world stands still between commands: nobody needs to wait."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, moment_ns: int) -> None: ...


def _record(args: argparse.Namespace) -> None:
    from rtx.control.recorder import record
    from rtx.drivers.registry import open_driver, parse
    from rtx.robots import catalogue

    robot = catalogue.find(args.robot)
    driver = open_driver(args.driver, robot, cameras=cameras(args.camera))
    if args.expert:
        from rtx.drivers.sim import SimDriver
        from rtx.drivers.sim_expert import SimExpert

        if not isinstance(driver, SimDriver):
            raise UserError(f"--expert is the simulation's: use --driver sim, not {args.driver!r}")
        options = parse(args.driver).options
        seed = int(options.get("seed", "0"))
        expert = SimExpert(driver, task=options.get("task", "reach"), count=args.expert, seed=seed)
        done = record(driver, args.out, expert, robot=robot, mover=expert, max_seconds=args.seconds, clock=_AtOnce())
    else:
        done = record(driver, args.out, Person(args.instruction), robot=robot, max_seconds=args.seconds)
    print(f"{len(done.files)} episodes kept, {done.discarded} discarded: {args.out}")
    if done.files:
        print(f"next: rtx finetune CHECKPOINT --robot {args.robot} --data {args.out}")
