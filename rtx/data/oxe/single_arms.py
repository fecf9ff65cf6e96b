"""Small sets of other arms and of a Franka on wheels: Kuka iiwa, Cobotta, UR5, Sawyer, xArm 7, ETH's door opener."""

from __future__ import annotations

import numpy as np

from rtx.data.oxe.arms import View, arm, images, keys
from rtx.data.oxe.layouts import GRIPPER, TERMINATE, TOOL_DELTA_POS, TOOL_DELTA_ROT
from rtx.data.oxe.moves import drift, motion_switch, moved, values
from rtx.data.oxe.polarity import FLAGS, openness, polarity_switch
from rtx.data.record import DatasetRecord, DepthKey, Switch, Trajectory
from rtx.data.standardize import canonical_action, canonical_proprio, ended, reached
from rtx.embodiment import CANONICAL, ActionSpace, Layout
from rtx.robots import fields
from rtx.robots.oxe import COBOTTA_LSMO
from rtx.robots.rotations import to_matrix

ETH_HZ = 66.6
_KUKA_VIEWS = {"primary": View("image", 128, 128)}
_ASU_VIEWS = {"primary": View("image", 224, 224)}
_IMPERIAL_VIEWS = {"wrist": View("wrist_image", 64, 64)}
_ROT_VIEWS = {"primary": View("image", 84, 84)}
_RDT_TURNS_IT = "RDT turns it round on purpose; Octo and OpenVLA have no transform for this set"


def standardize_kuka_multimodal(trajectory: Trajectory) -> Trajectory:
    """Motion reached. The quaternion is wxyz (see the record's notes)."""
    return reached(
        trajectory,
        pos=values(trajectory, "observation/ee_position"),
        rot=to_matrix(values(trajectory, "observation/ee_orientation"), "quat_wxyz"),
        gripper=None,
        opening=None,
        terminate=ended(trajectory),
    )


def standardize_lsmo(trajectory: Trajectory, *, gripper: str) -> Trajectory:
    """state: xyz 0:3, rpy 3:6, joints 6:12, gripper 12. Motion reached."""
    state, command = values(trajectory, "observation/state"), values(trajectory, "action")[:, 6]
    return reached(
        trajectory,
        pos=state[:, :3],
        rot=to_matrix(state[:, 3:6], "rpy"),
        gripper=openness(command, gripper),
        opening=None,
        terminate=ended(trajectory),
    )


def standardize_asu(trajectory: Trajectory) -> Trajectory:
    """Motion reached, of the pose that the scene's ground truth gives."""
    pose = values(trajectory, "ground_truth_states/EE")
    return reached(
        trajectory, pos=pose[:, :3], rot=to_matrix(pose[:, 3:], "rpy"), gripper=None, opening=None, terminate=ended(trajectory)
    )


def standardize_imperial(trajectory: Trajectory, *, euler: str, gripper: str) -> Trajectory:
    """action: delta xyz 0:3 and delta euler 3:6 in the gripper's own frame, gripper 6, terminate 7. state: gripper.

    No orientation is measured, so the motion cannot be brought into the base frame and keeps fields of its own.
    """
    action, state = values(trajectory, "action"), values(trajectory, "observation/state")
    rpy = action[:, 5:2:-1] if euler == "zyx" else action[:, 3:6]
    opening = np.clip(openness(action[:, 6], gripper), 0, 1)
    trajectory["action"] = np.column_stack([action[:, :3], rpy, opening, action[:, 7] > 0.5]).astype(np.float32)
    trajectory["proprio"] = canonical_proprio(None, None, openness(state[:, 0], gripper))
    return trajectory


