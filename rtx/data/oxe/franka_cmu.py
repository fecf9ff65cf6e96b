"""CMU's Franka sets: none measures a pose, so three of the four say where the arm is told to be."""

from __future__ import annotations

import numpy as np

from rtx.data.oxe.arms import View, arm, images
from rtx.data.oxe.layouts import GRIPPER_STATE
from rtx.data.oxe.moves import between, values
from rtx.data.oxe.polarity import FLAGS, openness
from rtx.data.record import DatasetRecord, Switch, Trajectory
from rtx.data.standardize import canonical_action, ended
from rtx.embodiment import CANONICAL, Layout, RotationForm
from rtx.robots import fields
from rtx.robots.rotations import to_matrix

_JOINTS = (fields.joint_state(7), GRIPPER_STATE)
PLAY_FUSION_OPEN_M = 0.085
_NO_PROPRIO = 10  # width of the canonical proprio, all of it unknown

_EXPLORATION_VIEWS = {"primary": View("highres_image", 480, 640)}
_PLAY_VIEWS = {"primary": View("image", 128, 128)}
_FOOD_VIEWS = {
    "primary": View("image", 480, 640),
    "wrist_left": View("finger_vision_1", 480, 640, mounting="in a finger"),
    "wrist_right": View("finger_vision_2", 480, 640, mounting="in the other finger"),
}
_IAMLAB_VIEWS = {"primary": View("image", 360, 640), "wrist": View("wrist_image", 240, 320)}


def standardize_exploration(trajectory: Trajectory, *, pose: str) -> Trajectory:
    """action: xyz, rpy, gripper, terminate."""
    action = values(trajectory, "action")
    proprio = np.zeros((len(action), _NO_PROPRIO))
    return _posed(trajectory, pose, action[:, :3], action[:, 3:6], "rpy", action[:, 6], action[:, 7] > 0.5, proprio)


def standardize_food(trajectory: Trajectory, *, pose: str, gripper: str) -> Trajectory:
    """action: xyz, quaternion, gripper. The state holds six forces, no pose."""
    action = values(trajectory, "action")
    opening = openness(action[:, 7], gripper)
    proprio = np.zeros((len(action), _NO_PROPRIO))
    return _posed(trajectory, pose, action[:, :3], action[:, 3:7], "quat_xyzw", opening, ended(trajectory), proprio)


def standardize_iamlab(trajectory: Trajectory, *, pose: str) -> Trajectory:
    """action: xyz, quaternion, gripper. state: joints 0:7, gripper 7, torques and forces."""
    state, action = values(trajectory, "observation/state"), values(trajectory, "action")
    proprio = np.concatenate([state[:, :7], np.clip(state[:, 7:8], 0, 1)], -1)
    return _posed(trajectory, pose, action[:, :3], action[:, 3:7], "quat_xyzw", action[:, 7], ended(trajectory), proprio)


def standardize_play_fusion(trajectory: Trajectory, *, quaternion: str) -> Trajectory:
    """action: delta xyz 0:3, delta quaternion 3:7, gripper 7, terminate 8. Others slice it 0:3 and 5:9."""
    state, action = values(trajectory, "observation/state"), values(trajectory, "action")
    form: RotationForm = "quat_xyzw" if quaternion == "xyzw" else "quat_wxyz"
    trajectory["action"] = canonical_action(action[:, :3], to_matrix(action[:, 3:7], form), action[:, 7], action[:, 8] > 0.5)
    opening = np.clip(state[:, 7:8] / PLAY_FUSION_OPEN_M, 0, 1)
    trajectory["proprio"] = np.concatenate([state[:, :7], opening], -1).astype(np.float32)
    return trajectory


def _posed(
    trajectory: Trajectory,
    pose: str,
    pos: np.ndarray,
    rotation: np.ndarray,
    form: RotationForm,
    gripper: np.ndarray,
    terminate: np.ndarray,
    proprio: np.ndarray,
) -> Trajectory:
    """By the answer to `_pose_switch`: targets, or deltas already."""
    rot = to_matrix(rotation, form)
    if pose == "target":
        return between(trajectory, target_pos=pos, target_rot=rot, gripper=gripper, terminate=terminate, proprio=proprio)
    action = canonical_action(pos, rot, gripper, terminate)
    return trajectory | {"action": action, "proprio": proprio.astype(np.float32)}


