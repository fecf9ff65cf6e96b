"""The arms of the public simulation suites as embodiments: what their native vectors mean, and which layout suits them.

    data set / arm     suite            command                                       state                    Hz
    -----------------  ---------------  --------------------------------------------  -----------------------  ---
    metaworld_sawyer   Meta-World       delta xyz cm, gripper -1 open..1 closed       pose, gripper            80
    gym_aloha          gym-aloha        2 x (6 joint targets rad, gripper 1 open)     2 x (6 joints, gripper)  50
    robosuite_panda    robosuite 1.5    delta xyz m, axis-angle rad, gripper 1 close  pose, gripper            20
    libero_panda       LIBERO           delta xyz m, axis-angle rad, gripper 1 close  pose, gripper            20
    maniskill_panda    ManiSkill 3      delta xyz m, axis-angle rad, gripper 1 open   pose, gripper            20
    language_table     Language-Table   delta xy m                                    xy                       10

SimplerEnv's arms are those of the real data sets: `WIDOWX_250` and `GOOGLE_ROBOT`. Where a suite wants its actions in -1..1,
its adapter (`rtx.eval.public`) divides by the suite's own scale: what is written here is metres and radians. The base frame is
the suite's world where the arm does not move about in it. Limits are those of the suite's own controller: no table is in
danger, and a policy may do here whatever the suite lets it do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from rtx.embodiment import CANONICAL, ActionField, ActionSpace, Camera, Embodiment, Field, Layout, Limits
from rtx.robots import fields

_FAR = 3.0  # m: no suite's arm reaches out of this box


def _limits(
    hz: float, step_m: float, step_rad: float, source: str, *, joint_speed_rad_s: tuple[float, ...] = (),
) -> Limits:  # fmt: skip
    """What the suite's controller itself allows in one step, in any direction at once."""
    return Limits(
        workspace_low_m=(-_FAR,) * 3, workspace_high_m=(_FAR,) * 3, max_step_m=step_m, max_step_rad=step_rad,
        max_velocity_m_s=step_m * hz, max_acceleration_m_s2=2 * step_m * hz**2, max_joint_velocity_rad_s=joint_speed_rad_s,
        source=source,
    )  # fmt: skip


def _cameras(size: int, **mounting: str) -> tuple[Camera, ...]:
    return tuple(Camera(role=role, resolution=(size, size), mounting=text) for role, text in mounting.items())


_DIAGONAL = 3**0.5  # of a cube of side 1: each axis is bounded by itself
_METAWORLD_HZ, _ALOHA_HZ, _PANDA_HZ, _BOARD_HZ = 80.0, 50.0, 20.0, 10.0

METAWORLD_SAWYER = Embodiment(
    name="metaworld_sawyer",
    morphology="single arm",
    cameras=_cameras(256, primary="above the table's right corner (corner4)", wrist="on the hand (gripperPOV)"),
    proprio=(fields.eef_pos(), fields.eef_rot("quat_wxyz"), fields.gripper_state(closed=0.0, opened=1.0)),
    action=ActionSpace(
        fields=(
            dataclasses.replace(fields.delta_pos("cm"), low=-1.0, high=1.0),
            fields.gripper(closed=1.0, opened=-1.0),
        )
    ),
    control_hz=_METAWORLD_HZ,
    limits=_limits(_METAWORLD_HZ, 0.01 * _DIAGONAL, 0.1, "Meta-World: action_scale 1/100 m"),
)
"""The hand's orientation is welded: no rotation is commanded. A step moves the point that the hand is dragged by."""