def standardize_nyu_rot(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """state: xyz, rpy, gripper 1 closed. action: deltas of them, gripper 1 closed."""
    state, action = values(trajectory, "observation/state"), values(trajectory, "action")
    return moved(
        trajectory,
        motion,
        command=(action[:, :3], to_matrix(action[:, 3:6], "rpy")),
        pos=state[:, :3],
        rot=to_matrix(state[:, 3:6], "rpy"),
        gripper=1 - action[:, 6],
        opening=1 - state[:, 6],
        terminate=ended(trajectory),
    )


def standardize_eth(trajectory: Trajectory) -> Trajectory:
    """state: xyz 0:3, then yaw, pitch, roll (in this order) 3:6, gripper, door angle. action: velocities in the world."""
    state, action = values(trajectory, "observation/state"), values(trajectory, "action")
    motion = drift(action[:, :3], action[:, 3:6], ETH_HZ)
    trajectory["action"] = canonical_action(*motion, None, ended(trajectory))
    trajectory["proprio"] = canonical_proprio(state[:, :3], to_matrix(state[:, 5:2:-1], "rpy"), None)
    return trajectory


KUKA_MULTIMODAL = DatasetRecord(
    name="stanford_kuka_multimodal_dataset_converted_externally_to_rlds",
    title="Stanford Kuka Multimodal",
    embodiment=arm(
        "kuka_iiwa_stanford", _KUKA_VIEWS, hz=20.0, hardware="kuka_iiwa",
        action=(fields.delta_pos(), fields.delta_rot("rpy")), proprio=(fields.eef_pos(), fields.eef_rot("quat_wxyz")),
    ),
    images=images(_KUKA_VIEWS),
    depth={"primary": DepthKey(path="observation/depth_image")},
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"observation/ee_position": (3,), "observation/ee_orientation": (4,), **FLAGS},
    standardize=standardize_kuka_multimodal,
    layout=CANONICAL.without("gripper", "proprio.gripper"),
    notes=(
        "the command's unit is not documented, and it has xyz only while the arm turns too: the motion is the measured one",
        "the fourth number of the action is no gripper (within 0.15 of 0): there is only a peg",
        "the quaternion's order is not documented: read as xyzw the measured statistics tilt the peg by 40 "
        "degrees, read as wxyz it turns about the vertical, as its measured angular velocity does",
        "one instruction for all episodes; the unit of the depth map is not documented: taken as metres",
        "per step 50 forces, contacts and an optical flow: heavy, not read",
    ),
)  # fmt: skip

LSMO = DatasetRecord(
    name="tokyo_u_lsmo_converted_externally_to_rlds",
    title="LSMO (University of Tokyo)",
    embodiment=COBOTTA_LSMO,
    images=keys(COBOTTA_LSMO, primary="image"),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (7,), "observation/state": (13,), **FLAGS},
    standardize=standardize_lsmo,
    layout=CANONICAL.without("proprio.gripper"),
    switches=(
        polarity_switch(evidence=_RDT_TURNS_IT),
    ),
    notes=(
        "the text calls the action a position, loaders a delta: motion is the measured one",
        "the measured gripper never changes: masked; the order of the Euler angles is not documented: read as roll, pitch, yaw",
        "50 planned motions",
    ),
)  # fmt: skip

ASU = DatasetRecord(
    name="asu_table_top_converted_externally_to_rlds",
    title="ASU TableTop",
    embodiment=arm(
        "ur5_asu", _ASU_VIEWS, hz=12.5, hardware="ur5",
        action=(fields.delta_pos(), fields.delta_rot("rpy")), proprio=(fields.eef_pos(), fields.eef_rot("rpy")),
    ),
    images=images(_ASU_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"ground_truth_states/EE": (6,), **FLAGS},
    standardize=standardize_asu,
    layout=CANONICAL.without("gripper", "proprio.gripper"),
    notes=(
        "what the action means is not documented (Octo and OpenVLA: a delta pose, RDT: joint velocities; its text counts ten "
        "numbers where there are seven): motion is that of the recorded end effector, the gripper is masked",
        "action_inst and goal_object hold the parts of the sentence",
    ),
)  # fmt: skip

