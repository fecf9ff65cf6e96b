"""For every data set: poses -> native keys (convention) -> standardize -> integrated actions lead through the poses."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtx.data.oxe import OXE
from rtx.data.record import NO_ACTION
from rtx.embodiment import dim_names, field_slices
from tests.data.oxe.conventions import CONVENTIONS
from tests.data.oxe.episodes import TEXT, native_values, trajectory_of
from tests.data.oxe.poses import LENGTHS, MAX_STEP_M, MAX_STEP_RAD, make_poses

ATOL_M, ATOL_RAD, ATOL = 1e-5, 3e-5, 2e-5
"""Native keys are float32 (6e-8 relative): positions to 1 m, angles to pi; integrated over up to 31 steps."""

CASES = [pytest.param(name, i, id=f"{name}-{i}") for name in OXE for i in range(len(CONVENTIONS.get(name, ())))]


def standardized(name, convention, poses, choices):
    record = OXE[name].choose(choices)
    trajectory = trajectory_of(record, native_values(name, convention, poses, TEXT))
    return record, record.standardize(trajectory, **record.options())


def test_every_data_set_has_a_convention():
    missing = [name for name, record in OXE.items() if record.standardize is not None and name not in CONVENTIONS]
    assert not missing
    assert not set(CONVENTIONS) - set(OXE)
    assert all(record.layout == NO_ACTION for record in OXE.values() if record.standardize is None)


@pytest.mark.parametrize(("name", "index"), CASES)
def test_integrated_actions_lead_through_the_poses(name, index):
    convention = CONVENTIONS[name][index]
    for seed, num_steps in enumerate(LENGTHS):
        poses = convention.poses(num_steps, seed)
        record, out = standardized(name, convention, poses, convention.choices)
        frames = out["_frame_index"]
        assert frames.tolist() == list(range(frames[0], frames[-1] + 1)), "steps must follow each other"
        assert len(frames) >= num_steps - 2
        check_action(Vector(out["action"], record.layout.action.fields, record.layout.action_mask), convention, poses, frames)
        check_proprio(Vector(out["proprio"], record.layout.proprio, record.layout.proprio_mask), convention, poses, frames)


@pytest.mark.parametrize("name", [name for name in OXE if name in CONVENTIONS])
def test_every_option_runs_and_an_episode_of_one_step_too(name):
    record, convention = OXE[name], CONVENTIONS[name][0]
    options = [{}] + [{switch.name: option} for switch in record.switches for option in switch.options]
    for choices in options:
        for num_steps in (9, 1):
            _, out = standardized(name, convention, convention.poses(num_steps, 0), choices)
            n = len(out["_frame_index"])
            assert out["action"].shape == (n, record.layout.action.width), choices
            assert out["proprio"].shape == (n, record.layout.proprio_width), choices
            assert np.isfinite(out["action"]).all(), choices
            assert np.isfinite(out["proprio"]).all(), choices
            assert n >= num_steps - 2


class Vector:
    """An action or a proprio [n, width] by field name, float64; `known(name)` says which of its dimensions are."""

    def __init__(self, values, fields, mask):
        assert values.dtype == np.float32
        self.mask = np.array(mask, bool)
        assert not values[:, ~self.mask].any(), f"unknown dimensions must hold 0: {dim_names(fields)}, {self.mask}"
        self.values, self.slices = values.astype(np.float64), field_slices(fields)
        self.left = set(self.slices)  # not compared yet

    def take(self, name):
        """Values and mask of a field, None where the vector lacks it or knows nothing of it."""
        self.left.discard(name)
        if name not in self.slices or not self.mask[self.slices[name]].any():
            return None
        return self.values[:, self.slices[name]], self.mask[self.slices[name]]

    def check(self, name, expected, atol):
        if found := self.take(name):
            np.testing.assert_allclose(found[0][:, found[1]], expected[:, found[1]], atol=atol, err_msg=name)

    def check_rest(self, part, convention, poses, frames):
        for name in sorted(self.left):
            assert f"{part}.{name}" in convention.expected, f"nothing says what {part}.{name} must be"
            self.check(name, convention.expected[f"{part}.{name}"](poses)[frames], ATOL)


def check_action(action, convention, poses, frames):
    for prefix, arm in (("", poses), ("left_", poses.left)):
        check_translation(action.take(f"{prefix}delta_pos"), arm, frames)
        check_rotation(action.take(f"{prefix}delta_rot"), arm, frames)
        action.check(f"{prefix}gripper", getattr(arm, convention.gripper)[frames, None], ATOL)
        for name in [name for name in action.left if name.startswith((f"{prefix}joint_pos_", f"{prefix}joint_delta_"))]:
            check_joints(action, name, arm, frames)
    check_in_tool_frame(action.take("tool_delta_pos"), action.take("tool_delta_rot"), poses, frames)
    action.check("terminate", convention_terminate(poses, frames), 0)
    check_base(action.take("base_delta_pos"), action.take("base_delta_yaw"), poses, frames)
    action.check_rest("action", convention, poses, frames)


def convention_terminate(poses, frames):
    """The flag of the dropped last step moves to the step before it."""
    terminate = poses.terminate[frames].astype(float)
    terminate[-1] = poses.terminate[frames[-1] :].any()
    return terminate[:, None]


def check_translation(found, arm, frames):
    if found:
        values, mask = found
        reached = arm.pos[frames[0]] + np.cumsum(values, 0)
        np.testing.assert_allclose(reached[:, mask], arm.next_pos[frames][:, mask], atol=ATOL_M)
        assert np.abs(values).max() < MAX_STEP_M


def check_rotation(found, arm, frames):
    """R_next = R(delta) R_now. Dimensions that are not known hold 0, which is no turn."""
    if not found:
        return
    values, _ = found
    now = arm.rot[int(frames[0])]
    for step, delta in zip(frames, values, strict=True):
        now = Rotation.from_euler("xyz", delta) * now
        assert (now * arm.next_rot[int(step)].inv()).magnitude() < ATOL_RAD, f"step {step}"
    assert Rotation.from_euler("xyz", values).magnitude().max() < MAX_STEP_RAD


def check_in_tool_frame(moves, turns, poses, frames):
    """p_next = p + R d, R_next = R A: each motion in the gripper's own frame at its start."""
    if not moves:
        return
    pos, now = poses.pos[frames[0]], poses.rot[int(frames[0])]
    for step, move, turn in zip(frames, moves[0], turns[0], strict=True):
        pos, now = pos + now.apply(move), now * Rotation.from_euler("xyz", turn)
        np.testing.assert_allclose(pos, poses.next_pos[step], atol=ATOL_M)
        assert (now * poses.next_rot[int(step)].inv()).magnitude() < ATOL_RAD, f"step {step}"


