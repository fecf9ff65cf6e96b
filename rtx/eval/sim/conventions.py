"""How each simulated arm's demonstrations look as RLDS: which keys hold which fields of its native vectors.

`SIM_ARMS` says what the native numbers mean (units, frames, rotation forms, gripper polarity); this table only says
under which names they are stored, after the table in `rtx/data/simulated.py`:

    native proprio [pos | quat | gripper]  --split by field names-->  observation/ee_position, observation/ee_quat_wxyz, ...

Two things are not a matter of names: one wrist camera stores its channels as BGR, and Sawyer's action carries RT-1's
one-hot terminate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from rtx.data.write import Feature, FeatureTree, ImageFeature, RldsFeatures, TensorFeature, TextFeature
from rtx.embodiment import Field, field_slices
from rtx.errors import unknown_name
from rtx.images import encode_jpeg
from rtx.robots.sim_arms import SIM_ARMS

JPEG_QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class Convention:
    """Paths are under `steps/`. `proprio` and `action`: path -> the native fields whose concatenation it holds."""

    images: Mapping[str, str]  # role -> path
    proprio: Mapping[str, tuple[str, ...]]
    action: Mapping[str, tuple[str, ...]]
    language: str
    bgr_roles: frozenset[str] = frozenset()  # cameras whose driver hands out BGR, stored as it comes
    terminate: str | None = None  # int32[3] one-hot: terminate, move arm and gripper, move base


@dataclass(frozen=True, kw_only=True)
class StepFlags:
    """Where in its episode a step lies. `terminate`: the step commands the end."""

    is_first: bool
    is_last: bool
    terminate: bool
    reward: float


_ALL_PROPRIO = ("eef_pos", "eef_rot", "gripper")
_ALL_DELTA = ("delta_pos", "delta_rot", "gripper")
_IN_STEP = "language_instruction"
_IN_OBSERVATION = "observation/natural_language_instruction"

CONVENTIONS: Mapping[str, Convention] = {
    "sim_panda": Convention(
        images={"primary": "observation/image", "wrist": "observation/wrist_image"},
        proprio={"observation/state": _ALL_PROPRIO},
        action={"action": _ALL_DELTA},
        language=_IN_STEP,
    ),
    "sim_sawyer": Convention(
        images={"primary": "observation/front_rgb", "wrist": "observation/hand_rgb"},
        proprio={
            "observation/ee_position": ("eef_pos",),
            "observation/ee_quat_wxyz": ("eef_rot",),
            "observation/gripper_closed": ("gripper",),
        },
        action={
            "action/world_vector": ("delta_pos",),
            "action/rotation_delta": ("delta_rot",),
            "action/gripper_closedness_action": ("gripper",),
        },
        language=_IN_OBSERVATION,
        terminate="action/terminate_episode",
    ),
    "sim_ur5e": Convention(
        images={"primary": "observation/image", "wrist": "observation/hand_image"},
        proprio={"observation/robot_state": _ALL_PROPRIO},
        action={
            "action/translation_cm": ("delta_pos",),
            "action/rotation_axis_angle": ("delta_rot",),
            "action/gripper_closedness": ("gripper",),
        },
        language=_IN_OBSERVATION,
        bgr_roles=frozenset({"wrist"}),
    ),
    "sim_iiwa": Convention(
        images={"primary": "observation/cam_front", "wrist": "observation/cam_wrist"},
        proprio={
            "observation/tcp_position": ("eef_pos",),
            "observation/tcp_rpy": ("eef_rot",),
            "observation/gripper": ("gripper",),
        },
        action={"action": ("abs_pos", "abs_rot", "gripper")},
        language=_IN_STEP,
    ),
    "sim_kinova3": Convention(
        images={"primary": "observation/rgb_front", "wrist": "observation/rgb_hand"},
        proprio={"observation/ee_pose": ("eef_pos", "eef_rot"), "observation/gripper_percent": ("gripper",)},
        action={
            "action/translation_tool": ("delta_pos",),
            "action/rotation_tool_axis_angle": ("delta_rot",),
            "action/gripper_percent": ("gripper",),
        },
        language=_IN_STEP,
    ),
    "sim_jaco": Convention(
        images={"primary": "observation/image", "wrist": "observation/image_wrist"},
        proprio={"observation/end_effector_pose_deg": ("eef_pos", "eef_rot"), "observation/gripper": ("gripper",)},
        action={
            "action/world_vector": ("delta_pos",),
            "action/rotation_delta_deg": ("delta_rot",),
            "action/gripper": ("gripper",),
        },
        language=_IN_OBSERVATION,
    ),
    "sim_vx300s": Convention(
        images={"primary": "observation/image_0", "wrist": "observation/image_1"},
        proprio={"observation/state": _ALL_PROPRIO},
        action={"action": _ALL_DELTA},
        language=_IN_STEP,
    ),
}


def convention(arm: str) -> Convention:
    """Raises UserError for an arm that is not one of the seven."""
    if arm not in CONVENTIONS:
        raise unknown_name("simulated arm", arm, CONVENTIONS)
    return CONVENTIONS[arm]


def features(arm: str, *, image_size: int) -> RldsFeatures:
    """What the arm's RLDS set holds; pictures are squares of `image_size` pixels."""
    names, robot = convention(arm), SIM_ARMS[arm]
    leaves: dict[str, Feature] = {key: TensorFeature(dtype="bool") for key in ("is_first", "is_last", "is_terminal")}
    leaves |= {key: TensorFeature() for key in ("reward", "discount")}
    leaves |= {path: ImageFeature(height=image_size, width=image_size) for path in names.images.values()}
    for table, fields in ((names.proprio, robot.proprio), (names.action, robot.action.fields)):
        width = {field.name: field.width for field in fields}
        leaves |= {path: TensorFeature(shape=(sum(width[f] for f in parts),)) for path, parts in table.items()}
    leaves[names.language] = TextFeature()
    if names.terminate:
        leaves[names.terminate] = TensorFeature(shape=(3,), dtype="int32")
    metadata: dict[str, FeatureTree | Feature] = {"file_path": TextFeature(), "episode_id": TensorFeature(dtype="int32")}
    return RldsFeatures(steps=_nested(leaves), episode=metadata)


