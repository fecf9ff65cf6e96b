"""A robot's description (MJCF or URDF), by the name its `Kinematics` gives, as a MuJoCo model of nothing but its arm.

    "robosuite:panda" | "robot_descriptions:panda_mj_description" | "file:my_arm.urdf"
         --parse--> shapes, motors and the joints of everything else removed --compile--> model with the arm's joints only

Without shapes no mesh is read: a Panda takes 0.04 s to load instead of seconds. Joints that are not the arm's stand at zero.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from rtx.embodiment import Kinematics
from rtx.errors import UserError, WorldError, unknown_name

_UNNEEDED = (
    "geoms", "meshes", "textures", "materials", "hfields", "skins", "flexes", "actuators", "sensors", "equalities", "tendons",
    "keys", "excludes", "pairs", "cameras", "lights",
)  # fmt: skip
_ROBOSUITE = ("robosuite/models/assets/robots", "robosuite_models/assets/robots")


def import_mujoco() -> Any:
    """The package `mujoco`. Raises UserError where it is missing."""
    try:
        return importlib.import_module("mujoco")
    except ImportError as error:
        raise UserError(f"kinematics need {error.name}: pip install rtx-robotics[ik]") from error


def load_arm(kinematics: Kinematics) -> Any:
    """`mujoco.MjModel` whose joints are `kinematics.joints`, in the description's order.

    Raises UserError for a description that cannot be found or read, lacks a joint, the tip or the base, or moves a joint
    in more than one way.
    """
    mujoco = import_mujoco()
    path = description_path(kinematics.source)
    try:
        spec = _parse(mujoco, path)
    except ValueError as error:
        raise UserError(f"robot description {path} cannot be read: {error}") from error
    _check_names(mujoco, kinematics, spec, path)
    _strip(spec, keep=kinematics.joints)
    try:
        return spec.compile()
    except ValueError as error:
        raise UserError(f"robot description {path} cannot be compiled: {error}") from error


def description_path(source: str) -> Path:
    """Where a `Kinematics.source` lies on this machine.

    Raises UserError for a file, package or robot that is not there, WorldError for one that cannot be downloaded.
    """
    kind, _, name = source.partition(":")
    if kind == "file":
        path = Path(name).expanduser()
        if path.suffix not in (".xml", ".urdf"):
            raise UserError(f"robot description {path} must be an MJCF (.xml) or a URDF (.urdf)")
    elif kind == "robosuite":
        path = _robosuite_path(name)
    else:
        path = _described_path(name)
    if not path.is_file():
        raise UserError(f"robot description {path} does not exist (kinematics.source {source!r})")
    return path


def _robosuite_path(name: str) -> Path:
    """Found without importing robosuite, which takes seconds."""
    found: dict[str, Path] = {}
    for place in _ROBOSUITE:
        package = importlib.util.find_spec(place.split("/")[0])
        for root in (package.submodule_search_locations or ()) if package else ():
            found |= {path.parent.name: path for path in Path(root).parent.joinpath(place).glob("*/robot.xml")}
    if not found:
        raise UserError("this robot's description is robosuite's, which is not installed: pip install rtx-robotics[sim]")
    if name.lower() not in found:
        raise unknown_name("robot of robosuite", name, found)
    return found[name.lower()]


def _described_path(name: str) -> Path:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise UserError(f"robot_descriptions:{name} is no name of a description, such as panda_mj_description")
    try:
        module = importlib.import_module(f"robot_descriptions.{name}")  # fetches it once, into the user's cache
    except ModuleNotFoundError as error:
        if error.name == f"robot_descriptions.{name}":
            raise UserError(f"the package robot_descriptions has no {name!r}; its README lists what it has") from error
        raise UserError(f"this robot's description needs {error.name}: pip install rtx-robotics[ik]") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "git":
            raise
        reason = str(error).strip().splitlines()[-1].strip()
        raise WorldError(
            f"robot description {name} could not be fetched ({reason}); it is fetched once: connect to the network, or copy "
            "~/.cache/robot_descriptions from another computer, or name a file of your own (file:)"
        ) from error
    path = getattr(module, "MJCF_PATH", None) or getattr(module, "URDF_PATH", None)
    if path is None:
        raise UserError(f"robot_descriptions has {name} as a xacro only; make a URDF of it (xacro FILE) and name it file:")
    return Path(path)


def _parse(mujoco: Any, path: Path) -> Any:
    if path.suffix != ".urdf":
        return mujoco.MjSpec.from_file(str(path))
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise ValueError(f"not XML: {error}") from error
    for link in root.iter("link"):
        for shape in [*link.findall("visual"), *link.findall("collision")]:
            link.remove(shape)
    # MuJoCo would merge links without a joint between them into one, and the tip is often such a link.
    for settings in root.findall("mujoco"):
        root.remove(settings)
    ET.SubElement(ET.SubElement(root, "mujoco"), "compiler", fusestatic="false")
    return mujoco.MjSpec.from_string(ET.tostring(root, encoding="unicode"))


def _check_names(mujoco: Any, kinematics: Kinematics, spec: Any, path: Path) -> None:
    joints = {joint.name: joint for joint in spec.joints}
    frames = {frame.name for frame in (*spec.sites, *spec.bodies) if frame.name}
    problems = [f"has no joint {name!r}" for name in kinematics.joints if name not in joints]
    single = (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)
    problems += [
        f"joint {name!r} neither turns about one axis nor slides along one"
        for name in kinematics.joints
        if name in joints and joints[name].type not in single
    ]
    if kinematics.tip not in frames:
        problems.append(f"has no site or body {kinematics.tip!r} (tip)")
    if kinematics.base and kinematics.base not in {body.name for body in spec.bodies}:
        problems.append(f"has no body {kinematics.base!r} (base)")
    if problems:
        raise UserError(
            f"robot description {path} " + "; ".join(problems)
            + f". Its joints: {', '.join(joints) or 'none'}; its sites and bodies: {', '.join(sorted(frames)) or 'none'}"
        )  # fmt: skip


def _strip(spec: Any, *, keep: tuple[str, ...]) -> None:
    for kind in _UNNEEDED:
        for element in list(getattr(spec, kind)):
            element.delete()
    for joint in list(spec.joints):
        if joint.name not in keep:
            joint.delete()
    # Shapes that gave a body its inertia are gone. Kinematics ask for none, the compiler for some.
    spec.compiler.boundmass, spec.compiler.boundinertia = 1e-3, 1e-6
