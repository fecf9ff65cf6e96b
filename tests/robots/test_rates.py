"""Actions at another rate do the same: composed over a period they are the old ones, whatever the two rates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from rtx.data.oxe.layouts import ARM_AND_BASE, TOOL_DELTA_POS, TOOL_DELTA_ROT
from rtx.data.resample import resample as resample_data
from rtx.embodiment import CANONICAL_ARM, ActionField, ActionSpace, Layout
from rtx.errors import UserError
from rtx.robots import fields
from rtx.robots.mobile_base import then
from rtx.robots.rates import resample, resample_chunk
from rtx.spec import ActionChunk

ARM = CANONICAL_ARM
BASE = ARM_AND_BASE.action
TOOL = ActionSpace(fields=(TOOL_DELTA_POS, TOOL_DELTA_ROT, *ARM.fields[2:]))
JOINTS = ActionSpace(fields=(fields.joint_delta(3), fields.gripper(closed=0, opened=1)))
TARGETS = ActionSpace(fields=(fields.joint_pos(3), fields.abs_pos(), fields.abs_rot("quat_wxyz")))
SPEEDS = ActionSpace(
    fields=(
        ActionField(name="joint_vel_3", width=3, kind="joint_vel", unit="deg/s", frame="joint"),
        ActionField(name="base_vel", width=2, kind="base_vel", unit="m/s", frame="base"),
        ActionField(name="base_turn_vel", width=1, kind="base_vel", unit="rad/s", frame="base"),
    )
)
RATES = [(5, 20), (5, 250), (3, 10), (10, 4), (20, 5), (50, 15), (15, 15)]


def chunk_of(space, count, seed):
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-0.4, 0.4, [count, space.width])
    for field in space.fields:
        if field.kind in ("gripper", "terminate"):
            actions[:, space.slices[field.name]] = rng.integers(0, 2, [count, 1])
    return actions


def part(actions, space, name):
    return actions[:, space.slices[name]]


def walked(actions, space):
    """Where each action leads, by scipy and one step after the other: place, orientation, base, joints."""
    states = []
    place, turn, base, joints = np.zeros(3), Rotation.identity(), np.zeros(3), np.zeros(3)
    for action in actions:
        values = {field.kind: (field, action[space.slices[field.name]]) for field in space.fields}
        if "delta_rot" in values:
            step = Rotation.from_euler("xyz", values["delta_rot"][1])
            field, move = values["delta_pos"]
            place = place + (turn.apply(move) if field.frame == "tool" else move)
            turn = turn * step if field.frame == "tool" else step * turn
        if "base_delta_pos" in values:
            base = then(base, np.concatenate([values["base_delta_pos"][1], values["base_delta_rot"][1]]))
        if "joint_delta" in values:
            joints = joints + values["joint_delta"][1]
        states.append(np.concatenate([place, turn.as_matrix().ravel(), base, joints]))
    return np.array(states)


@pytest.mark.parametrize("way", ["linear", "cubic"])
@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
@pytest.mark.parametrize("space", [ARM, BASE, TOOL, JOINTS], ids=["arm", "base", "tool", "joints"])
def test_whenever_both_rates_have_a_moment_the_robot_is_at_the_same_place(space, from_hz, to_hz, way):
    count = 20
    old = chunk_of(space, count, seed=from_hz + to_hz)
    new = resample(old, space, from_hz=float(from_hz), to_hz=float(to_hz), way=way)
    assert len(new) == -(-count * to_hz // from_hz)
    slow, fast, common = walked(old, space), walked(new, space), np.gcd(from_hz, to_hz)
    np.testing.assert_allclose(fast[-1], slow[-1], atol=1e-12)  # at the end, full periods or not
    common_slow, common_fast = slow[from_hz // common - 1 :: from_hz // common], fast[to_hz // common - 1 :: to_hz // common]
    assert len(common_slow) >= 2
    np.testing.assert_allclose(common_fast[: len(common_slow)], common_slow[: len(common_fast)], atol=1e-12)


@settings(max_examples=25)
@given(st.integers(2, 9), st.integers(1, 6), st.integers(0, 10**6), st.sampled_from(["linear", "cubic"]))
@pytest.mark.parametrize("space", [ARM, BASE, TOOL, JOINTS, SPEEDS], ids=["arm", "base", "tool", "joints", "speeds"])
def test_faster_and_back_is_what_it_was(space, times, count, seed, way):
    old = chunk_of(space, count, seed)
    fast = resample(old, space, from_hz=5.0, to_hz=5.0 * times, way=way)
    np.testing.assert_allclose(resample(fast, space, from_hz=5.0 * times, to_hz=5.0, way=way), old, atol=1e-9)


@pytest.mark.parametrize("layout", [Layout(), ARM_AND_BASE, Layout(action=TOOL)], ids=["arm", "base", "tool"])
def test_slower_is_what_data_sets_are_made_slower_by(layout):
    """A policy trained on every third step and one that skips at the robot mean the same."""
    actions = chunk_of(layout.action, 8, seed=4)
    slow = resample_data({"action": actions}, layout, 3)["action"]
    np.testing.assert_allclose(resample(actions, layout.action, from_hz=30.0, to_hz=10.0), slow, atol=1e-6)


def test_one_action_at_four_times_the_rate_by_hand():
    action = [[0.08, 0, -0.04, 0, 0, 0.4, 1, 1]]
    fast = resample(action, ARM, from_hz=5.0, to_hz=20.0)
    quarter = [0.02, 0, -0.01, 0, 0, 0.1, 1]
    np.testing.assert_allclose(fast, [[*quarter, 0], [*quarter, 0], [*quarter, 0], [*quarter, 1]], atol=1e-15)


def test_turns_go_evenly_about_one_axis():
    turn = Rotation.from_rotvec([0.3, -0.6, 0.2])
    action = np.concatenate([np.zeros(3), turn.as_euler("xyz"), [1, 0]])[None]
    fast = resample(action, ARM, from_hz=5.0, to_hz=250.0)
    angles = Rotation.from_euler("xyz", fast[:, 3:6]).magnitude()
    np.testing.assert_allclose(angles, turn.magnitude() / 50, atol=1e-12)
    np.testing.assert_allclose(Rotation.from_euler("xyz", fast[0, 3:6]).as_rotvec() * 50, turn.as_rotvec(), atol=1e-12)


def test_targets_go_straight_and_by_slerp_from_where_it_is():
    rng = np.random.default_rng(3)
    turns = Rotation.random(4, random_state=5)
    points = np.concatenate([rng.uniform(-1, 1, [4, 6]), turns.as_quat(scalar_first=True)], -1)
    fast = resample(points[1:], TARGETS, from_hz=5.0, to_hz=20.0, start=points[0])
    moments = np.arange(1, 13) / 4
    straight = np.stack([np.interp(moments, np.arange(4), points[:, i]) for i in range(6)], -1)
    np.testing.assert_allclose(fast[:, :6], straight, atol=1e-12)
    expected = Slerp(np.arange(4), turns)(moments)
    np.testing.assert_allclose(Rotation.from_quat(fast[:, 6:], scalar_first=True).as_matrix(), expected.as_matrix(), atol=1e-12)
    slow = resample(fast, TARGETS, from_hz=20.0, to_hz=5.0, start=points[0])
    np.testing.assert_allclose(slow[:, :6], points[1:, :6], atol=1e-12)


def test_a_cubic_path_has_no_corners_and_a_straight_one_has():
    points = np.array([[0.0], [1.0], [1.0], [0.0], [2.0]])
    space = ActionSpace(fields=(fields.joint_pos(1),))
    corners = {}
    for way in ("linear", "cubic"):
        fine = resample(points[1:], space, from_hz=1.0, to_hz=1000.0, start=points[0], way=way)[:, 0]
        np.testing.assert_allclose(fine[999::1000], points[1:, 0], atol=1e-12)
        corners[way] = np.max(np.abs(np.diff(fine, n=2)))
    assert corners["linear"] > 1e-3  # velocity jumps at once
    assert corners["cubic"] < 2e-5  # at most 11.5 / s^2: of the curve, 1e-6 times that a sample


def test_gripper_and_terminate_by_hand():
    space = ActionSpace(fields=ARM.fields[2:])
    old = [[1, 0], [0, 0], [0, 1], [1, 0]]
    np.testing.assert_array_equal(
        resample(old, space, from_hz=2.0, to_hz=3.0), [[1, 0], [0, 0], [0, 0], [0, 0], [1, 1], [1, 0]]
    )
    np.testing.assert_array_equal(resample(old, space, from_hz=4.0, to_hz=2.0), [[0, 0], [1, 1]])


def test_a_chunk_keeps_its_age():
    old = chunk_of(ARM, 4, seed=1).astype(np.float32)
    chunk = ActionChunk(actions=old, names=ARM.dim_names, control_hz=5.0, stamp_ns=7, valid_until_ns=9)
    fast = resample_chunk(chunk, ARM, 20.0)
    assert (fast.control_hz, fast.stamp_ns, fast.valid_until_ns, fast.actions.shape) == (20.0, 7, 9, (16, 8))
    assert fast.actions.dtype == np.float32
    with pytest.raises(UserError, match="are not those of the action space"):
        resample_chunk(chunk, JOINTS, 20.0)


@pytest.mark.parametrize(
    ("space", "changes", "message"),
    [
        (ARM, {"to_hz": 0.0}, "rate 0.0 Hz must be positive"),
        (ARM, {"from_hz": float("nan")}, "rate nan Hz"),
        (TARGETS, {}, "joint_pos_3, abs_pos, abs_rot: absolute targets need a start"),
        (TARGETS, {"start": np.zeros(3)}, r"start has shape \[3\], expected \[10\]"),
        (ActionSpace(fields=(TOOL_DELTA_POS, ARM.fields[1])), {}, "'tool_delta_pos' is in the gripper's frame"),
        (ARM, {"actions": np.zeros((0, 8))}, "expected .k, 8."),
    ],
)
def test_what_cannot_be_resampled(space, changes, message):
    settings = {"actions": np.zeros((2, space.width)), "from_hz": 5.0, "to_hz": 20.0} | changes
    with pytest.raises(UserError, match=message):
        resample(settings.pop("actions"), space, **settings)