def _pose_switch(evidence: str) -> Switch:
    return Switch(
        name="pose",
        question="does the action say where the arm shall be, or by how much it shall move?",
        options={
            "target": "where: the set's own text; the action is the way from one target to the next, the first step is dropped",
            "delta": "by how much: loaders that pass it through as a delta",
        },
        default="target",
        evidence=evidence,
    )


EXPLORATION = DatasetRecord(
    name="cmu_franka_exploration_dataset_converted_externally_to_rlds",
    title="CMU Franka Exploration",
    embodiment=arm(
        "franka_cmu_exploration", _EXPLORATION_VIEWS, hz=10.0,
        action=(fields.abs_pos(), fields.abs_rot("rpy"), fields.gripper(closed=0.0, opened=1.0), fields.terminate()),
    ),
    images=images(_EXPLORATION_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (8,)},
    standardize=standardize_exploration,
    layout=CANONICAL.without("proprio"),
    switches=(_pose_switch("its text says end-effector position; no statistics are known that would contradict it"),),
    notes=(
        "no state is recorded at all",
        "a second picture, observation/image, is the same scene at 64 x 64: not used",
        "structured_action is an affordance, not a command: not used",
    ),
)  # fmt: skip

PLAY_FUSION = DatasetRecord(
    name="cmu_play_fusion",
    title="CMU Play Fusion",
    embodiment=arm(
        "franka_cmu_play_fusion", _PLAY_VIEWS, hz=5.0,
        action=(fields.delta_pos(), fields.delta_rot("quat_xyzw"), fields.gripper(closed=0.0, opened=1.0), fields.terminate()),
        proprio=(fields.joint_state(7), fields.gripper_state(closed=0.0, opened=PLAY_FUSION_OPEN_M, unit="m")),
    ),
    images=images(_PLAY_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (9,), "observation/state": (8,)},
    standardize=standardize_play_fusion,
    layout=Layout(proprio=_JOINTS),
    switches=(
        Switch(
            name="quaternion", question="is the scalar of the delta quaternion last or first?",
            options={"xyzw": "last", "wxyz": "first"}, default="xyzw",
            evidence="not stated; read in the wrong order every step turns by nearly pi, which `rtx data inspect` shows",
        ),
    ),
    notes=("play data", "the measured gripper opens to 0.085 m, the stroke of a Robotiq 2F-85 rather than of a Franka hand"),
)  # fmt: skip

FOOD = DatasetRecord(
    name="cmu_playing_with_food",
    title="CMU Playing with Food",
    embodiment=arm(
        "franka_cmu_food", _FOOD_VIEWS, hz=10.0,
        action=(fields.abs_pos(), fields.abs_rot("quat_xyzw"), fields.gripper(closed=0.0, opened=1.0)),
    ),
    images=images(_FOOD_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (8,), **FLAGS},
    standardize=standardize_food,
    layout=CANONICAL.without("proprio"),
    switches=(
        _pose_switch("its text says end-effector position; no statistics are known that would contradict it"),
        Switch(
            name="gripper", question="what does a gripper command of 1 mean?",
            options={"one_is_open": "open: loaders pass it through", "one_is_closed": "closed"},
            default="one_is_open", evidence="the text says open/close only",
        ),
    ),
    notes=(
        "the state is six forces at the end effector; Octo and OpenVLA label it a pose",
        "the two pictures from inside the fingers are missing in the skill of pressing down",
        "259 GiB of PNG for 4,200 short episodes",
    ),
)  # fmt: skip

IAMLAB = DatasetRecord(
    name="iamlab_cmu_pickup_insert_converted_externally_to_rlds",
    title="CMU IAM Lab Pickup and Insert",
    embodiment=arm(
        "franka_iamlab", _IAMLAB_VIEWS, hz=20.0,
        action=(fields.abs_pos(), fields.abs_rot("quat_xyzw"), fields.gripper(closed=0.0, opened=1.0)),
        proprio=(fields.joint_state(7), fields.gripper_state(closed=0.0, opened=1.0)),
    ),
    images=images(_IAMLAB_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (8,), "observation/state": (20,), **FLAGS},
    standardize=standardize_iamlab,
    layout=Layout(proprio=_JOINTS),
    switches=(
        _pose_switch("its text says end-effector position; look at the range of x on the page of `rtx data inspect`"),
    ),
    notes=("gripper 1 is open by the loaders' convention; the text says open/close only",),
)  # fmt: skip

CMU_FRANKA: tuple[DatasetRecord, ...] = (EXPLORATION, PLAY_FUSION, FOOD, IAMLAB)
