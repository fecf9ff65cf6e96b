"""Data sets whose actions are no motion of an arm: TidyBot (a sentence) and VIMA (pick here, place there)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rtx.data.oxe.arms import View, arm, images
from rtx.data.oxe.moves import values
from rtx.data.record import NO_ACTION, DatasetRecord, Trajectory
from rtx.embodiment import ActionField, ActionSpace, Layout
from rtx.robots.rotations import convert


def _place(name: str, rotation: bool) -> ActionField:
    if rotation:
        return ActionField(name=f"{name}_rot", width=6, kind="abs_rot", unit="1", frame="world", rotation="rot6d")
    return ActionField(name=f"{name}_pos", width=3, kind="abs_pos", unit="m", frame="world")


PICK_AND_PLACE: tuple[ActionField, ...] = tuple(_place(name, part) for name in ("pick", "place") for part in (False, True))
"""Width 18. Where the tool takes hold (or a spatula touches down) and where it lets go, in the world frame of the table."""


def standardize_vima(trajectory: Trajectory) -> Trajectory:
    trajectory["action"] = np.concatenate([_pose(trajectory, "pose0"), _pose(trajectory, "pose1")], -1).astype(np.float32)
    trajectory["proprio"] = np.zeros((len(trajectory["action"]), NO_ACTION.proprio_width), np.float32)
    return trajectory


def _pose(trajectory: Trajectory, name: str) -> Float[np.ndarray, "t 9"]:
    rot = convert(values(trajectory, f"action/{name}_rotation"), "quat_xyzw", "rot6d")
    return np.concatenate([values(trajectory, f"action/{name}_position"), rot], -1)


def is_success(trajectory: Trajectory) -> bool:
    return bool(np.all(trajectory["traj_metadata"]["episode_metadata"]["success"]))


_TIDYBOT_VIEWS = {"primary": View("image", 360, 640)}
_VIMA_VIEWS = {
    "primary": View("frontal_image", 128, 256),
    "secondary": View("image", 128, 256, mounting="over the table, looking down"),
}

PRIMITIVES: tuple[DatasetRecord, ...] = (
    DatasetRecord(
        name="tidybot",
        title="TidyBot",
        embodiment=arm(
            "tidybot", _TIDYBOT_VIEWS, hz=5.0, hardware="kinova_gen3", morphology="arm on a wheeled base",
            action=PICK_AND_PLACE,
        ),
        images=images(_TIDYBOT_VIEWS),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={},
        standardize=None,
        layout=NO_ACTION,
        notes=(
            "the action is a sentence (which object goes where), so nothing is known of motion: pictures and texts only",
            "control frequency not recorded: 5.0 is a placeholder",
            "24 episodes",
        ),
    ),
    DatasetRecord(
        name="vima_converted_externally_to_rlds",
        title="VIMA",
        embodiment=arm(
            "ur5_vima", _VIMA_VIEWS, hz=5.0, hardware="ur5", morphology="single arm, simulated", action=PICK_AND_PLACE,
        ),
        images=images(_VIMA_VIEWS),
        instructions=("multimodal_instruction",),
        keys={
            f"action/{name}_{part}": (width,)
            for name in ("pose0", "pose1") for part, width in (("position", 3), ("rotation", 4))
        },
        standardize=standardize_vima,
        layout=Layout(action=ActionSpace(fields=PICK_AND_PLACE)).without("proprio"),
        metadata=("episode_metadata/success",),
        keep=is_success,
        notes=(
            "each action is a whole pick and place between two poses (m, quaternions xyzw as in PyBullet), in the world frame",
            "one step is one primitive: no control frequency, 5.0 is a placeholder",
            "the instruction has placeholders for pictures, which are not filled in",
            "pictures are stored as raw tensors: 1.39 TiB",
            "the tool is a suction cup or a spatula (observation/ee)",
        ),
    ),
)  # fmt: skip
