"""What the simulator must know of each arm beyond its embodiment: robosuite's parts, corrections, cameras, working area.

One frozen record per arm; the numbers were chosen by looking at the pictures and running the experts. All positions are
in the base frame (x forward, y left, z up, origin at the arm's foot, which stands at the world's origin).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtx.embodiment import Embodiment
from rtx.errors import unknown_name
from rtx.robots.sim_arms import SIM_ARMS


@dataclass(frozen=True, kw_only=True)
class Viewpoint:
    """A camera that looks at the middle of the working area. Azimuth 0 = from ahead, back at the arm; 90 = from its left."""

    azimuth_deg: float
    elevation_deg: float
    distance_m: float
    fovy_deg: float
    look_up_m: float = 0.07  # height above the table of the point looked at


@dataclass(frozen=True, kw_only=True)
class WristMount:
    """A camera on the hand, in the gripper point's frame: `side_m` away from the fingers' plane, `back_m` behind the tips."""

    side_m: float
    back_m: float
    fovy_deg: float
    look_ahead_m: float = 0.02  # looks at the point this far beyond the fingertips


@dataclass(frozen=True, kw_only=True)
class SimArm:
    """`embodiment` says what the arm means by its numbers; this says what it is made of in the simulator."""

    embodiment: Embodiment
    robot: str  # robosuite's or robosuite-models' name
    gripper: str  # robosuite's name, or "default"
    center_x_m: float  # middle of the working area; its y is 0
    table_z_m: float  # 3 mm below the foot where both stand on one table: two surfaces in one place flicker
    primary: Viewpoint
    wrist: WristMount
    home_height_m: float = 0.18  # of the gripper point above the table
    grasp_height_m: float = 0.020  # likewise, when closing around a cube
    push_height_m: float = 0.025
    open_share: float = 1.0  # how far the gripper opens, of what it could: about 9 cm, not to sweep its neighbours away
    turn_hand_deg: float = 0.0  # home yaw of the hand against "fingers open along y"
    # Sawyer: MuJoCo 3.3 refuses its head's mesh ("mesh volume is too small") unless inertia is taken from the surface.
    shell_inertia: bool = False
    # joint -> (armature, largest torque N m): the ViperX's comes with 5 kg m^2 at 5 N m and 1 at 1, and cannot follow.
    joint_fixes: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.embodiment.name


_ARMS = (
    SimArm(
        embodiment=SIM_ARMS["sim_panda"], robot="Panda", gripper="default", center_x_m=0.50, table_z_m=-0.003,
        primary=Viewpoint(azimuth_deg=0.0, elevation_deg=42.0, distance_m=0.80, fovy_deg=36.0),
        wrist=WristMount(side_m=0.07, back_m=0.10, fovy_deg=70.0),
    ),
    SimArm(
        embodiment=SIM_ARMS["sim_sawyer"], robot="Sawyer", gripper="default", center_x_m=0.60, table_z_m=-0.10,
        primary=Viewpoint(azimuth_deg=35.0, elevation_deg=40.0, distance_m=0.85, fovy_deg=35.0),
        wrist=WristMount(side_m=0.07, back_m=0.10, fovy_deg=70.0), shell_inertia=True,
    ),
    SimArm(
        embodiment=SIM_ARMS["sim_ur5e"], robot="UR5e", gripper="default", center_x_m=0.50, table_z_m=-0.003,
        primary=Viewpoint(azimuth_deg=-35.0, elevation_deg=45.0, distance_m=0.80, fovy_deg=36.0),
        wrist=WristMount(side_m=0.08, back_m=0.12, fovy_deg=65.0), push_height_m=0.03,
    ),
    SimArm(
        embodiment=SIM_ARMS["sim_iiwa"], robot="IIWA", gripper="default", center_x_m=0.55, table_z_m=-0.003,
        primary=Viewpoint(azimuth_deg=-75.0, elevation_deg=38.0, distance_m=0.80, fovy_deg=37.0),
        wrist=WristMount(side_m=0.08, back_m=0.12, fovy_deg=70.0), open_share=0.65,
        grasp_height_m=0.032, push_height_m=0.038,
    ),
    SimArm(
        embodiment=SIM_ARMS["sim_kinova3"], robot="Kinova3", gripper="default", center_x_m=0.48, table_z_m=-0.003,
        primary=Viewpoint(azimuth_deg=70.0, elevation_deg=42.0, distance_m=0.80, fovy_deg=37.0),
        wrist=WristMount(side_m=0.08, back_m=0.12, fovy_deg=65.0), push_height_m=0.03,
    ),
    SimArm(
        # Jaco's own three fingers close 0.01 a step and lift 3 of 10; with the Robotiq it lifts.
        embodiment=SIM_ARMS["sim_jaco"], robot="Jaco", gripper="Robotiq85Gripper", center_x_m=0.45, table_z_m=-0.003,
        primary=Viewpoint(azimuth_deg=15.0, elevation_deg=60.0, distance_m=0.85, fovy_deg=35.0),
        wrist=WristMount(side_m=0.08, back_m=0.12, fovy_deg=65.0), push_height_m=0.03,
    ),
    SimArm(
        embodiment=SIM_ARMS["sim_vx300s"], robot="VX300S", gripper="Robotiq85Gripper", center_x_m=0.38, table_z_m=-0.003,
        primary=Viewpoint(azimuth_deg=130.0, elevation_deg=45.0, distance_m=0.80, fovy_deg=37.0),
        wrist=WristMount(side_m=0.08, back_m=0.12, fovy_deg=65.0), push_height_m=0.03,
        joint_fixes={
            "right/waist": (0.2, 35.0), "right/forearm_roll": (0.05, 22.0),
            "right/wrist_angle": (0.05, 22.0), "right/wrist_rotate": (0.05, 10.0),
        },
    ),
)  # fmt: skip

ARMS: Mapping[str, SimArm] = {arm.name: arm for arm in _ARMS}


def find_arm(name: str) -> SimArm:
    """Raises UserError with the nearest names."""
    if name not in ARMS:
        raise unknown_name("simulated arm", name, ARMS)
    return ARMS[name]
