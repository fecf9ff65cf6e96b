"""The robots of Open X-Embodiment: one record for each of the labels its paper's list of data sets gives.

The list has 21 labels (the paper speaks of 22 robots; which one the last is could not be established). A label often covers
many data sets with conventions of their own; the record here is that of one of them, named in `OXE_LABELS`, whose data set
(`rtx.data.oxe`) refers to it. `rtx data info NAME` shows the robot of any other set.

What is native (units, frames, polarity, cameras) is what that data set holds. "1" is a unit that nobody documented.
"""

from __future__ import annotations

from collections.abc import Mapping

from rtx.embodiment import ActionField, Camera, Embodiment, Field
from rtx.robots import fields
from rtx.robots.google_robot import GOOGLE_ROBOT
from rtx.robots.hardware import FRANKA_HAND_M, embodiment
from rtx.robots.widowx import WIDOWX_250

JACO_FINGER_CLOSED_RAD = 1.51
"""Joint limit of the Kinova two-finger gripper; 0 is open."""
PR2_STROKE_MM = 86.66
"""Opening of the PR2's gripper; measured openings, divided by it, reach 0.9998."""
LEG_JOINTS, LEG_STATE = fields.joint_pos(12, prefix="leg_"), fields.joint_state(12, prefix="leg_")
BODY_STATE = (
    Field(name="body_vel", width=3, unit="m/s", frame="base"),
    Field(name="body_turn_vel", width=3, unit="rad/s", frame="base"),
)

_CLOSED_AT_1 = fields.gripper(closed=1, opened=0)
_DELTA = (fields.delta_pos(), fields.delta_rot())
_POSE_RPY = (fields.eef_pos(), fields.eef_rot("rpy"))
_EDAN_ACTION = (*_DELTA, _CLOSED_AT_1)
_DRIVEN = (
    Field(name="base_pos", width=2, unit="m", frame="world"),
    Field(name="base_yaw", width=1, unit="rad", frame="world"),
)


def _camera(role: str, height: int, width: int, mounting: str = "", *, bgr: bool = False) -> Camera:
    return Camera(role=role, resolution=(height, width), channel_order="bgr" if bgr else "rgb", mounting=mounting)


def _wheels(name: str, *, hz: float, height: int, width: int) -> Embodiment:
    return embodiment(
        name, "wheeled_base", (_camera("primary", height, width, "on the robot, looking forward"),), hz=hz,
        morphology="wheeled base", action=fields.base_delta(), proprio=_DRIVEN,
    )  # fmt: skip


