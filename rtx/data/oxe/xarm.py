"""Data sets of UFACTORY's xArm: Berkeley MVP, UCSD kitchen, UCSD pick and place, the University of Tokyo's two.

set                 command                                      the action is
berkeley_mvp        change of 7 joints, gripper 1 closed         what was reached, and the joint command
ucsd_kitchen        target pose (mm, rpy in degrees)             from target to target: no pose is measured
ucsd_pick_place     velocity in unknown units, gripper torque    what was reached; positions are decimetres
utokyo_xarm_*       position, yaw pitch roll (in this order)     what was reached
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rtx.data.oxe.arms import View, arm, images, keys
from rtx.data.oxe.moves import between, motion_switch, moved, values
from rtx.data.oxe.polarity import FLAGS, openness, polarity_switch
from rtx.data.record import DatasetRecord, Switch, Trajectory
from rtx.data.standardize import absolute_gripper, ended, reached
from rtx.embodiment import CANONICAL, CANONICAL_ARM, CANONICAL_PROPRIO, ActionField, ActionSpace, Field, Layout
from rtx.robots import fields
from rtx.robots.oxe import XARM7_UTOKYO
from rtx.robots.rotations import to_matrix

FINGERS_CM = 8.0
"""Between the fingers of an open gripper in UCSD pick and place: the largest of the measured distances is 8.02."""


def standardize_mvp(trajectory: Trajectory) -> Trajectory:
    """The joint command has no last step either: the steps are those of the poses reached."""
    command, pose = values(trajectory, "action"), values(trajectory, "observation/pose")
    joint_pos = values(trajectory, "observation/joint_pos")
    result = reached(
        trajectory,
        pos=pose[:, :3],
        rot=to_matrix(pose[:, 3:7], "quat_xyzw"),
        gripper=1 - command[:, 7],
        opening=1 - values(trajectory, "observation/gripper"),
        terminate=ended(trajectory),
    )
    n = len(result["action"])
    result["action"] = np.concatenate([result["action"], command[:n, :7].astype(np.float32)], -1)
    result["proprio"] = np.concatenate([result["proprio"], joint_pos[:n].astype(np.float32)], -1)
    return result


def standardize_kitchen(trajectory: Trajectory, *, gripper: str) -> Trajectory:
    """The text says position, and the numbers are those of one: millimetres and degrees."""
    action = values(trajectory, "action")
    return between(
        trajectory,
        target_pos=action[:, :3] / 1000,
        target_rot=to_matrix(np.deg2rad(action[:, 3:6]), "rpy"),
        gripper=openness(action[:, 6], gripper),
        terminate=action[:, 7] > 0.5,
        proprio=values(trajectory, "observation/state")[:, :7],
    )


def standardize_ucsd_pick_and_place(trajectory: Trajectory, *, gripper: str) -> Trajectory:
    """Only translation is commanded: the gripper's rotation stays, so its motion is zero, and known."""
    command, state = values(trajectory, "action")[:, 3], values(trajectory, "observation/state")
    return reached(
        trajectory,
        pos=state[:, :3] / 10,
        rot=None,
        gripper=absolute_gripper(command) if gripper == "torque" else openness(command, gripper),
        opening=state[:, 6] / FINGERS_CM,
        terminate=ended(trajectory),
    )


def is_success(trajectory: Trajectory) -> bool:
    return bool(np.all(trajectory["traj_metadata"]["episode_metadata"]["success"]))


def from_ypr(angles: Float[np.ndarray, "t 3"]) -> Float[np.ndarray, "t 3 3"]:
    """Rotations of angles stored as yaw, pitch, roll (rad)."""
    return to_matrix(angles[:, ::-1], "rpy")


def standardize_utokyo_pick_and_place(trajectory: Trajectory, *, motion: str, gripper: str) -> Trajectory:
    action, pose = values(trajectory, "action"), values(trajectory, "observation/end_effector_pose")
    return moved(
        trajectory,
        motion,
        command=(action[:, :3], from_ypr(action[:, 3:6])),
        pos=pose[:, :3],
        rot=from_ypr(pose[:, 3:6]),
        gripper=openness(action[:, 6], gripper),
        opening=None,
        terminate=ended(trajectory),
    )


_MVP_VIEWS = {"wrist": View("hand_image", 480, 640)}
_KITCHEN_VIEWS = {"primary": View("image", 480, 640)}
_PICK_VIEWS = {"primary": View("image", 224, 224)}

_MVP_LAYOUT = Layout(
    action=ActionSpace(fields=(*CANONICAL_ARM.fields, fields.joint_delta(7))),
    proprio=(*CANONICAL_PROPRIO, fields.joint_state(7)),
)
_CLOSED_AT_1 = fields.gripper(closed=1, opened=0)
_KITCHEN_ACTION: tuple[ActionField, ...] = (
    fields.abs_pos("mm"), fields.abs_rot("rpy", "deg"), _CLOSED_AT_1, fields.terminate(),
)  # fmt: skip
_KITCHEN_PROPRIO = (
    fields.joint_state(7),
    Field(name="joint_vel_7", width=7, unit="rad/s", frame="joint"),
    Field(name="joint_torque_7", width=7, unit="Nm", frame="joint"),
)
_PICK_ACTION = (
    ActionField(name="velocity", width=3, kind="delta_pos", unit="1", frame="base"),
    ActionField(name="gripper_torque", width=1, kind="gripper", unit="1", closed=1.0, opened=-1.0),
)