def check_joints(action, name, arm, frames):
    values, _ = action.take(name)
    count = int(name.rpartition("_")[2])
    reached = arm.joints(count)[frames[0]] + np.cumsum(values, 0) if "joint_delta" in name else values
    np.testing.assert_allclose(reached, arm.next_joints(count)[frames], atol=ATOL)


def check_base(moves, turns, poses, frames):
    """Displacements in the base's own frame, one after the other in SE(2)."""
    if not moves:
        return
    x, y, yaw = poses.base[frames[0]]
    turns = turns[0][:, 0] if turns else np.zeros(len(frames))
    for step, (forward, left), turn in zip(frames, moves[0], turns, strict=True):
        x, y = x + np.cos(yaw) * forward - np.sin(yaw) * left, y + np.sin(yaw) * forward + np.cos(yaw) * left
        yaw += turn
        np.testing.assert_allclose([x, y], poses.next_base[step, :2], atol=ATOL_M)
        assert abs(np.angle(np.exp(1j * (yaw - poses.next_base[step, 2])))) < ATOL_RAD


def check_proprio(proprio, convention, poses, frames):
    for prefix, arm in (("", poses), ("left_", poses.left)):
        matrix = arm.rot.as_matrix()[frames]
        proprio.check(f"{prefix}eef_pos", arm.pos[frames], ATOL_M)
        proprio.check(f"{prefix}eef_rot", np.concatenate([matrix[..., 0], matrix[..., 1]], -1), ATOL_RAD)
        opening = convention.expected.get(f"proprio.{prefix}gripper", lambda poses, arm=arm: arm.opening[:, None])
        proprio.check(f"{prefix}gripper", np.asarray(opening(poses), float)[frames], ATOL)
        for name in [name for name in proprio.left if name.startswith(f"{prefix}joint_pos_")]:
            proprio.check(name, arm.joints(int(name.rpartition("_")[2]))[frames], ATOL)
    yaw = poses.base[frames, 2]
    proprio.check("base_pos", poses.base[frames, :2], ATOL_M)
    proprio.check("base_heading", np.stack([np.cos(yaw), np.sin(yaw)], -1), ATOL_RAD)
    proprio.check_rest("proprio", convention, poses, frames)


def test_the_poses_cross_pi_and_work_the_gripper():
    poses = make_poses(LENGTHS[-1], 3)
    rpy = poses.rot.as_euler("xyz")
    assert (np.abs(np.diff(rpy, axis=0)) > np.pi).any(0).tolist() == [True, False, True]
    assert set(poses.changes) == {-1, 0, 1}
    assert np.abs(poses.delta_pos).max() < MAX_STEP_M
    assert poses.delta_rot.magnitude().max() < MAX_STEP_RAD
