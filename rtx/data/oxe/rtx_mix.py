"""Other arms of the RT-X mix: Jaco, Sawyer (RoboTurk), UR5 (AUTOLAB), xArm in the plane (Language Table), NYU's grabber.

                action                                                  state
jaco_play       velocity xyz, closedness relative                       pose with a quaternion, joints and fingers
roboturk        delta xyz, rpy of no written unit; closedness -1..1     none
autolab_ur5     delta xyz m, rpy; closedness relative                   joints, pose xyzw, gripper closed
language_table  delta xy m                                              xy
nyu_door        delta of no written unit in the camera's frame          none
"""

from __future__ import annotations

import numpy as np

from rtx.data.oxe.arms import View, arm, images, keys
from rtx.data.oxe.layouts import GRIPPER, TERMINATE, TOOL_DELTA_POS, TOOL_DELTA_ROT
from rtx.data.oxe.moves import motion_switch, moved, values
from rtx.data.record import DatasetRecord, DepthKey, Switch, Trajectory
from rtx.data.standardize import absolute_gripper, canonical_action, canonical_proprio, reached
from rtx.embodiment import CANONICAL, ActionSpace, Layout
from rtx.robots import fields
from rtx.robots.oxe import JACO_2, JACO_FINGER_CLOSED_RAD, SAWYER_ROBOTURK, UR5_AUTOLAB, XARM6_LANGUAGE_TABLE
from rtx.robots.rotations import to_matrix

_TEXT = ("observation/natural_language_instruction",)
_JACO_HZ = JACO_2.control_hz


def standardize_jaco_play(trajectory: Trajectory, *, motion: str, quaternion: str) -> Trajectory:
    """The orientation stays as it is: no rotation is ever commanded, so none is taken from the measured noise."""
    pose, joints = values(trajectory, "observation/end_effector_cartesian_pos"), values(trajectory, "observation/joint_pos")
    pos, rot = pose[:, :3], to_matrix(pose[:, 3:], "quat_wxyz" if quaternion == "wxyz" else "quat_xyzw")
    gripper = absolute_gripper(values(trajectory, "action/gripper_closedness_action")[:, 0])
    opening = 1 - joints[:, 6:8].mean(-1) / JACO_FINGER_CLOSED_RAD
    terminate = values(trajectory, "action/terminate_episode")[:, 0] == 1
    if motion == "reached":
        result = reached(trajectory, pos=pos, rot=rot, gripper=gripper, opening=opening, terminate=terminate)
        result["action"][:, 3:6] = 0
        return result
    action = canonical_action(values(trajectory, "action/world_vector") / _JACO_HZ, None, gripper, terminate)
    return trajectory | {"action": action, "proprio": canonical_proprio(pos, rot, opening)}


def standardize_roboturk(trajectory: Trajectory) -> Trajectory:
    gripper = (1 - values(trajectory, "action/gripper_closedness_action")[:, 0]) / 2
    rot = to_matrix(values(trajectory, "action/rotation_delta"), "rpy")
    terminate = values(trajectory, "action/terminate_episode") > 0.5
    action = canonical_action(values(trajectory, "action/world_vector"), rot, gripper, terminate)
    return trajectory | {"action": action, "proprio": canonical_proprio(None, None, None, num_steps=len(action))}


