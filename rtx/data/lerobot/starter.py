"""The starter record of an imported set: a Python file for its user to complete, which already prepares and loads.

What LeRobot does not say (units, whether numbers are positions or changes, limits) stands in it as an assumption to check.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import Path

from rtx.data.lerobot.meta import LeRobotFeature, LeRobotSet
from rtx.data.lerobot.names import camera_roles, identifier
from rtx.files import atomic


def write_starter(path: Path, found: LeRobotSet, *, name: str, paths: Mapping[str, tuple[str, ...]]) -> None:
    """Leaves a file alone that is there already: the user may have completed it."""
    if path.exists():
        return
    with atomic(path) as file:
        file.write(starter_text(found, name=name, paths=paths).encode())


def starter_text(found: LeRobotSet, *, name: str, paths: Mapping[str, tuple[str, ...]]) -> str:
    """Python source that defines RECORD. `paths`: key -> path under `steps/` (`names.rlds_paths`)."""
    floats = [f for f in found.numbers if f.dtype.startswith("float") and len(f.shape) == 1]
    actions = [f for f in floats if paths[f.key][0] == "action"]
    states = [f for f in floats if paths[f.key][0] == "observation"]
    robot, roles = identifier(found.robot), camera_roles([f.key for f in found.pictures])
    left_out = [f.key for f in found.pictures if f.key not in roles.values()]
    left_out += [f"{f.key} (a depth map in a video)" for f in found.features if f.is_depth]
    sizes = {f.key: f.shape[:2] for f in found.pictures}
    return _TEMPLATE.substitute(
        name=name,
        robot=robot,
        hz=repr(found.fps),
        version=found.version,
        action=_rows(_vectors(actions, paths)),
        state=_rows(_vectors(states, paths)),
        cameras=_rows([(role, _joined(paths[key]), sizes[key]) for role, key in roles.items()]),
        notes="".join(f"\n        {f'not used, no camera role left or fit: {key}'!r}," for key in left_out),
    )


def _joined(path: Sequence[str]) -> str:
    return "/".join(path)


def _vectors(features: Sequence[LeRobotFeature], paths: Mapping[str, tuple[str, ...]]) -> list[tuple[str, tuple[str, ...]]]:
    """Path and names of each, all names different: where two vectors share some, the vector's own name comes first."""
    dims = [_dims(f) for f in features]
    together = [name for names in dims for name in names]
    if len(set(together)) != len(together):
        dims = [tuple(f"{paths[f.key][-1]}_{name}" for name in names) for f, names in zip(features, dims, strict=True)]
    return [(_joined(paths[f.key]), names) for f, names in zip(features, dims, strict=True)]


def _dims(feature: LeRobotFeature) -> tuple[str, ...]:
    """One name per number: the set's own where it has one for each, else numbered."""
    names = [identifier(name) for name in feature.names]
    if len(names) != feature.shape[0] or len(set(names)) != len(names):
        names = [f"{identifier(feature.key.rpartition('.')[2])}_{i}" for i in range(feature.shape[0])]
    return tuple(names)


def _rows(rows: Sequence[tuple[object, ...]]) -> str:
    return "".join(f"\n    {row!r}," for row in rows) + ("\n" if rows else "")


_TEMPLATE = string.Template('''"""The data set $name, imported from LeRobot $version.

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


# CHECK: kind (joint_pos: a target position; joint_delta: a change of it) and unit. LeRobot's files do not say.
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
    title="imported from LeRobot $version",
    notes=(
        "units, kind of the action and limits are assumptions of the import: see the file of the record",$notes
    ),
)
''')
