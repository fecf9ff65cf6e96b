"""From robosuite's parts to one MJCF text: arm, gripper, table, what is on it, and two cameras.

    robosuite robot + corrections + gripper --merge--> world <--append-- table, objects, cameras, lights

Only the parts are robosuite's; its environment class is not used. Measured on a Panda, one core: a 20 Hz step of its
environment takes 7.7 ms of which 1.1 ms are physics; with `rtx.eval.sim.motion` it takes 2.

This module runs only when a model is not cached (`rtx.eval.sim.models`).
"""

from __future__ import annotations

import sys
import types
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtx.errors import UserError
from rtx.eval.sim.arms import SimArm
from rtx.eval.sim.objects import BAR, BENCH, CABINET, CLOTHS, DRAWER, HANDLE_AT_M, KNOB, THINGS, TRAVEL_M, fixed, loose

_ARMATURE_SHARE = 0.1  # of robosuite's
GRIP_SITE = "grip_point"
WRIST_CAMERA = "wrist"
PRIMARY_CAMERA = "primary"


# Joint -> (joint that drives it, ratio), from the geometry: pads stay parallel, inner bars turn with the outer ones.
LINKAGES: Mapping[str, Mapping[str, tuple[str, float]]] = {
    "Robotiq85Gripper": {
        "right_outer_knuckle_joint": ("finger_joint", 1.0),
        "left_inner_finger_joint": ("finger_joint", -1.0),
        "left_inner_knuckle_joint": ("finger_joint", 1.0),
        "right_inner_finger_joint": ("right_outer_knuckle_joint", -1.0),
        "right_inner_knuckle_joint": ("right_outer_knuckle_joint", 1.0),
    },
    "Robotiq140Gripper": {
        "right_outer_knuckle_joint": ("finger_joint", -1.0),
        "left_inner_finger_joint": ("finger_joint", 1.0),
        "left_inner_knuckle_joint": ("finger_joint", -1.0),
        "right_inner_finger_joint": ("right_outer_knuckle_joint", -1.0),
        "right_inner_knuckle_joint": ("right_outer_knuckle_joint", 1.0),
    },
}


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """The MJCF text and the names that mean something in it."""

    xml: str
    arm_joints: tuple[str, ...]
    arm_actuators: tuple[str, ...]
    initial_qpos: tuple[float, ...]  # robosuite's own resting pose of the arm
    gripper_actuators: tuple[str, ...]
    gripper_joints: tuple[str, ...]
    gripper_qpos: tuple[float, ...]
    open_command: tuple[float, ...]  # in [-1, 1] of each actuator's range
    close_command: tuple[float, ...]
    pads: tuple[str, str]  # one collision shape of each fingerpad


def build(arm: SimArm, table: str) -> Blueprint:
    """With one of the two kinds of `objects`. Raises UserError if robosuite is missing."""
    robosuite = _import_robosuite()
    robot, gripper = _robot(robosuite, arm)
    world = robosuite.models.world.MujocoWorldBase()
    world.merge(robot)
    _append(world, _table_xml(arm, table))
    _grip_frame(world.root, gripper.important_sites["grip_site"], arm)
    _name_everything(world.root)
    pads = tuple(gripper.important_geoms[f"{side}_fingerpad"][-1] for side in ("left", "right"))
    return Blueprint(
        xml=world.get_xml(),
        arm_joints=tuple(robot.arm_joints),
        arm_actuators=tuple(robot.arm_actuators),
        initial_qpos=tuple(float(q) for q in robot.init_qpos),
        gripper_actuators=tuple(gripper.actuators),
        gripper_joints=tuple(gripper.joints),
        gripper_qpos=tuple(float(q) for q in gripper.init_qpos),
        open_command=_settled_command(gripper, -1.0),
        close_command=_settled_command(gripper, 1.0),
        pads=(pads[0], pads[1]),
    )


def _import_robosuite() -> Any:
    """Quietly: a module in the place of its "private macro file" turns off three warnings and its log files."""
    macros = types.ModuleType("robosuite.macros_private")
    macros.CONSOLE_LOGGING_LEVEL = "ERROR"  # type: ignore[attr-defined]
    macros.FILE_LOGGING_LEVEL = None  # type: ignore[attr-defined]
    sys.modules.setdefault("robosuite.macros_private", macros)
    try:
        import robosuite
        import robosuite.models.world
        import robosuite_models  # noqa: F401  registers the ViperX
    except ImportError as error:
        raise UserError(f"the simulator needs robosuite ({error}): pip install rtx-robotics[sim]") from error
    return robosuite


