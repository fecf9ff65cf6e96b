"""BridgeData V2 on the WidowX 250: the project's own RLDS copy, the older one of the bucket, and Microsoft's addition.

The recorded actions are commands the arm only partly follows, so motion is replaced by what was reached:

    step t   delta_pos = p[t+1] - p[t]     delta_rot = R[t+1] R[t]^T     gripper = the command, made binary

The stored orientation is relative to "gripper pointing down": R_stored = R_base GRIPPER_DOWN^T. Base-frame deltas do not
see that constant (it cancels); proprio is composed with it to the true orientation. Octo and OpenVLA subtract Euler angles
instead, which wraps at +-pi.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rtx.data.oxe.arms import View, arm, images
from rtx.data.record import DatasetRecord, DepthKey, ImageKey, Trajectory
from rtx.data.standardize import binarize_gripper, cut, reached
from rtx.embodiment import CANONICAL
from rtx.robots import fields, rotations
from rtx.robots.widowx import WIDOWX_250

GRIPPER_DOWN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
IDLE_BELOW = 1e-5  # m and rad; the idle first commands reach 8e-7, the smallest real one of the debug shards is 3.5e-3


def standardize(trajectory: Trajectory) -> Trajectory:
    """Drops the first step where it does not move (25 of 25 real episodes) and the last, which reaches nothing."""
    trajectory = drop_idle_start(trajectory)
    gripper = binarize_gripper(trajectory["action"][:, 6].astype(np.float64))
    return _reached(trajectory, gripper, None)


def standardize_bucket(trajectory: Trajectory) -> Trajectory:
    """The same of the older copy, whose action is a dictionary with a gripper that is binary already and a terminate."""
    trajectory = drop_idle_start(trajectory)
    action = trajectory["action"]
    return _reached(trajectory, action["open_gripper"].astype(np.float64), action["terminate_episode"] > 0.5)


def drop_idle_start(trajectory: Trajectory) -> Trajectory:
    action = trajectory["action"]
    parts = [action[:, :6]] if isinstance(action, np.ndarray) else [action["world_vector"], action["rotation_delta"]]
    motion = np.concatenate(parts, -1)
    is_idle = len(motion) > 0 and bool(np.all(np.abs(motion[0]) < IDLE_BELOW))
    return cut(trajectory, slice(1, None)) if is_idle else trajectory


def _reached(trajectory: Trajectory, gripper: Float[np.ndarray, " t"], terminate: np.ndarray | None) -> Trajectory:
    state = trajectory["observation"]["state"].astype(np.float64)
    rot = rotations.to_matrix(state[:, 3:6], "rpy") @ GRIPPER_DOWN
    return reached(trajectory, pos=state[:, :3], rot=rot, gripper=gripper, opening=state[:, 6], terminate=terminate)


_PROPRIO = (fields.eef_pos(), fields.eef_rot("rpy"), fields.gripper_state(closed=0, opened=1))
_ACTION = (fields.delta_pos(), fields.delta_rot(), fields.gripper(closed=0, opened=1))
_BUCKET_VIEWS = {"primary": View("image", 480, 640, mounting="over the arm's shoulder, fixed")}
_MSR_VIEWS = {
    "primary": View("image_0", 480, 640),
    "secondary": View("image_1", 480, 640),
    "tertiary": View("image_2", 480, 640),
}
_RELATIVE = "the stored orientation is relative to a gripper that points down; proprio holds the true one"

BRIDGE_DATASET = DatasetRecord(
    name="bridge_dataset",
    other_names=("bridge_orig",),
    title="BridgeData V2 (project-site RLDS copy, also called bridge_orig)",
    license="CC BY 4.0",
    embodiment=WIDOWX_250,
    images={"primary": ImageKey(path="observation/image_0"), "secondary": ImageKey(path="observation/image_1")},
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (7,), "observation/state": (7,)},
    standardize=standardize,
    layout=CANONICAL.without("terminate"),
    notes=(
        "no terminate action is recorded, so that dimension is masked",
        "unused cameras are stored as black frames; the has_image_* flags of the debug shards are all False, do not trust them",
        "gripper command is continuous (0.16 ... 0.994 seen while moving): made binary by what it reaches next",
        "measured gripper opening overshoots to 1.007: clipped",
        "feature descriptions inside the published features.json are left over from a template and wrong",
    ),
)

BRIDGE_BUCKET = DatasetRecord(
    name="bridge",
    other_names=("bridge_oxe",),
    title="BridgeData V2 (older copy in the Open X-Embodiment bucket)",
    license="CC BY 4.0",
    embodiment=arm(
        "widowx_250_bridge", _BUCKET_VIEWS, hz=5.0, hardware="widowx_250", action=(*_ACTION, fields.terminate()),
        proprio=_PROPRIO,
    ),
    images=images(_BUCKET_VIEWS),
    instructions=("observation/natural_language_instruction",),
    sentence_vector="observation/natural_language_embedding",
    keys={
        "action/world_vector": (3,), "action/rotation_delta": (3,), "action/open_gripper": (), "action/terminate_episode": (),
        "observation/state": (7,),
    },
    standardize=standardize_bucket,
    notes=(
        "outdated: one camera and half of the episodes of the project's own copy, bridge_dataset; do not mix the two",
        _RELATIVE,
    ),
)  # fmt: skip

BRIDGE_MSR = DatasetRecord(
    name="bridge_data_msr",
    title="Bridge-compatible data from Microsoft Research",
    embodiment=arm("widowx_250_msr", _MSR_VIEWS, hz=5.0, hardware="widowx_250", action=_ACTION, proprio=_PROPRIO),
    images=images(_MSR_VIEWS),
    depth={"primary": DepthKey(path="observation/depth_0")},
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (7,), "observation/state": (7,)},
    standardize=standardize,
    layout=CANONICAL.without("terminate"),
    notes=(
        "control frequency not recorded: 5 Hz assumed, as of BridgeData",
        "absent cameras are stored as dummies; episode_metadata/has_image_* says which",
        "depth is 8 bits of an unwritten unit",
        "no terminate action is recorded, so that dimension is masked",
        _RELATIVE,
    ),
)

BRIDGE: tuple[DatasetRecord, ...] = (BRIDGE_DATASET, BRIDGE_BUCKET, BRIDGE_MSR)
