"""What is known of an arm itself, whoever's data set it was recorded in: reach, joints, and where its kinematics are described.

Reach is the maker's; speeds are well below what the arm allows. Joint limits are numbers copied from the description that
`joint_source` names. Nobody measured the cells these data sets were recorded in: the box is what the arm can reach, so put
your own table and walls into your embodiment before a policy moves a real arm.

Of two equal arms everything holds for each, in its own base frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rtx.embodiment import ActionField, ActionSpace, Camera, Embodiment, Field, Kinematics, Limits
from rtx.errors import unknown_name

_SPEED_M_S = 0.5  # every one of them can do more; people stand beside them
_SPEED_RAD_S = 1.5
_ACCELERATION_M_S2 = 5.0
_INF, _PI = math.inf, math.pi
FRANKA_HAND_M = 0.08
"""Between the fingers of an open Franka hand; each finger moves half of it."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """One arm. `description`: a kinematic description of it, or why there is none; `kinematics` where rtx can load that.

    Joint limits in the order of the arm's joints from its foot, rad; empty where they are not known. Infinite: turns on.
    """

    reach_m: float
    description: str
    kinematics: Kinematics | None = None
    joint_low_rad: tuple[float, ...] = ()
    joint_high_rad: tuple[float, ...] = ()
    max_joint_velocity_rad_s: tuple[float, ...] = ()  # the maker's
    joint_source: str = ""


def _arm(
    reach_m: float, source: str, joints: tuple[str, ...], *, tip: str, base: str, home: tuple[float, ...],
    low: tuple[float, ...], high: tuple[float, ...], velocity: tuple[float, ...] = (), joint_source: str = "",
) -> Hardware:  # fmt: skip
    return Hardware(
        reach_m=reach_m, description=source, kinematics=Kinematics(source=source, joints=joints, tip=tip, base=base, home=home),
        joint_low_rad=low, joint_high_rad=high, max_joint_velocity_rad_s=velocity,
        joint_source=joint_source or f"angles from {source}",
    )  # fmt: skip


def _minus(high: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(-value for value in high)


def _degrees(*values: float | int) -> tuple[float, ...]:
    return tuple(round(math.radians(value), 4) for value in values)


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}{i}" for i in range(1, count + 1))


_GEN3_HIGH = (_INF, 2.24, _INF, 2.57, _INF, 2.09, _INF)
_IIWA_HIGH = (2.9671, 2.0944, 2.9671, 2.0944, 2.9671, 2.0944, 3.0543)
_UR_HIGH = (6.2832, 6.2832, 3.1416, 6.2832, 6.2832, 6.2832)
_SO_JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
_VIPER_JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
_UR_JOINTS = (
    "shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint", "wrist_1_joint", "wrist_2_joint", "wrist_3_joint",
)  # fmt: skip
# Gripper down, in front. The start pose of Interbotix's and ALOHA's software is close to a singularity of the wrist.
_VIPER_HOME = (0.0, -0.4, 0.6, 0.0, 1.0, 0.0)
_VIPER = _arm(
    0.75, "robosuite:VX300S", tuple(f"right/{joint}" for joint in _VIPER_JOINTS), tip="right/gripper", base="right_arm_mount",
    home=_VIPER_HOME, velocity=(3.1416,) * 6,
    low=(-3.1416, -1.85, -1.7628, -3.1416, -1.8675, -3.1416), high=(3.1416, 1.2566, 1.6057, 3.1416, 2.234, 3.1416),
    joint_source="angles from robosuite:VX300S, speeds from Interbotix's vx300s.urdf.xacro",
)  # fmt: skip

HARDWARE: Mapping[str, Hardware] = {
    "a1": Hardware(
        reach_m=0.5, description="robot_descriptions:a1_mj_description; the order of the data set's legs is not documented",
        joint_low_rad=_degrees(-46, -60, -154.5), joint_high_rad=_degrees(46, 240, -52.5), max_joint_velocity_rad_s=(21.0,) * 3,
        joint_source="one leg's (hip, thigh, calf) angles and speeds from Unitree's a1_description (const.xacro); all legs are "
        "alike",
    ),
    "aloha": _VIPER,  # each of its two
    "cobotta": Hardware(reach_m=0.34, description="none in robot_descriptions or robosuite"),
    "dlr_edan": Hardware(reach_m=0.94, description="none published"),
    "dlr_sara": Hardware(reach_m=0.94, description="none published"),
    "fanuc_mate": Hardware(reach_m=0.72, description="none in robot_descriptions or robosuite (its FANUC is an M-710iC)"),
    "franka": _arm(
        0.855, "robosuite:Panda", _numbered("joint", 7), tip="right_hand", base="link0",
        home=(0.0, 0.1963, 0.0, -2.618, 0.0, 2.9416, 0.7854),
        low=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        high=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
        velocity=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61), joint_source="angles from robosuite:Panda, speeds from "
        "Franka's control parameters (as moveit_resources has them)",
    ),
    "google_robot": Hardware(reach_m=1.0, description="none in robot_descriptions or robosuite"),
    "io_ai": Hardware(reach_m=0.855, description="the arm of this data set is not documented; the reach is a Franka's"),
    "jaco2": Hardware(
        reach_m=0.90, description="robot_descriptions:j2n6s200_description, a xacro: make a URDF of it for file:",
        joint_low_rad=(-_INF, *_degrees(47, 19), -_INF, -_INF, -_INF),
        joint_high_rad=(_INF, *_degrees(313, 341), _INF, _INF, _INF),
        joint_source="angles from Kinova's j2n6s200.xacro (six joints, two fingers, as in jaco_play); no speeds: it has "
        "placeholders",
    ),
    "kinova_gen3": _arm(
        0.90, "robot_descriptions:gen3_mj_description", _numbered("joint_", 7), tip="pinch_site", base="base_link",
        home=(0.0, 0.2618, 3.1416, -2.2689, 0.0, 0.9599, 1.5708), velocity=(1.3963,) * 4 + (1.2218,) * 3,
        low=_minus(_GEN3_HIGH), high=_GEN3_HIGH,
        joint_source="angles from robot_descriptions:gen3_mj_description, speeds from Kinova's gen3_macro.xacro",
    ),
    "kuka_iiwa": _arm(
        0.82, "robosuite:IIWA", _numbered("joint_", 7), tip="right_hand", base="base",
        home=(0.0, 0.65, 0.0, -1.89, 0.0, 0.6, 0.0), low=_minus(_IIWA_HIGH), high=_IIWA_HIGH,
        velocity=_degrees(85, 85, 100, 75, 130, 135, 135),
        joint_source="angles from robosuite:IIWA, speeds of an iiwa 14 from KUKA's brochure, as Drake's "
        "iiwa_description quotes it (the papers do not say which size; an iiwa 7 is faster)",
    ),
    "pr2": Hardware(
        reach_m=0.93, description="robot_descriptions:pr2_description; which of its arms was recorded is not documented"
    ),
    "robo_net": Hardware(reach_m=1.26, description="seven kinds of arms, not named in the records; the reach is a Sawyer's"),
    "sawyer": _arm(
        1.26, "robosuite:Sawyer", tuple(f"right_j{i}" for i in range(7)), tip="right_l6", base="base",
        home=(0.0, -1.18, 0.0, 2.18, 0.0, 0.57, -1.57), velocity=(1.74, 1.328, 1.957, 1.957, 3.485, 3.485, 4.545),
        low=(-3.0503, -3.8095, -3.0426, -3.0439, -2.9761, -2.9761, -4.7124),
        high=(3.0503, 2.2736, 3.0426, 3.0439, 2.9761, 2.9761, 4.7124),
        joint_source="angles from robosuite:Sawyer, speeds from Rethink's sawyer_base.urdf.xacro",
    ),
    "so100": _arm(
        0.44, "robot_descriptions:so_arm100_mj_description", ("Rotation", "Pitch", "Elbow", "Wrist_Pitch", "Wrist_Roll"),
        tip="Fixed_Jaw", base="Base", home=(0.0, -1.5708, 1.5708, 1.5708, -1.5708),
        low=(-2.2, -3.1416, 0.0, -2.0, -3.1416), high=(2.2, 0.2, 3.1416, 1.8, 3.1416),
        joint_source="angles from robot_descriptions:so_arm100_mj_description, whose zeros are its own: LeRobot's calibration "
        "has them elsewhere; reach added up from its links, from the first axis; no speeds published",
    ),
    "so101": _arm(
        0.44, "robot_descriptions:so_arm101_mj_description", _SO_JOINTS, tip="gripperframe", base="base", home=(0.0,) * 5,
        low=(-1.9199, -1.7453, -1.69, -1.6581, -2.7438), high=(1.9199, 1.7453, 1.69, 1.6581, 2.8412),
        joint_source="angles from robot_descriptions:so_arm101_mj_description, whose zeros are those of LeRobot's calibration; "
        "reach added up from its links, from the first axis; no speeds published",
    ),
    "spot": Hardware(reach_m=0.98, description="robot_descriptions:spot_mj_description, its arm a variant"),
    "stretch": Hardware(
        reach_m=1.1, description="robot_descriptions:stretch_mj_description; four coupled joints make its telescope, which "
        "rtx's kinematics do not solve",
    ),
    "ur5": Hardware(
        reach_m=0.85, description="robot_descriptions:ur5_official_description, a xacro: make a URDF of it for file:",
        joint_low_rad=_minus(_UR_HIGH), joint_high_rad=_UR_HIGH, max_joint_velocity_rad_s=(_PI,) * 6,
        joint_source="Universal Robots' own joint_limits.yaml: a turn either way (the elbow half), half a turn a second",
    ),
    "ur5e": _arm(
        0.85, "robosuite:UR5e", _UR_JOINTS, tip="right_hand", base="base",
        home=(-0.47, -1.735, 2.48, -2.275, -1.59, -1.991), low=_minus(_UR_HIGH), high=_UR_HIGH,
        velocity=(_PI,) * 6,
        joint_source="angles from robosuite:UR5e, speeds from Universal Robots' own joint_limits.yaml",
    ),
    "wheeled_base": Hardware(reach_m=1.0, description="none: wheels only"),
    "widowx_250": _arm(
        0.65, "robot_descriptions:widow_mj_description", _VIPER_JOINTS, tip="wx250s/gripper_link", base="wx250s/base_link",
        home=_VIPER_HOME, velocity=(3.1416,) * 6,
        low=(-3.1416, -1.885, -2.1468, -3.1416, -1.7453, -3.1416), high=(3.1416, 1.9897, 1.6057, 3.1416, 2.1468, 3.1416),
        joint_source="angles from robot_descriptions:widow_mj_description, speeds from Interbotix's wx250s.urdf.xacro",
    ),
    "xarm6": Hardware(
        reach_m=0.70, description="robot_descriptions:xarm6_description, a xacro: make a URDF of it for file:",
    ),
    "xarm7": _arm(
        0.70, "robot_descriptions:xarm7_mj_description", _numbered("joint", 7), tip="link_tcp", base="link_base",
        home=(0.0, -0.247, 0.0, 0.909, 0.0, 1.1564, 0.0), velocity=(3.14,) * 7,
        low=(-6.2832, -2.059, -6.2832, -0.192, -6.2832, -1.693, -6.2832),
        high=(6.2832, 2.0944, 6.2832, 3.927, 6.2832, 3.1416, 6.2832),
        joint_source="angles from robot_descriptions:xarm7_mj_description, speeds from the maker's xarm7.urdf.xacro (3.14)",
    ),
}  # fmt: skip


def find(name: str) -> Hardware:
    """Raises UserError for hardware that is not in the table."""
    if name not in HARDWARE:
        raise unknown_name("hardware", name, HARDWARE)
    return HARDWARE[name]


def limits(hardware: str, hz: float) -> Limits:
    """Limits of one arm driven at `hz` commands a second. Raises UserError for hardware that is not in the table."""
    known = find(hardware)
    reach = known.reach_m
    joints = known.joint_source or "limits not known"
    return Limits(
        workspace_low_m=(-reach, -reach, -reach),
        workspace_high_m=(reach, reach, reach),
        max_step_m=_SPEED_M_S / hz,
        max_step_rad=_SPEED_RAD_S / hz,
        max_velocity_m_s=_SPEED_M_S,
        max_acceleration_m_s2=_ACCELERATION_M_S2,
        joint_low_rad=known.joint_low_rad,
        joint_high_rad=known.joint_high_rad,
        max_joint_velocity_rad_s=known.max_joint_velocity_rad_s,
        source=f"the arm's reach and a careful speed; the cell of the data set is not known. Joints: {joints}"
        + ("" if known.kinematics else f". Kinematics: {known.description}"),
    )


def embodiment(
    name: str,
    hardware: str,
    cameras: tuple[Camera, ...],
    *,
    hz: float,
    action: tuple[ActionField, ...],
    proprio: tuple[Field, ...] = (),
    morphology: str = "single arm",
) -> Embodiment:
    """A robot made of `hardware` from the table; `action` and `proprio` are its native vectors."""
    return Embodiment(
        name=name,
        morphology=morphology,
        cameras=cameras,
        proprio=proprio,
        action=ActionSpace(fields=action),
        control_hz=hz,
        limits=limits(hardware, hz),
        kinematics=find(hardware).kinematics,
    )
