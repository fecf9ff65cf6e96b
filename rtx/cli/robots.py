"""`rtx robots ...`: each verb a thin call into the library."""

from __future__ import annotations

import argparse
from pathlib import Path

from rtx.cli.verbs import verb
from rtx.errors import UserError

_NAME = "a robot's name, or a file of your own (my_robot.py)"


def add_robots(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    verb(verbs, "list", _list, "all robots")
    show = verb(verbs, "show", _show, "one robot: cameras, state, action, limits, joints, and where these come from")
    show.add_argument("name", help=_NAME)
    new = verb(verbs, "new", _new, "write a commented file for a robot of your own")
    new.add_argument("file", type=Path, help="the Python file to write; one that exists is left as it is")
    new.add_argument("--like", default="franka_droid", metavar="NAME", help="the robot to start from (default: %(default)s)")
    check = verb(verbs, "check", _check, "look a robot file over and move the arm in simulation; exit code 2 on problems")
    check.add_argument("name", help=_NAME)


def _list(_: argparse.Namespace) -> None:
    from rtx.robots import catalogue

    print(catalogue.list_text())


def _show(args: argparse.Namespace) -> None:
    from rtx.robots import catalogue

    print(catalogue.show_text(catalogue.find(args.name)))


def _new(args: argparse.Namespace) -> None:
    from rtx.robots import catalogue
    from rtx.robots.starter import write_starter

    write_starter(args.file, catalogue.find(args.like))
    print(f"{args.file}: answer every CHANGE in it, then\nrtx robots check {args.file}")


def _check(args: argparse.Namespace) -> None:
    from rtx.robots import catalogue
    from rtx.robots.check import check_robot
    from rtx.robots.user_file import is_user_file

    robot = catalogue.find(args.name)
    report = check_robot(robot, file=Path(args.name).expanduser() if is_user_file(args.name) else None)
    print(report.text(), flush=True)
    if report.problems:
        raise UserError(f"{args.name} has {len(report.problems)} to mend; it must not drive a robot like this")