XARM: tuple[DatasetRecord, ...] = (
    DatasetRecord(
        name="berkeley_mvp_converted_externally_to_rlds",
        title="Berkeley MVP",
        embodiment=arm(
            "xarm7_mvp", _MVP_VIEWS, hz=5.0, hardware="xarm7",
            action=(fields.joint_delta(7), _CLOSED_AT_1),
            proprio=(
                fields.joint_state(7), fields.gripper_state(closed=1, opened=0), fields.eef_pos(), fields.eef_rot("quat_xyzw"),
            ),
        ),
        images=images(_MVP_VIEWS),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={
            "action": (8,), "observation/pose": (7,), "observation/joint_pos": (7,), "observation/gripper": (), **FLAGS,
        },
        standardize=standardize_mvp,
        layout=_MVP_LAYOUT,
        notes=(
            "commanded in joints; the motion of the gripper is the one its measured pose made",
            "quaternions are read as xyzw: so read, the measured statistics show a gripper that points down",
            "wrist camera only",
        ),
    ),
    DatasetRecord(
        name="ucsd_kitchen_dataset_converted_externally_to_rlds",
        title="UCSD Kitchen",
        embodiment=arm(
            "xarm7_ucsd_kitchen", _KITCHEN_VIEWS, hz=2.0, hardware="xarm7", action=_KITCHEN_ACTION, proprio=_KITCHEN_PROPRIO,
        ),
        images=images(_KITCHEN_VIEWS),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (8,), "observation/state": (21,)},
        standardize=standardize_kitchen,
        layout=Layout(proprio=(fields.joint_state(7),)),
        switches=(
            polarity_switch(evidence="RDT turns it round set by set; Octo and OpenVLA pass every disputed one through"),
        ),
        notes=(
            "actions are target poses in millimetres and degrees, as the size of the numbers shows; Octo and OpenVLA feed them "
            "as deltas",
            "no pose is measured: the action leads from the target before to the target of the step, the first step is dropped",
        ),
    ),
    DatasetRecord(
        name="ucsd_pick_and_place_dataset_converted_externally_to_rlds",
        title="UCSD Pick and Place",
        embodiment=arm(
            "xarm7_ucsd_pick_and_place", _PICK_VIEWS, hz=3.0, hardware="xarm7", action=_PICK_ACTION,
            proprio=(
                fields.eef_pos("dm"), Field(name="orientation", width=3, unit="1", frame="base"),
                fields.gripper_state(closed=0, opened=FINGERS_CM, unit="cm"),
            ),
        ),
        images=images(_PICK_VIEWS),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (4,), "observation/state": (7,), **FLAGS},
        standardize=standardize_ucsd_pick_and_place,
        layout=CANONICAL.without("proprio.eef_rot"),
        metadata=("episode_metadata/success",),
        keep=is_success,
        switches=(
            Switch(
                name="gripper",
                question="what is the gripper's number?",
                options={
                    "torque": "a torque: above 0.1 closes, below -0.1 opens, between nothing changes (the set's own text)",
                    "one_is_closed": "a closedness, 0..1 (RDT: 1 - x)",
                    "one_is_open": "an openness, 0..1 (Octo and OpenVLA pass it through)",
                },
                default="torque",
                evidence="the set describes it as an open/close torque",
            ),
        ),
        notes=(
            "positions are stored in decimetres; the velocity command has no known unit, so the motion is the measured one",
            "the form of the recorded orientation, which hardly changes, is not known: masked",
            "finger distance reaches 8.02, taken for centimetres (RDT calls 6.03 open)",
            "failed episodes are in the set, with a flag, and are dropped",
        ),
    ),
    DatasetRecord(
        name="utokyo_xarm_pick_and_place_converted_externally_to_rlds",
        title="UTokyo xArm Pick and Place",
        embodiment=XARM7_UTOKYO,
        images=keys(XARM7_UTOKYO, primary="image", secondary="image2", wrist="hand_image"),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (7,), "observation/end_effector_pose": (6,), **FLAGS},
        standardize=standardize_utokyo_pick_and_place,
        layout=CANONICAL.without("proprio.gripper"),
        switches=(
            motion_switch(
                "reached",
                command="the recorded action as a delta, m and rad (Octo, OpenVLA, RDT)",
                evidence="its text says position, loaders feed it as a delta; the measured poses are right in either case",
            ),
            polarity_switch(evidence="RDT turns it round set by set; Octo and OpenVLA pass every disputed one through"),
        ),
        notes=(
            "angles are stored as yaw, pitch, roll: read so, the measured statistics show a gripper that points down, read as "
            "roll, pitch, yaw one that points up",
            "a driver of this robot must hand out roll, pitch, yaw",
        ),
    ),
)  # fmt: skip
