"""Stanford's Franka sets: HYDRA, RoboCook and MimicPlay."""

from __future__ import annotations

from rtx.data.oxe.arms import View, arm, images
from rtx.data.oxe.moves import drift, motion_switch, moved, values
from rtx.data.oxe.polarity import FLAGS, openness
from rtx.data.record import DatasetRecord, DepthKey, Switch, Trajectory
from rtx.data.standardize import ended, reached
from rtx.embodiment import CANONICAL, RotationForm
from rtx.robots import fields
from rtx.robots.hardware import FRANKA_HAND_M
from rtx.robots.rotations import to_matrix

ROBOCOOK_HZ = 5.0

_HYDRA_VIEWS = {
    "primary": View("image", 240, 320, "bgr"),
    "wrist": View("wrist_image", 240, 320, "bgr"),
}
_ROBOCOOK_VIEWS = {
    role: View(f"image_{number}", 256, 256)
    for number, role in enumerate(("primary", "secondary", "tertiary", "quaternary"), start=1)
}
_MIMIC_VIEWS = {
    "primary": View("image/front_image_1", 120, 120),
    "secondary": View("image/front_image_2", 120, 120),
    "wrist": View("wrist_image/wrist_image", 120, 120),
}


def standardize_hydra(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """state: xyz 0:3, quaternion 3:7, euler 7:10, joints and their velocities 10:24, gripper 24:27 (width in metres first)."""
    state, action = values(trajectory, "observation/state"), values(trajectory, "action")
    return moved(
        trajectory,
        motion,
        command=(action[:, :3], to_matrix(action[:, 3:6], "rpy")),
        pos=state[:, :3],
        rot=to_matrix(state[:, 7:10], "rpy"),
        gripper=1 - action[:, 6],
        opening=state[:, 24] / FRANKA_HAND_M,
        terminate=ended(trajectory),
    )


def standardize_robocook(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """Velocities times the length of a step; the gripper's too, so its command is the width that it leads to."""
    state, action = values(trajectory, "observation/state"), values(trajectory, "action")
    width = state[:, 6]
    return moved(
        trajectory,
        motion,
        command=drift(action[:, :3], action[:, 3:6], ROBOCOOK_HZ),
        pos=state[:, :3],
        rot=to_matrix(state[:, 3:6], "rpy"),
        gripper=(width + action[:, 6] / ROBOCOOK_HZ) / FRANKA_HAND_M,
        opening=width / FRANKA_HAND_M,
        terminate=ended(trajectory),
    )


def standardize_mimic_play(trajectory: Trajectory, *, quaternion: str, gripper: str) -> Trajectory:
    """Motion reached: nothing is said of the command but its width."""
    pose = values(trajectory, "observation/state/ee_pose")
    form: RotationForm = "quat_xyzw" if quaternion == "xyzw" else "quat_wxyz"
    command = (values(trajectory, "action")[:, 6] + 1) / 2
    return reached(
        trajectory,
        pos=pose[:, :3],
        rot=to_matrix(pose[:, 3:], form),
        gripper=openness(command, gripper),
        opening=None,
        terminate=ended(trajectory),
    )


HYDRA = DatasetRecord(
    name="stanford_hydra_dataset_converted_externally_to_rlds",
    title="Stanford HYDRA",
    embodiment=arm(
        "franka_stanford_hydra", _HYDRA_VIEWS, hz=10.0,
        action=(fields.delta_pos(), fields.delta_rot("rpy"), fields.gripper(closed=1.0, opened=0.0)),
        proprio=(
            fields.eef_pos(), fields.eef_rot("rpy"), fields.gripper_state(closed=0.0, opened=FRANKA_HAND_M, unit="m"),
        ),
    ),
    images=images(_HYDRA_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (7,), "observation/state": (27,), **FLAGS},
    standardize=standardize_hydra,
    switches=(
        motion_switch(
            "command", command="the delta pose of the controller, metres and radians",
            evidence="documented as a delta pose; compare with the motion on the page of `rtx data inspect`",
        ),
    ),
    notes=(
        "both pictures are stored BGR",
        "the sentence says nothing of the task (Octo blanks it)",
        "is_dense tells phases of waypoints from dense ones; both are kept",
    ),
)  # fmt: skip

ROBOCOOK = DatasetRecord(
    name="stanford_robocook_converted_externally_to_rlds",
    title="Stanford RoboCook",
    embodiment=arm(
        "franka_stanford_robocook", _ROBOCOOK_VIEWS, hz=ROBOCOOK_HZ,
        action=(fields.delta_pos(), fields.delta_rot("axis_angle"), fields.gripper(closed=0.0, opened=FRANKA_HAND_M, unit="m")),
        proprio=(
            fields.eef_pos(), fields.eef_rot("rpy"), fields.gripper_state(closed=0.0, opened=FRANKA_HAND_M, unit="m"),
        ),
    ),
    images=images(_ROBOCOOK_VIEWS),
    depth={role: DepthKey(path=f"observation/depth_{number}") for number, role in enumerate(_ROBOCOOK_VIEWS, start=1)},
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (7,), "observation/state": (7,), **FLAGS},
    standardize=standardize_robocook,
    switches=(
        motion_switch(
            "command", command="linear and angular velocity times 1/5 s",
            evidence="the set calls its action velocities; their unit (m/s, rad/s) is taken, not stated",
        ),
    ),
    notes=(
        "the action is stored as velocities, of the gripper too: its command is the width they lead to; other loaders pass a "
        "velocity where an opening belongs",
        "measured orientation is a turn about the vertical: relative to gripper down, unlike the other Franka sets",
        "the unit of the depth maps is not documented: taken as metres",
        "the hand holds tools; episode metadata has the extrinsics of the four cameras",
    ),
)  # fmt: skip

MIMIC_PLAY = DatasetRecord(
    name="mimic_play",
    title="MimicPlay",
    embodiment=arm(
        "franka_mimic_play", _MIMIC_VIEWS, hz=5.0,
        action=(fields.delta_pos(), fields.delta_rot("axis_angle"), fields.gripper(closed=1.0, opened=-1.0)),
        proprio=(fields.eef_pos(), fields.eef_rot("quat_xyzw")),
    ),
    images=images(_MIMIC_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (7,), "observation/state/ee_pose": (7,), **FLAGS},
    standardize=standardize_mimic_play,
    layout=CANONICAL.without("proprio.gripper"),
    switches=(
        Switch(
            name="quaternion", question="is the scalar of ee_pose's quaternion last or first?",
            options={"xyzw": "last, as in robosuite and its real-robot relatives", "wxyz": "first, as in MuJoCo"},
            default="xyzw", evidence="the set says nothing; the authors' other code follows robosuite",
        ),
        Switch(
            name="gripper", question="what does a gripper command of 1 mean?",
            options={"one_is_closed": "-1 open, 1 closed, as in the Austin sets", "one_is_open": "1 open, -1 closed"},
            default="one_is_closed", evidence="the set says nothing; robosuite's controllers close with 1",
        ),
    ),
    notes=(
        "control rate not recorded: 5 Hz is a placeholder",
        "meaning, frame and unit of the action are not documented: motion is the measured one, only its gripper is the command",
        "range of gripper_position is not documented: masked",
        "pictures and state lie one level deeper than elsewhere (observation/image/front_image_1)",
    ),
)  # fmt: skip

STANFORD: tuple[DatasetRecord, ...] = (HYDRA, ROBOCOOK, MIMIC_PLAY)
