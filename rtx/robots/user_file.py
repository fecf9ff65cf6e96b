"""A user's own robot: one Python file that defines `ROBOT = Embodiment(...)`, named wherever a robot's name may stand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rtx.embodiment import Embodiment, Kinematics
from rtx.errors import UserError
from rtx.python_file import run_file

_HINT = "rtx robots new my_robot.py writes a commented file to start from"


def is_user_file(name: str) -> bool:
    """Whether a robot's name is that of a file: names of ours have neither a suffix nor a folder."""
    return name.endswith(".py") or "/" in name or "\\" in name


def load_robot(path: Path) -> Embodiment:
    """Runs the user's file, which the user named, and returns its `ROBOT`; a relative `file:` is looked for beside it.

    Raises UserError naming the line for a file that does not run, and for one without a ROBOT.
    """
    path = Path(path).expanduser().absolute()
    if not path.is_file():
        raise UserError(f"no Python file at {path}; {_HINT}")
    module = run_file(path, "rtx_robot_")
    robot = getattr(module, "ROBOT", None)
    if not isinstance(robot, Embodiment):
        there = "nothing of that name" if robot is None else f"ROBOT is a {type(robot).__name__}"
        raise UserError(f"{path} must define ROBOT = Embodiment(...) at its top level; it has {there}. {_HINT}")
    return dataclasses.replace(robot, kinematics=_beside(robot.kinematics, path.parent))


def _beside(kinematics: Kinematics | None, folder: Path) -> Kinematics | None:
    if kinematics is None:
        return None
    kind, _, name = kinematics.source.partition(":")
    if kind != "file":
        return kinematics
    return dataclasses.replace(kinematics, source=f"file:{folder / Path(name).expanduser()}")
