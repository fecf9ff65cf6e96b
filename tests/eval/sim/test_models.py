"""Compiled models in the user's cache: read back the same, built again when damaged, optional. On the fastest arm to build."""

import logging
import os
import time
from pathlib import Path

import numpy as np
import pytest

from rtx.eval.sim import models
from rtx.eval.sim.arms import find_arm
from rtx.eval.sim.decimate import KEEP, decimated_stl
from rtx.eval.sim.models import cache_folder, load_models
from rtx.eval.sim.motion import Motion
from rtx.eval.sim.mujoco_gl import mujoco

_ARM = find_arm("sim_vx300s")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def built(cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    assert cache_folder() == cache / "rtx" / "sim"
    return load_models(_ARM)


def load_key() -> str:
    return models._key(_ARM)


def files(cache: Path) -> dict[str, Path]:
    return {path.suffixes[0].lstrip("."): path for path in cache.rglob("sim_vx300s.*")}


def test_a_second_start_reads_what_the_first_one_built(built, cache):
    assert set(files(cache)) == {"physics", "render", "json"}
    start = time.perf_counter()
    read = load_models(_ARM)
    assert time.perf_counter() - start < 1.0
    assert read.calibration == built.calibration
    for kind in ("physics", "render"):
        np.testing.assert_array_equal(getattr(read, kind).body_mass, getattr(built, kind).body_mass)
        np.testing.assert_array_equal(getattr(read, kind).cam_pos, getattr(built, kind).cam_pos)


def test_both_models_share_their_joints(built):
    assert built.physics.nq == built.render.nq
    names = [[model.joint(i).name for i in range(model.njnt)] for model in (built.physics, built.render)]
    assert names[0] == names[1]


def test_the_fingers_open_and_close(built):
    known = built.calibration
    assert 0.06 < known.open_gap_m < 0.11
    assert known.closed_gap_m < 0.03


@pytest.mark.parametrize("kind", ["physics", "json"])
def test_a_damaged_model_is_built_anew(built, cache, kind):
    path = files(cache)[kind]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    again = load_models(_ARM)
    assert again.calibration == built.calibration
    assert path.stat().st_size >= len(whole) - 8  # whole again
    assert load_models(_ARM).calibration == built.calibration


def test_old_versions_are_forgotten(built, cache):
    for age in range(4):
        old = cache / "rtx" / "sim" / f"old{age}" / "sim_vx300s.json"
        old.parent.mkdir()
        old.write_text("{}")
        os.utime(old, (age, age))
    files(cache / "rtx" / "sim" / load_key())["json"].unlink()
    load_models(_ARM)
    left = {path.parent.name for path in (cache / "rtx" / "sim").glob("*/sim_vx300s.json")}
    assert left == {load_key(), "old3", "old2"}


def test_without_a_writable_cache_it_still_works(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert load_models(_ARM).physics.nq > 0
    assert "cannot be cached" in caplog.text


def test_a_mesh_keeps_its_shape_with_a_tenth_of_its_faces(tmp_path):
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.1)
    ball.export(tmp_path / "ball.stl")
    (tmp_path / "light.stl").write_bytes(decimated_stl(tmp_path / "ball.stl"))
    light = trimesh.load(tmp_path / "light.stl")
    assert len(light.faces) <= 1.05 * KEEP * len(ball.faces)
    assert light.volume == pytest.approx(ball.volume, rel=0.03)
    np.testing.assert_allclose(light.bounds, ball.bounds, atol=0.003)


def test_a_small_mesh_is_left_alone(tmp_path):
    import trimesh

    box = trimesh.creation.box((0.1, 0.2, 0.3))
    box.export(tmp_path / "box.stl")
    (tmp_path / "light.stl").write_bytes(decimated_stl(tmp_path / "box.stl"))
    assert trimesh.load(tmp_path / "light.stl").volume == pytest.approx(box.volume)


def test_a_robotiqs_pads_stay_parallel_and_meet(built):
    """Its linkage is tied by ratios; one wrong sign would fold a finger."""
    known, data = built.calibration, mujoco.MjData(built.physics)
    motion = Motion(
        built.physics, data, joints=known.arm_joints, actuators=known.arm_actuators,
        gripper_actuators=known.gripper_actuators, open_ctrl=known.open_ctrl, closed_ctrl=known.closed_ctrl,
    )  # fmt: skip
    data.qpos[motion.qpos_at] = motion.home = np.array(known.home_qpos)
    mujoco.mj_forward(built.physics, data)
    for opening in (1.0, 0.5, 0.0):
        motion.servo(motion.position, motion.rotation, opening, seconds=1.0)
        first, second = (data.geom(pad).xmat.reshape(3, 3) for pad in known.pads)
        angle = np.degrees(np.arccos(np.abs(first[:, 1] @ second[:, 1])))
        assert angle < 2.0
        assert np.abs(first[:, 1] @ motion.rotation @ known.finger_axis) > 0.99  # they face along the way they move
    assert known.closed_gap_m < 0.01