_ALOHA_ARM: tuple[ActionField, ...] = (fields.joint_pos(6), fields.gripper(closed=0.0, opened=1.0))
_ALOHA_STATE: tuple[Field, ...] = (fields.joint_state(6), fields.gripper_state(closed=0.0, opened=1.0))
GYM_ALOHA = Embodiment(
    name="gym_aloha",
    morphology="two arms",
    cameras=_cameras(256, primary="above the table (top)"),
    proprio=(*(fields.left(field) for field in _ALOHA_STATE), *_ALOHA_STATE),
    action=ActionSpace(fields=(*(fields.left(field) for field in _ALOHA_ARM), *_ALOHA_ARM)),
    control_hz=_ALOHA_HZ,
    # Position servos without a speed limit: joints of the suite's demonstrations turn up to 2 rad/s, jumps far faster.
    limits=_limits(_ALOHA_HZ, 0.1, 1.0, "gym-aloha: none of its own", joint_speed_rad_s=(50.0,) * 6),
)
"""Left arm first, as ALOHA's software has it."""


def _panda(
    name: str, mounting: dict[str, str], *, size: int, step_m: float, step_rad: float, opened: float, source: str
) -> Embodiment:
    return Embodiment(
        name=name, morphology="single arm", cameras=_cameras(size, **mounting),
        proprio=(fields.eef_pos(), fields.eef_rot("quat_xyzw"), fields.gripper_state(closed=0.0, opened=1.0)),
        action=ActionSpace(
            fields=(fields.delta_pos(), fields.delta_rot("axis_angle"), fields.gripper(closed=-opened, opened=opened))
        ),
        control_hz=_PANDA_HZ, limits=_limits(_PANDA_HZ, step_m * _DIAGONAL, step_rad * _DIAGONAL, source),
    )  # fmt: skip


ROBOSUITE_PANDA = _panda(
    "robosuite_panda", {"primary": "opposite the arm (frontview)", "wrist": "on the hand"}, size=256,
    step_m=0.05, step_rad=0.5, opened=-1.0, source="robosuite: OSC_POSE's output_max",
)  # fmt: skip
LIBERO_PANDA = _panda(
    "libero_panda", {"primary": "opposite the arm (agentview)", "wrist": "on the hand"}, size=256,
    step_m=0.05, step_rad=0.5, opened=-1.0, source="LIBERO: OSC_POSE's output_max",
)  # fmt: skip
MANISKILL_PANDA = _panda(
    "maniskill_panda", {"primary": "opposite the arm (base_camera)"}, size=128,
    step_m=0.1, step_rad=0.1, opened=1.0, source="ManiSkill: pd_ee_delta_pose",
)  # fmt: skip

LANGUAGE_TABLE_ARM = Embodiment(
    name="language_table",
    morphology="single arm",
    cameras=(Camera(role="primary", resolution=(180, 320), mounting="in front of the board"),),
    proprio=(fields.eef_pos(), fields.eef_rot("quat_xyzw"), fields.gripper_state(closed=0.0, opened=1.0)),
    action=ActionSpace(
        fields=(
            dataclasses.replace(fields.delta_pos(), low=-0.1, high=0.1),
            fields.delta_rot("rpy"),
            fields.gripper(closed=0.0, opened=1.0),
        )
    ),
    control_hz=_BOARD_HZ,
    limits=_limits(_BOARD_HZ, 0.1 * _DIAGONAL, 0.1, "Language-Table: action_space +-0.1 m"),
)
"""A cylinder on an arm: of the command only x and y are obeyed. In metres of the board, as the real data set has it."""

_NO_TURN = CANONICAL.without("delta_rot")
PUBLIC_ARMS: Mapping[str, tuple[Embodiment, Layout]] = {
    "metaworld_sawyer": (METAWORLD_SAWYER, _NO_TURN),
    "gym_aloha": (
        GYM_ALOHA,
        Layout(
            action=ActionSpace(fields=(*_ALOHA_ARM, *(fields.left(field) for field in _ALOHA_ARM))),
            proprio=(*_ALOHA_STATE, *(fields.left(field) for field in _ALOHA_STATE)),
        ),
    ),
    "robosuite_panda": (ROBOSUITE_PANDA, CANONICAL),
    "libero_panda": (LIBERO_PANDA, CANONICAL),
    "maniskill_panda": (MANISKILL_PANDA, CANONICAL),
}
"""The arms that only a suite has, and the layout their demonstrations are kept in; by the name of the data set."""