def encode_frame(arm: str, role: str, image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """An RGB frame as the bytes this arm's camera leaves in the set: JPEG, for some with their channels as BGR."""
    stored = image[..., ::-1] if role in convention(arm).bgr_roles else image
    return encode_jpeg(np.ascontiguousarray(stored), JPEG_QUALITY)


def raw_step(
    arm: str, *, images: Mapping[str, bytes], proprio: Float[np.ndarray, " p"], action: Float[np.ndarray, " a"],
    instruction: str, flags: StepFlags,
) -> dict[str, Any]:  # fmt: skip
    """One step under the arm's own keys. `images`: role -> `encode_frame`; `proprio`, `action`: native vectors."""
    names, robot = convention(arm), SIM_ARMS[arm]
    leaves: dict[str, Any] = {
        "is_first": flags.is_first,
        "is_last": flags.is_last,
        "is_terminal": flags.is_last and flags.terminate,
        "reward": flags.reward,
        "discount": 1.0,
        names.language: instruction,
    }
    leaves |= {path: images[role] for role, path in names.images.items()}
    leaves |= _split(proprio, robot.proprio, names.proprio)
    leaves |= _split(action, robot.action.fields, names.action)
    if names.terminate:
        leaves[names.terminate] = np.array([1, 0, 0] if flags.terminate else [0, 1, 0], np.int32)
    return _nested(leaves)


def _split(vector: np.ndarray, fields: Sequence[Field], table: Mapping[str, tuple[str, ...]]) -> dict[str, np.ndarray]:
    at = field_slices(fields)
    return {path: np.concatenate([vector[at[name]] for name in parts]).astype(np.float32) for path, parts in table.items()}


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """{"observation/image": x, "action": y} -> {"observation": {"image": x}, "action": y}"""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, last = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree
