"""The starter record of an imported set: a Python file for its user to complete, which already prepares and loads.

What the files do not say (units, whether numbers are positions or changes, limits) stands in it as an assumption to check.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtx.data.names import identifier
from rtx.files import atomic

Vector = tuple[str, tuple[str, ...]]
"""Key under `steps/`, and a name for each of its numbers."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an imported set. `cameras`: role, key under `steps/`, (height, width). `form`: what it came from."""

    name: str
    robot: str
    hz: float
    form: str
    action: Sequence[Vector]
    state: Sequence[Vector]
    cameras: Sequence[tuple[str, str, tuple[int, ...]]]
    notes: Sequence[str] = ()


def record_file(out: Path, name: str) -> Path:
    """Where the record of `name` is or goes: record.py, unless that is another set's."""
    first = out / "record.py"
    is_others = first.exists() and f'name="{name}"' not in first.read_text()
    return out / f"record_{name}.py" if is_others else first


def write_record(path: Path, text: str) -> None:
    """Leaves a file alone that is there already: the user may have completed it."""
    if path.exists():
        return
    with atomic(path) as file:
        file.write(text.encode())


def starter_text(facts: Facts) -> str:
    """Python source that defines RECORD."""
    return _TEMPLATE.substitute(
        name=facts.name,
        robot=identifier(facts.robot),
        hz=repr(facts.hz),
        form=facts.form,
        action=_rows(facts.action),
        state=_rows(facts.state),
        cameras=_rows(facts.cameras),
        notes="".join(f"\n        {note!r}," for note in facts.notes),
    )


def numbered(key: str, width: int) -> tuple[str, ...]:
    """A name for each number of a vector of which nothing more is known."""
    return tuple(f"{identifier(key)}_{i}" for i in range(width))


def _rows(rows: Sequence[tuple[object, ...]]) -> str:
    return "".join(f"\n    {row!r}," for row in rows) + ("\n" if rows else "")


_TEMPLATE = string.Template('''"""The data set $name, imported from $form.

What its numbers mean: complete what is marked CHECK.

    rtx data prepare $name THIS_FOLDER PREPARED --records THIS_FILE
"""

import numpy as np

from rtx.data.record import DatasetRecord, ImageKey
from rtx.embodiment import ActionField, ActionSpace, Camera, Embodiment, Field, Layout, Limits

# Key under steps/, and the name of each of its numbers. A name means one thing in a whole mixture: these begin with the robot.
ACTION = ($action)
STATE = ($state)
# Role, key, (height, width). CHECK the roles; also possible: secondary, tertiary, quaternary, wrist, wrist_left, wrist_right.
CAMERAS = ($cameras)


def standardize(trajectory):
    def joined(keys):
        parts = [np.asarray(value_at(trajectory, key), np.float32) for key, _ in keys]
        return np.concatenate(parts, -1) if parts else np.zeros((len(trajectory["_frame_index"]), 0), np.float32)

    return {**trajectory, "action": joined(ACTION), "proprio": joined(STATE)}


def value_at(trajectory, key):
    for name in key.split("/"):
        trajectory = trajectory[name]
    return trajectory


# CHECK: kind (joint_pos: a target position; joint_delta: a change of it) and unit. The files do not say.
LAYOUT = Layout(
    action=ActionSpace(
        fields=tuple(
            ActionField(name=f"${robot}_{name}", width=1, kind="joint_pos", unit="1", frame="joint")
            for _, names in ACTION
            for name in names
        )
    ),
    proprio=tuple(Field(name=f"${robot}_{name}", width=1, unit="1", frame="joint") for _, names in STATE for name in names),
)

RECORD = DatasetRecord(
    name="$name",
    embodiment=Embodiment(
        name="$robot",
        morphology="single arm",  # CHECK
        cameras=tuple(Camera(role=role, resolution=size) for role, _, size in CAMERAS),
        proprio=LAYOUT.proprio,
        action=LAYOUT.action,
        control_hz=$hz,
        limits=Limits(  # CHECK before a policy moves this robot
            workspace_low_m=(-0.01, -0.01, -0.01),
            workspace_high_m=(0.01, 0.01, 0.01),
            max_step_m=0.001,
            max_step_rad=0.01,
            max_velocity_m_s=0.01,
            max_acceleration_m_s2=0.1,
            source="not known: made so small that nothing moves",
        ),
    ),
    images={role: ImageKey(path=key) for role, key, _ in CAMERAS},
    instructions=("language_instruction",),
    keys={key: (len(names),) for key, names in (*ACTION, *STATE)},
    standardize=standardize,
    layout=LAYOUT,
    title="imported from $form",
    notes=(
        "units, kind of the action and limits are assumptions of the import: see the file of the record",$notes
    ),
)
''')
