"""An arm's two compiled models, built once per machine and read from the user's cache after that.

    build.py --MJCF--+--> physics: no visible meshes                   } <cache>/rtx/sim/<key>/<arm>.{physics,render}.mjb, .json
                     +--> render: no collision shapes, light meshes    }

Both have the same joints, so a state is copied by its `qpos`. The key covers the package versions, the arm's record and
the source of the files that build; the JSON is written last and carries the checksums of the other two. Building takes 3 to 8 s
an arm, reading 0.1 s without importing robosuite.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import UserError, WorldError
from rtx.eval.sim.arms import SimArm
from rtx.eval.sim.objects import TABLE
from rtx.files import atomic, read_json, write_json

_LOG = logging.getLogger(__name__)
_KEPT_VERSIONS = 3
TIMESTEP_S = 0.0025  # a twentieth of a second has 20; at 4 ms the Robotiq's light bars shake loose
_PACKAGES = ("mujoco", "robosuite", "robosuite-models", "fast-simplification")
# Read at import, as the code itself is: a process that was running while a file changed keeps its own key.
_SOURCES = tuple(
    Path(__file__).with_name(name).read_text()
    for name in ("build.py", "calibrate.py", "decimate.py", "models.py", "motion.py", "objects.py")
)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was measured on the finished model, in its free home pose."""

    arm_joints: tuple[str, ...]
    arm_actuators: tuple[str, ...]
    gripper_joints: tuple[str, ...]
    gripper_actuators: tuple[str, ...]
    pads: tuple[str, str]
    home_qpos: tuple[float, ...]  # arm, at the home pose
    home_rotation: tuple[tuple[float, ...], ...]  # of the gripper point, base frame
    open_qpos: tuple[float, ...]  # gripper joints, settled open
    open_ctrl: tuple[float, ...]
    closed_ctrl: tuple[float, ...]
    finger_axis: tuple[float, float, float]  # along which the fingers open, in the gripper point's frame
    open_gap_m: float  # between the pads' middles along it
    closed_gap_m: float


@dataclass(frozen=True, kw_only=True)
class Models:
    physics: Any  # mujoco.MjModel
    render: Any
    calibration: Calibration