COBOTTA_LSMO = embodiment(
    "cobotta_lsmo", "cobotta", (_camera("primary", 120, 120),), hz=10.0, action=(*_DELTA, _CLOSED_AT_1), proprio=_POSE_RPY,
)  # fmt: skip
DLR_EDAN = embodiment(
    "dlr_edan", "dlr_edan", (_camera("primary", 360, 640),), hz=5.0, morphology="arm on a wheelchair", action=_EDAN_ACTION,
    proprio=(*_POSE_RPY, fields.gripper_state(closed=1, opened=0)),
)  # fmt: skip
DLR_SARA = embodiment(
    "dlr_sara_pour", "dlr_sara", (_camera("primary", 480, 640),), hz=10.0, action=_EDAN_ACTION, proprio=_POSE_RPY,
)  # fmt: skip
FANUC_MATE = embodiment(
    "fanuc_mate", "fanuc_mate", (_camera("primary", 224, 224, bgr=True), _camera("wrist", 224, 224, bgr=True)), hz=10.0,
    action=(*_DELTA, _CLOSED_AT_1),
    proprio=(fields.joint_state(6), fields.gripper_state(closed=1, opened=0), fields.eef_pos(), fields.eef_rot("quat_xyzw")),
)  # fmt: skip
FRANKA_TACO_PLAY = embodiment(
    "franka_taco_play", "franka", (_camera("primary", 150, 200), _camera("wrist", 84, 84)), hz=15.0,
    action=(fields.abs_pos(), fields.abs_rot(), fields.gripper(closed=-1, opened=1), fields.terminate()),
    proprio=(*_POSE_RPY, fields.gripper_state(closed=0, opened=FRANKA_HAND_M, unit="m")),
)  # fmt: skip
STRETCH_CMU = embodiment(
    "stretch_cmu", "stretch", (_camera("primary", 128, 128),), hz=10.0, morphology="arm on a wheeled base",
    action=(*_DELTA, fields.gripper(closed=0, opened=1), fields.terminate()),
    proprio=(fields.eef_pos(), fields.gripper_state(closed=0, opened=1)),
)  # fmt: skip
JACKAL_RECON = _wheels("jackal_recon", hz=3.0, height=120, width=160)
JACO_2 = embodiment(
    "jaco_play", "jaco2", (_camera("primary", 224, 224), _camera("wrist", 224, 224)), hz=10.0,
    action=(fields.delta_pos(unit="m/s"), fields.gripper(closed=1, opened=-1), fields.terminate()),
    proprio=(
        fields.eef_pos(), fields.eef_rot("quat_xyzw"), fields.joint_state(6),
        Field(name="fingers", width=2, unit="rad", closed=JACO_FINGER_CLOSED_RAD, opened=0.0),
    ),
)  # fmt: skip
KINOVA_D3FIELD = embodiment(
    "kinova_d3field", "kinova_gen3",
    tuple(_camera(role, 360, 640) for role in ("primary", "secondary", "tertiary", "quaternary")), hz=1.0,
    action=(fields.delta_pos(),), proprio=(fields.eef_pos(), fields.eef_rot("rot6d")),
)  # fmt: skip
KUKA_QT_OPT = embodiment(
    "kuka_qt_opt", "kuka_iiwa", (_camera("primary", 512, 640, "over the shoulder"),), hz=10.0,
    action=(*_DELTA, fields.gripper(closed=1, opened=-1), fields.terminate()),
    proprio=(fields.eef_pos(), fields.eef_rot("quat_xyzw"), fields.gripper_state(closed=1, opened=0)),
)  # fmt: skip
ROBO_NET = embodiment(
    "robo_net", "robo_net", tuple(_camera(role, 240, 320) for role in ("primary", "secondary", "tertiary")), hz=1.0,
    morphology="seven kinds of single arms",
    action=(
        fields.delta_pos(), ActionField(name="delta_yaw", width=1, kind="delta_rot", unit="rad", frame="base"),
        fields.gripper(closed=1, opened=-1),
    ),
    proprio=(fields.eef_pos(), Field(name="eef_yaw", width=1, unit="rad", frame="base")),
)  # fmt: skip
PR2_TABLETOP = embodiment(
    "pr2_tabletop_manipulation", "pr2", (_camera("primary", 128, 128),), hz=10.0,
    morphology="two-armed mobile robot, one arm recorded",
    action=(fields.delta_pos("mm"), fields.delta_rot(), _CLOSED_AT_1, fields.terminate()),
    proprio=(fields.eef_pos("mm"), fields.eef_rot("rpy"), fields.gripper_state(closed=0, opened=PR2_STROKE_MM, unit="mm")),
)  # fmt: skip
RC_CAR_CORY_HALL = _wheels("rc_car_cory_hall", hz=5.0, height=64, width=85)
SAWYER_ROBOTURK = embodiment(
    "sawyer_roboturk", "sawyer", (_camera("primary", 480, 640),), hz=10.0,
    action=(
        fields.delta_pos(unit="1"), fields.delta_rot("rpy", unit="1"), fields.gripper(closed=1, opened=-1), fields.terminate(),
    ),
)  # fmt: skip
TURTLEBOT_SAC_SON = _wheels("turtlebot_sac_son", hz=10.0, height=120, width=160)
UR5_AUTOLAB = embodiment(
    "ur5_autolab", "ur5", (_camera("primary", 480, 640), _camera("wrist", 480, 640, bgr=True)), hz=5.0,
    action=(*_DELTA, fields.gripper(closed=1, opened=-1), fields.terminate()),
    proprio=(fields.joint_state(6), fields.eef_pos(), fields.eef_rot("quat_xyzw"), fields.gripper_state(closed=1, opened=0)),
)  # fmt: skip
A1_SAYTAP = embodiment(
    "a1_saytap", "a1", (), hz=5.0, morphology="quadruped, simulated", action=(LEG_JOINTS,),
    proprio=(*BODY_STATE, LEG_STATE, Field(name="leg_joint_vel_12", width=12, unit="rad/s", frame="joint")),
)  # fmt: skip
XARM6_LANGUAGE_TABLE = embodiment(
    "xarm6_language_table", "xarm6", (_camera("primary", 360, 640, "in front of the board"),), hz=10.0,
    action=(ActionField(name="delta_xy", width=2, kind="delta_pos", unit="m", frame="base"),),
    proprio=(Field(name="eef_xy", width=2, unit="m", frame="base"),),
)  # fmt: skip
XARM7_UTOKYO = embodiment(
    "xarm7_utokyo", "xarm7", tuple(_camera(role, 224, 224) for role in ("primary", "secondary", "wrist")), hz=10.0,
    action=(*_DELTA, _CLOSED_AT_1), proprio=_POSE_RPY,
)  # fmt: skip
_POSE_COMMAND: tuple[ActionField, ...] = (fields.abs_pos(), fields.abs_rot("rpy"), _CLOSED_AT_1)
XARM_BIMANUAL = embodiment(
    "xarm_bimanual", "xarm7", (_camera("primary", 256, 256),), hz=10.0, morphology="two arms",
    action=(*(fields.left(field) for field in _POSE_COMMAND), *_POSE_COMMAND),
    proprio=(*(fields.left(field) for field in _POSE_RPY), *_POSE_RPY),
)  # fmt: skip

OXE_LABELS: Mapping[str, tuple[Embodiment, ...]] = {
    "Cobotta": (COBOTTA_LSMO,),
    "DLR EDAN": (DLR_EDAN,),
    "DLR SARA": (DLR_SARA,),
    "Fanuc Mate": (FANUC_MATE,),
    "Franka": (FRANKA_TACO_PLAY,),
    "Google Robot": (GOOGLE_ROBOT,),
    "Hello Stretch": (STRETCH_CMU,),
    "Jackal": (JACKAL_RECON,),
    "Jaco 2": (JACO_2,),
    "Kinova Gen3": (KINOVA_D3FIELD,),
    "Kuka iiwa": (KUKA_QT_OPT,),
    "Multi-Robot (RoboNet)": (ROBO_NET,),
    "PR2": (PR2_TABLETOP,),
    "RC Car": (RC_CAR_CORY_HALL,),
    "Sawyer": (SAWYER_ROBOTURK,),
    "TurtleBot 2": (TURTLEBOT_SAC_SON,),
    "UR5": (UR5_AUTOLAB,),
    "Unitree A1": (A1_SAYTAP,),
    "WidowX": (WIDOWX_250,),
    "xArm": (XARM7_UTOKYO, XARM6_LANGUAGE_TABLE),
    "xArm Bimanual": (XARM_BIMANUAL,),
}
"""Label of the paper's list -> the records of that robot, the most usual first."""
