"""The record of a data set in a robot's own numbers: the robot's adapter makes them canonical, as it will when it is driven.

    keys --side by side--> native action, native state --rtx.robots.adapter--> action and proprio of the layout

So a policy is trained on what the adapter computes of a state, and commands what the adapter turns back.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rtx.data.record import DatasetRecord, ImageKey, Trajectory
from rtx.data.robot_keys import Found, Part
from rtx.data.standardize import ended
from rtx.embodiment import Embodiment, Layout
from rtx.errors import UserError
from rtx.images import ChannelOrder
from rtx.robots.adapter import Adapter
from rtx.robots.adapter_layout import default_layout
from rtx.robots.commanded import commanded_layout

__all__ = ["Part", "known_layout", "record_of"]


def record_of(
    robot: Embodiment,
    *,
    name: str,
    action: Sequence[Part],
    state: Sequence[Part],
    images: Mapping[str, str],
    instructions: Sequence[str] = ("language_instruction",),
    channel_order: ChannelOrder | None = None,
    ends: bool = False,
    layout: Layout | None = None,
    title: str = "",
) -> DatasetRecord:
    """The record of a set whose `action` and `state` are `robot`'s own vectors, in its fields' units, frames and polarity.

    `images`: role -> path under `steps/`; `channel_order` of the files, by default that of the robot's cameras. `ends`: its
    `is_terminal` says which episodes ended themselves. `layout`: by default `known_layout(robot)`.

    Raises UserError for a robot whose numbers the adapter cannot convert.
    """
    layout = known_layout(robot, ends=ends) if layout is None else layout
    orders = {camera.role: channel_order or camera.channel_order for camera in robot.cameras}
    keys: dict[str, tuple[int | None, ...]] = {part.path: part.shape for part in (*action, *state)}
    if ends:
        keys |= {"is_last": (), "is_terminal": ()}
    return DatasetRecord(
        name=name,
        title=title or f"demonstrations of {robot.name}",
        embodiment=robot,
        images={role: ImageKey(path=path, channel_order=orders[role]) for role, path in images.items()},
        instructions=tuple(instructions),
        keys=keys,
        standardize=functools.partial(
            by_adapter, robot=robot, layout=layout, action=tuple(action), state=tuple(state), ends=ends
        ),
        layout=layout,
    )


def record_of_found(
    robot: Embodiment, found: Found, *, name: str, channel_order: ChannelOrder | None, ends: bool, layout: Layout | None
) -> DatasetRecord:
    """The record for what `robot_keys.find_keys` found."""
    return record_of(
        robot, name=name, action=found.action, state=found.state, images=found.images, instructions=found.instructions,
        channel_order=channel_order, ends=ends, layout=layout,
    )  # fmt: skip


def record_text(found: Found, robot: str, *, name: str, channel_order: ChannelOrder | None, ends: bool) -> str:
    """Python source that defines RECORD. `robot`: a name of `rtx robots list`, or the path of the robot's file."""
    return _TEMPLATE.substitute(
        name=name,
        robot=repr(robot),
        action=_rows(found.action),
        state=_rows(found.state),
        images=repr(dict(found.images)),
        instructions=repr(found.instructions),
        channel_order=repr(channel_order),
        ends=repr(ends),
    )


def _rows(parts: Sequence[Part]) -> str:
    return "".join(f"\n        {part!r}," for part in parts) + ("\n    " if parts else "")


_TEMPLATE = string.Template('''"""The data set $name: where the robot's numbers lie in it. The robot's file says what they mean.

    rtx data prepare $name THIS_FOLDER PREPARED --records THIS_FILE
"""

from rtx.data.robot_record import Part, record_of
from rtx.robots.catalogue import find

RECORD = record_of(
    find($robot),
    name="$name",
    action=($action),
    state=($state),
    images=$images,
    instructions=$instructions,
    channel_order=$channel_order,
    ends=$ends,
)
''')


def by_adapter(
    trajectory: Trajectory, *, robot: Embodiment, layout: Layout, action: Sequence[Part], state: Sequence[Part], ends: bool
) -> Trajectory:
    """A `standardize` function: what each native command does from the state it was given in."""
    adapter, measured = _adapter(robot, layout), _joined(trajectory, state)
    value = adapter.to_canonical(_joined(trajectory, action), proprio_native=measured)
    for field in layout.action.fields:
        if field.kind == "terminate" and ends:
            value[:, layout.action.slices[field.name]] = np.where(ended(trajectory), field.high, field.low)[:, None]
    return {**trajectory, "action": value, "proprio": adapter.proprio(measured)}


def known_layout(robot: Embodiment, *, ends: bool = False) -> Layout:
    """The adapter's own layout for the robot, without what the robot neither measures nor is commanded in.

    Raises UserError for a robot that the adapter cannot convert.
    """
    layout = commanded_layout(default_layout(robot), robot, ends=ends)
    proprio = [field.name for field in layout.proprio]
    layout = layout.without(*(["proprio"] if proprio else []))
    _adapter(robot, layout)  # what is wrong with the action is said as such
    measured = [name for name in proprio if _measures(robot, layout, name)]
    return _knowing(layout, measured)


def _measures(robot: Embodiment, layout: Layout, name: str) -> bool:
    try:
        Adapter(robot, _knowing(layout, [name]))
    except UserError:
        return False
    return True


def _knowing(layout: Layout, proprio: Sequence[str]) -> Layout:
    """The layout with these fields of the state known, and no others."""
    mask = [field.name in proprio for field in layout.proprio for _ in range(field.width)]
    return Layout(action=layout.action, proprio=layout.proprio, action_mask=layout.action_mask, proprio_mask=tuple(mask))


@functools.cache
def _adapter(robot: Embodiment, layout: Layout) -> Adapter:
    """Made once in a process: it may read a description of the arm."""
    return Adapter(robot, layout)


def _joined(trajectory: Trajectory, parts: Sequence[Part]) -> np.ndarray:
    """float64 [T, n]."""
    steps = len(trajectory["_frame_index"])
    columns = [_value(trajectory, part.path).reshape(steps, -1)[:, part.first : part.last] for part in parts]
    return np.concatenate(columns, -1).astype(np.float64) if columns else np.zeros((steps, 0))


def _value(trajectory: Trajectory, path: str) -> np.ndarray:
    node: Any = trajectory
    for name in path.split("/"):
        node = node[name]
    return np.asarray(node)