def load_models(arm: SimArm, table: str = TABLE) -> Models:
    """From the cache, or built and cached; a damaged cache is built anew. Raises UserError if a package is missing."""
    folder, name = cache_folder() / _key(arm), arm.name if table == TABLE else f"{arm.name}-{table}"
    try:
        return _read(folder, name)
    except (UserError, WorldError, OSError) as reason:  # absent, damaged, or no folder at all
        _LOG.info("building %s: %s", name, reason)
    models = _build(arm, table)
    try:
        _write(folder, name, models)
    except (WorldError, OSError) as error:
        _LOG.warning("%s is built at every start, for its models cannot be cached: %s", name, error)
    return models


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/rtx/sim`, by default under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rtx" / "sim"


def _key(arm: SimArm) -> str:
    try:
        versions = [f"{name}={importlib.metadata.version(name)}" for name in _PACKAGES]
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(f"the simulator needs the package {error.name}: pip install rtx-robotics[sim]") from error
    return hashlib.sha256(json.dumps([versions, _SOURCES, repr(arm)]).encode()).hexdigest()[:20]


def _read(folder: Path, name: str) -> Models:
    from rtx.eval.sim.mujoco_gl import mujoco

    facts = read_json(folder / f"{name}.json")
    models = {}
    for kind in ("physics", "render"):
        path = folder / f"{name}.{kind}.mjb"
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != facts[kind]:
            raise WorldError(f"{path} is damaged")
        models[kind] = mujoco.MjModel.from_binary_path(str(path))
    calibration = {k: _tuples(v) for k, v in facts["calibration"].items()}
    return Models(**models, calibration=Calibration(**calibration))


def _write(folder: Path, name: str, models: Models) -> None:
    from rtx.eval.sim.mujoco_gl import mujoco

    facts: dict[str, Any] = {"calibration": dataclasses.asdict(models.calibration)}
    for kind in ("physics", "render"):
        model = getattr(models, kind)
        data = np.zeros(mujoco.mj_sizeModel(model), np.uint8)
        mujoco.mj_saveModel(model, None, data)
        facts[kind] = hashlib.sha256(data.tobytes()).hexdigest()
        with atomic(folder / f"{name}.{kind}.mjb") as file:
            file.write(data.tobytes())
    write_json(folder / f"{name}.json", facts)
    _prune(folder.parent, name)


def _prune(cache: Path, name: str) -> None:
    """Forgets all but the newest versions of an arm: each upgrade leaves 5 to 20 MB. Whoever uses one has it in memory."""
    versions = sorted(cache.glob(f"*/{name}.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in versions[_KEPT_VERSIONS:]:
        shutil.rmtree(old.parent, ignore_errors=True)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _build(arm: SimArm, table: str) -> Models:
    from rtx.eval.sim.build import build
    from rtx.eval.sim.calibrate import calibrate, place_wrist_camera
    from rtx.eval.sim.mujoco_gl import mujoco

    blueprint = build(arm, table)
    physics = mujoco.MjModel.from_xml_string(_physics_xml(blueprint.xml))
    calibration = calibrate(physics, blueprint, arm)
    with tempfile.TemporaryDirectory() as scratch:
        render = mujoco.MjModel.from_xml_string(_render_xml(blueprint.xml, Path(scratch)))
    for model in (physics, render):
        place_wrist_camera(model, calibration, arm)
    return Models(physics=physics, render=render, calibration=calibration)


def _physics_xml(xml: str) -> str:
    root = ET.fromstring(xml)
    _drop_geoms(root, lambda geom: geom.get("group") == "1" and geom.get("type") == "mesh" and geom.get("contype") == "0")
    _drop_unused_assets(root)
    _limit_contacts(root)
    option = root.find("option")
    assert option is not None
    option.set("timestep", str(TIMESTEP_S))
    option.set("integrator", "implicitfast")
    return ET.tostring(root, encoding="unicode")


_BARS = ("knuckle", "inner_finger", "outer_finger")  # of a Robotiq's linkage


def _limit_contacts(root: ET.Element) -> None:
    """Only the hand touches things: the links' hulls meet nothing in the working area and cost up to half of a step.

    Nor do a Robotiq's bars: their hulls overlap each other, and slope: what a closed hand is to push aside they pin down.
    """
    for body in root.iter("body"):
        part = body.get("name", "").split("_")[0]
        for geom in body.findall("geom") if part in ("robot0", "gripper0") else ():
            if part == "robot0" or any(bar in geom.get("name", "") for bar in _BARS):
                geom.set("contype", "0")
                geom.set("conaffinity", "0")


def _render_xml(xml: str, scratch: Path) -> str:
    from rtx.eval.sim.decimate import decimated_stl

    root = ET.fromstring(xml)
    _drop_geoms(root, lambda geom: geom.get("group", "0") == "0")
    _drop_unused_assets(root)
    compiler = root.find("compiler")
    assert compiler is not None
    compiler.set("boundmass", "0.001")  # shapes that gave a body its inertia may be gone
    compiler.set("boundinertia", "0.000001")
    for number, mesh in enumerate(root.iter("mesh")):
        if mesh.get("file"):
            light = scratch / f"{number}.stl"
            light.write_bytes(decimated_stl(Path(mesh.attrib["file"])))
            mesh.set("file", str(light))
            mesh.set("inertia", "shell")  # a light mesh need not be closed
    for material in root.iter("material"):
        material.set("reflectance", "0")
    return ET.tostring(root, encoding="unicode")


def _drop_geoms(root: ET.Element, unwanted: Any) -> None:
    for parent in list(root.iter("body")):
        for geom in parent.findall("geom"):
            if unwanted(geom):
                parent.remove(geom)


def _drop_unused_assets(root: ET.Element) -> None:
    asset = root.find("asset")
    assert asset is not None
    used = {geom.get("mesh") for geom in root.iter("geom")}
    for mesh in asset.findall("mesh"):
        if mesh.get("name") not in used:
            asset.remove(mesh)
    materials = {geom.get("material") for geom in root.iter("geom")}
    for material in asset.findall("material"):
        if material.get("name") not in materials:
            asset.remove(material)
    textures = {material.get("texture") for material in asset.findall("material")}
    for texture in asset.findall("texture"):
        if texture.get("type") != "skybox" and texture.get("name") not in textures:
            asset.remove(texture)
