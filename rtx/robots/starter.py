"""A commented file for a user's own robot, filled in from a robot that rtx knows: `rtx robots new my_robot.py --like NAME`."""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
from pathlib import Path
from typing import Any

from rtx.embodiment import ActionField, Camera, Embodiment, Field
from rtx.errors import UserError

WIDTH = 118  # of a line before it is broken
PIECE = 100  # of a long text

_HEAD = '''\
"""{name}: a robot of mine, for rtx. Written from {like!r}; every CHANGE is yours to answer before the arm moves.

    rtx robots check {file}       looks it over: units, limits, names, kinematics, a dry run in simulation
    rtx robots show {file}

Give this file wherever a robot's name may stand. SI units and the arm's base frame (x forward, y left, z up) unless a field
says otherwise. Gripper: `closed` and `opened` are the values of a closed and of an open one.
"""

from rtx.embodiment import ActionField, ActionSpace, Camera, Embodiment, Field, Kinematics, Limits

INF = float("inf")  # of a joint that turns on without an end

'''
_CAMERAS = """\
# Roles: primary, secondary, tertiary, quaternary, wrist, wrist_left, wrist_right. A policy asks for the roles it was trained
# with. resolution is (height, width) as the driver delivers it, channel_order "rgb" or "bgr" (OpenCV delivers bgr).
# CHANGE: your cameras, and where they look from.
"""
_PROPRIO = """\
# What the robot measures, in the order in which the driver hands it out. Adapters look for eef_pos, eef_rot and gripper, or
# for joint_pos_N (N joints); of two arms the left one's begin with left_. Rotation: rpy, axis_angle, quat_wxyz or _xyzw, rot6d.
# CHANGE: order, units ("m", "cm", "mm"; "rad", "deg"), frame, and what your gripper reads closed and open.
"""
_ACTION = """\
# What the driver is sent once in each period, in this order. Kinds: delta_pos, abs_pos, delta_rot, abs_rot, gripper, terminate,
# joint_pos, joint_delta, joint_vel, base_delta_pos, base_delta_rot, base_vel. low and high bound one number, in its unit.
# CHANGE: kinds, units, frames ("base" or "tool"), and the gripper's values.
"""
_LIMITS = """\
# What the safety filter never lets pass. Metres and radians, in the base frame.
# CHANGE: the box, to your table and walls: nothing else in rtx knows where they are. Then try it with the arm unloaded.
"""
_KINEMATICS = """\
# Which description says how the joints move the gripper point: "robot_descriptions:NAME" (that package), "robosuite:NAME", or
# "file:my_arm.urdf" (or an MJCF .xml) beside this file. Needed to command joints; without it the check has no dry run.
# joints in the order of the joint fields, and of the limits above; tip is the site or body of the gripper point; base the body
# of the frame that poses are in ("" = the description's world); home a safe pose to start from, rad.
# CHANGE: home, and tip if your gripper is another.
"""


def write_starter(path: Path, like: Embodiment) -> None:
    """Writes a robot file at `path` that says what `like` says. Raises UserError if there is something already."""
    if path.suffix != ".py":
        raise UserError(f"{path}: a robot file is Python; name it {path.with_suffix('.py')}")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is no folder; make it first")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(starter_text(path, like))
    except FileExistsError as error:
        raise UserError(f"{path} exists and is left as it is; name another file, or move it away") from error


def starter_text(path: Path, like: Embodiment) -> str:
    """Python source whose `ROBOT` equals `like` but for its name, which is the file's."""
    parts = [_HEAD.format(name=path.stem, like=like.name, file=path.name)]
    parts += [_CAMERAS, _sequence("CAMERAS", like.cameras), "\n", _PROPRIO, _sequence("PROPRIO", like.proprio), "\n"]
    parts += [_ACTION, _sequence("ACTION", like.action.fields), "\n"]
    parts += [_LIMITS, f"LIMITS = {_call(like.limits)}\n\n"]
    parts += [_KINEMATICS, f"KINEMATICS = {_call(like.kinematics) if like.kinematics else None}\n\n"]
    parts += [
        "ROBOT = Embodiment(\n",
        f"    name={_text(path.stem)},\n",
        f"    morphology={_text(like.morphology)},\n",
        "    cameras=CAMERAS,\n    proprio=PROPRIO,\n    action=ActionSpace(fields=ACTION),\n",
        f"    control_hz={like.control_hz!r},  # CHANGE: commands a second that the driver takes\n",
        "    limits=LIMITS,\n    kinematics=KINEMATICS,\n)\n",
    ]
    return "".join(parts)


def _sequence(name: str, items: tuple[Camera | Field | ActionField, ...]) -> str:
    if not items:
        return f"{name} = ()\n"
    return f"{name} = (\n" + "".join(f"    {_call(item, indent=4)},\n" for item in items) + ")\n"


def _call(record: Any, indent: int = 0) -> str:
    """A constructor with what differs from the defaults, on one line if it fits."""
    given = [
        f"{field.name}={_value(getattr(record, field.name))}"
        for field in dataclasses.fields(record)
        if field.default is dataclasses.MISSING or getattr(record, field.name) != field.default
    ]
    name, pad = type(record).__name__, " " * indent
    line = f"{name}({', '.join(given)})"
    if len(pad) + len(line) <= WIDTH:
        return line
    return f"{name}(\n" + "".join(f"{pad}    {one},\n" for one in given) + f"{pad})"


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "INF" if value > 0 else "-INF"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    """A string literal, a long one in pieces."""
    pieces = textwrap.wrap(
        value, PIECE, drop_whitespace=False, break_long_words=False, expand_tabs=False, replace_whitespace=False
    )
    if len(pieces) < 2:
        return json.dumps(value, ensure_ascii=False)
    pad = "\n        "
    return f"({pad}{pad.join(json.dumps(piece, ensure_ascii=False) for piece in pieces)}\n    )"