def standardize_autolab_ur5(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """robot_state: joints (6), position (3), quaternion xyzw (4), gripper closed (1), action blocked (1)."""
    state = values(trajectory, "observation/robot_state")
    rot = to_matrix(values(trajectory, "action/rotation_delta"), "rpy")
    return moved(
        trajectory,
        motion,
        command=(values(trajectory, "action/world_vector"), rot),
        pos=state[:, 6:9],
        rot=to_matrix(state[:, 9:13], "quat_xyzw"),
        gripper=absolute_gripper(values(trajectory, "action/gripper_closedness_action")),
        opening=1 - state[:, 13],
        terminate=values(trajectory, "action/terminate_episode") > 0.5,
    )


def standardize_language_table(trajectory: Trajectory) -> Trajectory:
    """In the plane of the board; height, rotation and a gripper there are none."""
    delta = np.pad(values(trajectory, "action"), ((0, 0), (0, 1)))
    pos = np.pad(values(trajectory, "observation/effector_translation"), ((0, 0), (0, 1)))
    return trajectory | {
        "action": canonical_action(delta, None, None, None),
        "proprio": canonical_proprio(pos, None, None),
    }


def standardize_nyu_door(trajectory: Trajectory, *, gripper: str) -> Trajectory:
    """In the camera's frame, which is not tied to any base: fields of their own, not the canonical ones."""
    closedness = values(trajectory, "action/gripper_closedness_action")[:, 0]
    opened = 1 - closedness if gripper == "absolute" else absolute_gripper(closedness)
    delta = values(trajectory, "action/world_vector")
    rot = to_matrix(values(trajectory, "action/rotation_delta"), "axis_angle")
    action = canonical_action(delta, rot, opened, values(trajectory, "action/terminate_episode") > 0.5)
    return trajectory | {"action": action, "proprio": canonical_proprio(None, None, None, num_steps=len(action))}


_DOOR_VIEWS = {"wrist": View("image", 720, 960, mounting="on a hand-held grabber")}

JACO_PLAY = DatasetRecord(
    name="jaco_play",
    title="USC Jaco Play",
    embodiment=JACO_2,
    images=keys(JACO_2, primary="image", wrist="image_wrist"),
    instructions=_TEXT,
    sentence_vector="observation/natural_language_embedding",
    keys={
        "action/world_vector": (3,), "action/gripper_closedness_action": (1,), "action/terminate_episode": (3,),
        "observation/end_effector_cartesian_pos": (7,), "observation/joint_pos": (8,),
    },
    standardize=standardize_jaco_play,
    layout=CANONICAL.without("delta_rot"),
    switches=(
        motion_switch(
            "reached", command="velocities in m/s over one step of 0.1 s",
            evidence="commands spread as the measured velocities do (0.12 and 0.14), but their unit is not written down",
        ),
        Switch(
            name="quaternion",
            question="in which order are the last four numbers of the pose?",
            options={"xyzw": "scalar last (RDT)", "wxyz": "scalar first"},
            default="xyzw",
            evidence="read so, the tool axis is vertical to within 0.03 rad in the mean; the other way it leans by 0.26",
        ),
    ),
    notes=(
        "no rotation is commanded: that dimension is masked",
        "OpenVLA takes the last number of the pose for the gripper; it belongs to the quaternion",
        "the opening is the mean of both fingers, 0 open to 1.51 rad closed",
    ),
)  # fmt: skip

ROBOTURK = DatasetRecord(
    name="roboturk",
    title="RoboTurk real",
    embodiment=SAWYER_ROBOTURK,
    images=keys(SAWYER_ROBOTURK, primary="front_rgb"),
    instructions=_TEXT,
    sentence_vector="observation/natural_language_embedding",
    keys={
        "action/world_vector": (3,), "action/rotation_delta": (3,), "action/gripper_closedness_action": (1,),
        "action/terminate_episode": (),
    },
    standardize=standardize_roboturk,
    layout=CANONICAL.without("proprio"),
    notes=(
        "the command's unit is not known; it is passed on as recorded, read as metres and radians",
        "no proprioception at all",
        "remote teleoperation by volunteers: many slow or failed demonstrations; few different sentences (Octo blanks them)",
    ),
)  # fmt: skip

AUTOLAB_UR5 = DatasetRecord(
    name="berkeley_autolab_ur5",
    title="Berkeley AUTOLAB UR5",
    embodiment=UR5_AUTOLAB,
    images=keys(UR5_AUTOLAB, primary="image", wrist="hand_image"),
    depth={"primary": DepthKey(path="observation/image_with_depth")},
    instructions=_TEXT,
    sentence_vector="observation/natural_language_embedding",
    keys={
        "action/world_vector": (3,), "action/rotation_delta": (3,), "action/gripper_closedness_action": (),
        "action/terminate_episode": (), "observation/robot_state": (15,),
    },
    standardize=standardize_autolab_ur5,
    switches=(
        motion_switch(
            "command", command="the recorded displacement",
            evidence="documented as metres (up to 0.02) and radians (up to 0.07) a step in the base frame",
        ),
    ),
    notes=(
        "the wrist camera's channels are stored as BGR",
        "depth is a float32 picture of one channel: a PNG of four channels holding the float's bytes",
    ),
)  # fmt: skip

LANGUAGE_TABLE = DatasetRecord(
    name="language_table",
    title="Language Table",
    embodiment=XARM6_LANGUAGE_TABLE,
    images=keys(XARM6_LANGUAGE_TABLE, primary="rgb"),
    instructions=("observation/instruction",),
    keys={"action": (2,), "observation/effector_translation": (2,)},
    standardize=standardize_language_table,
    layout=CANONICAL.without(
        "delta_pos.2", "delta_rot", "gripper", "terminate", "proprio.eef_pos.2", "proprio.eef_rot", "proprio.gripper"
    ),
    notes=(
        "a cylinder pushes blocks in a plane: height, rotation and gripper are masked",
        "the instruction is 512 numbers that spell it, padded with zeros",
        "442,226 short segments labelled afterwards: give it a small weight",
    ),
)  # fmt: skip

NYU_DOOR = DatasetRecord(
    name="nyu_door_opening_surprising_effectiveness",
    title="NYU VINN door opening",
    embodiment=arm(
        "nyu_door_grabber", _DOOR_VIEWS, hz=3.0, hardware="stretch", morphology="hand-held grabber",
        action=(
            fields.delta_pos(unit="1", frame="tool"), fields.delta_rot("axis_angle", unit="rad", frame="tool"),
            fields.gripper(closed=1, opened=0), fields.terminate(),
        ),
    ),
    images=images(_DOOR_VIEWS),
    instructions=_TEXT,
    sentence_vector="observation/natural_language_embedding",
    keys={
        "action/world_vector": (3,), "action/rotation_delta": (3,), "action/gripper_closedness_action": (1,),
        "action/terminate_episode": (),
    },
    standardize=standardize_nyu_door,
    layout=Layout(action=ActionSpace(fields=(TOOL_DELTA_POS, TOOL_DELTA_ROT, GRIPPER, TERMINATE))).without("proprio"),
    switches=(
        Switch(
            name="gripper",
            question="is the gripper number an absolute closedness or a relative command?",
            options={
                "absolute": "closedness, about -0.28 open to 0.96 closed (RDT)",
                "relative": "above 0.1 close, below -0.1 open, else as it is (Octo, OpenVLA)",
            },
            default="absolute",
            evidence="values are spread between the ends, with a mean of 0.05: an opening that is rarely closed",
        ),
    ),
    notes=(
        "motion is in the camera's frame and no pose is measured, so it has fields of its own; the unit is not known",
        "only a wrist camera: loaders that ask for a primary one drop the set",
        "the sentence is the same everywhere (Octo blanks it)",
    ),
)  # fmt: skip

RTX_MIX: tuple[DatasetRecord, ...] = (JACO_PLAY, ROBOTURK, AUTOLAB_UR5, LANGUAGE_TABLE, NYU_DOOR)