def _robot(robosuite: Any, arm: SimArm) -> tuple[Any, Any]:
    robot = robosuite.models.robots.create_robot(arm.robot, idn=0)
    robot.add_base(base=robosuite.models.bases.robot_base_factory("NullMount", idn=0))
    robot.update_joints()
    robot.update_actuators()
    if arm.shell_inertia:
        for mesh in robot.asset.findall("mesh"):
            mesh.set("inertia", "shell")
    side = robot.arms[0]
    name = robot.default_gripper[side] if arm.gripper == "default" else arm.gripper
    gripper = robosuite.models.grippers.gripper_factory(name, idn=f"0_{side}")
    _couple_bars(gripper, LINKAGES.get(name, {}))
    robot.add_gripper(gripper, robot.eef_name[side])
    root = robot.worldbody.find(f".//body[@name='{robot.root_body}']")
    root.set("pos", "0 0 0")
    _fix_joints(robot, arm)
    return robot, gripper


def _fix_joints(robot: Any, arm: SimArm) -> None:
    """robosuite gives every arm's motors 5, 2.5, 1.7 ... kg m^2, with which a wrist of 12 N m cannot turn 0.2 rad in 0.2 s."""
    for name in robot.arm_joints:
        joint = robot.worldbody.find(f".//joint[@name='{name}']")
        joint.set("armature", str(_ARMATURE_SHARE * float(joint.get("armature", "0"))))
    for name, (armature, torque) in arm.joint_fixes.items():
        joint = robot.worldbody.find(f".//joint[@name='{robot.naming_prefix}{name}']")
        actuator = robot.actuator.find(f"./motor[@joint='{robot.naming_prefix}{name}']")
        joint.set("armature", str(armature))
        actuator.set("ctrlrange", f"{-torque} {torque}")


def _couple_bars(gripper: Any, linkage: Mapping[str, tuple[str, float]]) -> None:
    """Ties a linkage's joints to each other rigidly, in the place of robosuite's soft tendons, and gives them some inertia.

    With those alone the fingers fold: a closed Robotiq could neither push nor keep its pads parallel, and sometimes exploded.
    """
    if not linkage:
        return
    prefix = gripper.naming_prefix
    for element in (*gripper.tendon, *gripper.equality):
        (gripper.tendon if element in list(gripper.tendon) else gripper.equality).remove(element)
    for passive, (driver, ratio) in linkage.items():
        tie = {"joint1": prefix + passive, "joint2": prefix + driver, "polycoef": f"0 {ratio} 0 0 0", "solref": "0.005 1"}
        ET.SubElement(gripper.equality, "joint", tie)
    for joint in gripper.worldbody.iter("joint"):
        joint.set("armature", "0.002")
        joint.set("damping", "0.05")


def _settled_command(gripper: Any, direction: float) -> tuple[float, ...]:
    """What robosuite sends the gripper's actuators after a long time of `direction` (-1 open, 1 close)."""
    gripper.current_action = np.zeros(gripper.dof)
    for _ in range(200):
        command = gripper.format_action(np.array([direction]))
    return tuple(float(c) for c in np.atleast_1d(command))


def _append(world: Any, xml: str) -> None:
    extra = ET.fromstring(xml)
    for section in ("asset", "worldbody"):
        world.root.find(section).extend(list(extra.find(section)))  # type: ignore[arg-type]
    world.root.find("visual").extend(list(extra.find("visual")))  # type: ignore[arg-type]


def _table_xml(arm: SimArm, table: str) -> str:
    has_cloths = table == BENCH
    half_x, top = 0.5, arm.table_z_m
    table_x = half_x - 0.2
    things = "".join(_body(name) for name in loose(table)) + "".join(_furniture(name) for name in fixed(table))
    size = f'type="box" size="{half_x} 0.6 0.03" pos="{table_x} 0 {top - 0.03}"'
    cloths = "".join(f'<geom name="{name}" {size} {_UNTOUCHED} material="{name}"/>' for name in CLOTHS if has_cloths)
    pedestal = (
        f'<geom name="pedestal" type="cylinder" size="0.1 {max(-top, 0.001) / 2}" pos="0 0 {min(top, -0.001) / 2}" {_SEEN}/>'
    )
    return f"""<mujoco>
  <visual>
    <quality offsamples="0" shadowsize="0"/>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.35 0.35 0.35" specular="0 0 0"/>
    <global offwidth="640" offheight="640"/>
  </visual>
  <asset><texture type="skybox" builtin="gradient" rgb1="0.75 0.8 0.85" rgb2="0.45 0.5 0.55" width="64" height="64"/>
    {_CLOTHS_XML if has_cloths else ""}</asset>
  <worldbody>
    <light name="lamp" pos="0.5 0 2" dir="0 0 -1" directional="true" castshadow="false" diffuse="0.5 0.5 0.5" specular="0 0 0"/>
    <geom name="floor" type="plane" size="4 4 0.1" pos="0 0 {top - 0.7}" condim="3" group="1" rgba="0.5 0.5 0.5 1"/>
    <geom name="table" {size} group="1" friction="1 0.005 0.0001" rgba="0.7 0.6 0.5 1"/>
    {pedestal}{things}{cloths}
    <camera name="{PRIMARY_CAMERA}" mode="fixed" pos="0 0 1" fovy="{arm.primary.fovy_deg}"/>
  </worldbody></mujoco>"""