IMPERIAL = DatasetRecord(
    name="imperialcollege_sawyer_wrist_cam",
    title="Imperial Sawyer Wrist Cam",
    embodiment=arm(
        "sawyer_imperial", _IMPERIAL_VIEWS, hz=10.0, hardware="sawyer",
        action=(
            fields.delta_pos(frame="tool"), fields.delta_rot("rpy", frame="tool"), fields.gripper(closed=1.0, opened=0.0),
            fields.terminate(),
        ),
        proprio=(fields.gripper_state(closed=1.0, opened=0.0),),
    ),
    images=images(_IMPERIAL_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (8,), "observation/state": (1,)},
    standardize=standardize_imperial,
    layout=Layout(
        action=ActionSpace(fields=(TOOL_DELTA_POS, TOOL_DELTA_ROT, GRIPPER, TERMINATE))
    ).without("proprio.eef_pos", "proprio.eef_rot"),
    switches=(
        Switch(
            name="euler", question="are the ZYX euler angles stored as yaw, pitch, roll or as roll, pitch, yaw?",
            options={"zyx": "yaw, pitch, roll", "xyz": "roll, pitch, yaw: what loaders assume"},
            default="zyx",
            evidence="the first of the three turns six times as much as the others, as the yaw of a gripper pointing down does",
        ),
        polarity_switch(evidence=_RDT_TURNS_IT + "; the state goes with the command"),
    ),
    notes=(
        "motion is in the gripper's own frame and no pose is measured: it has fields of its own and cannot be mixed with "
        "base-frame motion; other loaders read it as base-frame",
        "observation/image is the same picture as wrist_image, 64 x 64: not used",
    ),
)  # fmt: skip

NYU_ROT = DatasetRecord(
    name="nyu_rot_dataset_converted_externally_to_rlds",
    title="NYU ROT",
    embodiment=arm(
        "xarm7_nyu_rot", _ROT_VIEWS, hz=3.0, hardware="xarm7",
        action=(fields.delta_pos(), fields.delta_rot("rpy"), fields.gripper(closed=1.0, opened=0.0)),
        proprio=(fields.eef_pos(), fields.eef_rot("rpy"), fields.gripper_state(closed=1.0, opened=0.0)),
    ),
    images=images(_ROT_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (7,), "observation/state": (7,), **FLAGS},
    standardize=standardize_nyu_rot,
    switches=(
        motion_switch(
            "command", command="the recorded deltas", evidence="documented as deltas of the state; both are in the same unit",
        ),
    ),
    notes=(
        "gripper 0 is open, 1 closed by the set's text; Octo and OpenVLA pass it through as if 1 were open",
        "the unit of positions is not stated: taken as metres",
        "14 episodes, 84 x 84 pictures",
    ),
)  # fmt: skip

ETH = DatasetRecord(
    name="eth_agent_affordances",
    title="ETH Agent-Aware Affordances",
    embodiment=arm(
        "franka_eth", {}, hz=ETH_HZ, morphology="single arm on a mobile base",
        action=(fields.delta_pos(), fields.delta_rot("axis_angle")), proprio=(fields.eef_pos(), fields.eef_rot("rpy")),
    ),
    images={},
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (6,), "observation/state": (8,), **FLAGS},
    standardize=standardize_eth,
    layout=CANONICAL.without("gripper", "proprio.gripper"),
    notes=(
        "no camera: the stored picture is black, so it is left out; the cloud of 10,000 points is not read",
        "the action is stored as velocities in the world frame, 66.6 times a second",
        "measured angles are stored yaw, pitch, roll; the unit of the measured gripper is not documented",
    ),
)  # fmt: skip

SINGLE_ARMS: tuple[DatasetRecord, ...] = (KUKA_MULTIMODAL, LSMO, ASU, IMPERIAL, NYU_ROT, ETH)