_UNTOUCHED = 'contype="0" conaffinity="0" group="1"'
_SEEN = f'{_UNTOUCHED} rgba="0.25 0.25 0.27 1"'
_FRICTION = 'friction="1 0.005 0.0001" condim="4" solref="0.01 1" group="1"'
# Furniture touches hands (Sawyer's pads are touched only) and loose things, but no other furniture: a drawer slides free.
_STANDING = f'contype="1" conaffinity="0" {_FRICTION}'
# Each in the place of the table where an episode wants it; invisible else.
_CLOTHS_XML = """
  <texture name="checked" type="2d" builtin="checker" rgb1="0.75 0.1 0.1" rgb2="0.95 0.93 0.9" width="64" height="64"/>
  <texture name="striped" type="2d" builtin="gradient" rgb1="0.15 0.2 0.5" rgb2="0.85 0.85 0.8" width="64" height="64"/>
  <texture name="mottled" type="2d" builtin="flat" rgb1="0.45 0.3 0.5" markrgb="0.95 0.9 0.3" mark="random" random="0.02"
           width="256" height="256"/>
  <material name="checked" texture="checked" texrepeat="9 9" specular="0"/>
  <material name="striped" texture="striped" texrepeat="1 14" specular="0"/>
  <material name="mottled" texture="mottled" texrepeat="2 2" specular="0"/>
  <material name="green" rgba="0.1 0.42 0.3 1" specular="0"/>"""


def _geoms(name: str, attributes: str) -> str:
    """The first bears the body's name."""
    shapes = THINGS[name].shapes
    return "".join(f'<geom name="{name}{i or ""}" {shape} {attributes}/>' for i, shape in enumerate(shapes))


def _body(name: str) -> str:
    """A loose object of 60 g. Friction as robosuite's boxes; damping stops what rolls. Weightless until laid out."""
    return (
        f'<body name="{name}" pos="0 0 -0.5" gravcomp="1"><joint name="{name}" type="free" damping="0.0005"/>'
        '<inertial pos="0 0 0" mass="0.06" diaginertia="2e-5 2e-5 2e-5"/>'  # robosuite takes no inertia from visible shapes
        f"{_geoms(name, _FRICTION)}</body>"
    )


def _furniture(name: str) -> str:
    """Stands fast; moved by editing the model. The cabinet has a drawer that slides out towards the arm."""
    return f'<body name="{name}" pos="0 0 -0.5">{_geoms(name, _STANDING)}{_drawer() if name == CABINET else ""}</body>'


def _drawer() -> str:
    at = " ".join(map(str, HANDLE_AT_M))
    handles = "".join(f'<body name="{name}" pos="{at}">{_geoms(name, _STANDING)}</body>' for name in (BAR, KNOB))
    return (
        f'<body name="{DRAWER}"><joint name="{DRAWER}" type="slide" axis="-1 0 0" range="0 {TRAVEL_M}" damping="2"'
        ' frictionloss="0.3"/><inertial pos="0 0 0" mass="0.3" diaginertia="1e-3 1e-3 1e-3"/>'
        f"{_geoms(DRAWER, _STANDING)}{handles}</body>"
    )


def _grip_frame(root: ET.Element, site_name: str, arm: SimArm) -> None:
    """Adds the wrist camera beside the gripper point (placed in `models`, when the fingers' axis is known)."""
    parent = next(body for body in root.iter("body") if body.find(f"./site[@name='{site_name}']") is not None)
    site = parent.find(f"./site[@name='{site_name}']")
    assert site is not None
    ET.SubElement(parent, "site", {**site.attrib, "name": GRIP_SITE, "rgba": "0 0 0 0"})
    ET.SubElement(parent, "camera", {"name": WRIST_CAMERA, "mode": "fixed", "fovy": str(arm.wrist.fovy_deg)})


def _name_everything(root: ET.Element) -> None:
    """Names for nameless geoms, so that the same one is found in the physics and in the render model."""
    for number, geom in enumerate(root.iter("geom")):
        if geom.get("name") is None:
            geom.set("name", f"geom{number}")
