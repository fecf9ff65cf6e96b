"""The environment as a robot: its own commands and state, the same scene for the same seed, experts that succeed. No frames."""

import numpy as np
import pytest

from rtx.errors import UserError
from rtx.eval.sim.arms import ARMS
from rtx.eval.sim.env import SimEnv
from rtx.eval.sim.expert import MAX_STEP_M, MAX_STEP_RAD, Expert
from rtx.eval.sim.tasks import TASKS
from rtx.robots.adapter import Adapter
from rtx.robots.sim_arms import SIM_ARMS

_FAST = ("sim_panda", "sim_iiwa")  # a delta arm and an absolute one
_SLOW = tuple(pytest.param(arm, marks=pytest.mark.slow) for arm in ARMS if arm not in _FAST)
_ENVS: dict[str, SimEnv] = {}


def environment(arm: str) -> SimEnv:
    return _ENVS.setdefault(arm, SimEnv(arm, image_size=64))


@pytest.fixture(params=[*_FAST, *_SLOW])
def env(request) -> SimEnv:
    return environment(request.param)


@pytest.fixture
def panda() -> SimEnv:
    return environment("sim_panda")


def act(env: SimEnv, frame, canonical) -> object:
    native = Adapter(env.embodiment).to_native(canonical, proprio_native=frame.proprio)
    return env.step(native, render=False)


def episode(env: SimEnv, task: str, seed: int, *, noise: float = 1.0) -> int:
    """Steps the expert took; the task's time at most."""
    frame = env.reset(task=task, seed=seed, render=False)
    expert = Expert(env, np.random.default_rng(seed), noise=noise)
    for step in range(round(TASKS[task].max_seconds * env.embodiment.control_hz)):
        if expert.done:
            return step
        frame = act(env, frame, expert.act())
    return step + 1


def test_every_arm_has_its_parts():
    assert set(ARMS) == set(SIM_ARMS)
    for arm in ARMS.values():
        low, high = np.array(arm.embodiment.limits.workspace_low_m), np.array(arm.embodiment.limits.workspace_high_m)
        middle = np.array([arm.center_x_m, 0.0, arm.table_z_m])
        assert np.all(low < middle + np.array([-0.2, -0.25, arm.grasp_height_m]))
        assert np.all(high > middle + np.array([0.2, 0.25, arm.home_height_m + 0.1]))
    assert len({arm.primary for arm in ARMS.values()}) == len(ARMS)  # no two see alike


def test_the_state_is_native_and_says_where_the_hand_is(env):
    frame = env.reset(task="reach", seed=0, render=False)
    assert frame.images == {}
    assert frame.proprio.shape == (sum(field.width for field in env.embodiment.proprio),)
    canonical = Adapter(env.embodiment).proprio(frame.proprio)
    np.testing.assert_allclose(canonical[:3], frame.eef_pos, atol=1e-6)
    np.testing.assert_allclose(canonical[3:9], np.concatenate([frame.eef_rot[:, 0], frame.eef_rot[:, 1]]), atol=1e-6)
    assert canonical[9] > 0.9  # open


def test_a_native_command_does_what_it_says(env):
    """4 cm along each axis and a turn, by way of the arm's own units, frame and form; from rest, and given time to arrive."""
    frame = env.reset(task="lift", seed=3, render=False)
    for step in np.vstack([0.04 * np.eye(3), -0.04 * np.eye(3)]):
        start, rotation = frame.eef_pos, frame.eef_rot
        frame = act(env, frame, [*step, 0, 0, 0, 1, 0])
        np.testing.assert_allclose(frame.eef_pos - start, step, atol=0.012)
        np.testing.assert_allclose(frame.eef_rot, rotation, atol=0.03)
        for _ in range(2):
            frame = act(env, frame, [0, 0, 0, 0, 0, 0, 1, 0])
    before = frame.eef_rot
    frame = act(env, frame, [0, 0, 0, 0, 0, 0.2, 1, 0])
    turned = frame.eef_rot @ before.T
    assert np.arctan2(turned[1, 0], turned[0, 0]) == pytest.approx(0.2, abs=0.05)


def test_the_gripper_obeys_its_own_polarity(env):
    frame = env.reset(task="lift", seed=0, render=False)
    for _ in range(3):
        frame = act(env, frame, [0, 0, 0, 0, 0, 0, 0, 0])
    assert frame.opening < 0.1
    for _ in range(3):
        frame = act(env, frame, [0, 0, 0, 0, 0, 0, 1, 0])
    assert frame.opening > 0.9


def test_a_wild_command_is_held_by_the_robots_own_limits(env):
    frame = env.reset(task="reach", seed=1, render=False)
    limits = env.embodiment.limits
    for _ in range(8):
        before = frame.eef_pos
        frame = act(env, frame, [3.0, -3.0, -3.0, 1.0, 1.0, 1.0, 7.0, 0])
        assert np.linalg.norm(frame.eef_pos - before) < 1.3 * limits.max_step_m
        assert np.all(np.isfinite(frame.proprio))
        assert np.all(frame.eef_pos > np.array(limits.workspace_low_m) - 0.02)
        assert np.all(frame.eef_pos < np.array(limits.workspace_high_m) + 0.02)


def test_the_same_seed_is_the_same_episode_bit_for_bit(env):
    def play():
        frames = [env.reset(task="push", seed=11, render=False)]
        expert = Expert(env, np.random.default_rng(0))
        for _ in range(5):
            frames.append(act(env, frames[-1], expert.act()))
        return env.instruction, [frame.proprio.tobytes() for frame in frames], env.state.cube.tobytes()

    first = play()
    episode(env, "lift", 4)
    assert play() == first


def test_two_environments_agree(panda):
    other = SimEnv("sim_panda", image_size=32)
    for env in (panda, other):
        env.reset(task="lift", seed=5, render=False)
    assert other.instruction == panda.instruction
    np.testing.assert_array_equal(other.state.cube, panda.state.cube)
    assert panda.reset(task="lift", seed=6, render=False).proprio.tobytes() != other._proprio().tobytes()


def test_success_is_remembered_and_forgotten_by_a_reset(panda):
    assert episode(panda, "reach", 2) < 20
    assert panda.success
    frame = act(panda, panda._frame(render=False), [0, 0, 0.06, 0, 0, 0, 1, 0])
    for _ in range(2):
        frame = act(panda, frame, [0, 0, 0.06, 0, 0, 0, 1, 0])
    assert panda.goal_distance > 0
    assert panda.success
    panda.reset(task="reach", seed=3, render=False)
    assert not panda.success


@pytest.mark.parametrize("task", [task for task in TASKS if TASKS[task].scenes == task])
@pytest.mark.parametrize("arm", _FAST)
def test_the_expert_succeeds_though_disturbed(arm, task):
    env = environment(arm)
    lengths = []
    for seed in range(3):
        lengths.append(episode(env, task, seed))
        assert env.success, seed
    assert max(lengths) < 0.75 * TASKS[task].max_seconds * env.embodiment.control_hz


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("arm", ARMS)
def test_the_expert_succeeds_19_times_of_20(arm, task):
    env = environment(arm)
    failed = [seed for seed in range(20) if not (episode(env, task, seed), env.success)[1]]
    assert len(failed) <= 1, failed


def test_the_expert_keeps_within_its_own_steps(panda):
    for task in TASKS:
        frame = panda.reset(task=task, seed=8, render=False)
        expert = Expert(panda, np.random.default_rng(1))
        for _ in range(10):
            action = expert.act()
            assert action.dtype == np.float32
            assert np.linalg.norm(action[:3]) <= MAX_STEP_M + 1e-6
            assert np.linalg.norm(action[3:6]) <= MAX_STEP_RAD + 1e-6
            assert action[6] in (0.0, 1.0)
            frame = act(panda, frame, action)


def test_the_expert_decides_by_what_is_there_and_not_by_a_clock(panda):
    """Two experts, one of which saw the whole episode, want the same."""
    frame = panda.reset(task="push", seed=9, render=False)
    old = Expert(panda, np.random.default_rng(1), noise=0.0)
    for _ in range(9):
        np.testing.assert_array_equal(old.act(), Expert(panda, np.random.default_rng(2), noise=0.0).act())
        frame = act(panda, frame, old.act())


def test_a_disturbance_moves_the_arm_and_not_the_action(panda):
    def after(noise):
        frame = panda.reset(task="reach", seed=4, render=False)
        action = Expert(panda, np.random.default_rng(3), noise=noise).act()
        return action, act(panda, frame, action).eef_pos

    (calm, there), (shaken, elsewhere) = after(0.0), after(1.0)
    np.testing.assert_array_equal(calm, shaken)
    assert 0.002 < np.linalg.norm(there - elsewhere) < 0.06


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (lambda: SimEnv("sim_pander"), "did you mean 'sim_panda'"),
        (lambda: SimEnv("sim_panda", image_size=4), "image_size 4 must be between"),
        (lambda: environment("sim_panda").reset(task="reech", seed=0), "did you mean 'reach'"),
        (lambda: environment("sim_panda").step(np.zeros(6)), r"got shape \[6\], expected \[..., 7\]"),
        (lambda: environment("sim_panda").step(np.array([np.nan, 0, 0, 0, 0, 0, 1])), "non-finite"),
        (lambda: SimEnv("sim_panda").instruction, "call reset"),
    ],
)
def test_mistakes_are_named(what, says):
    environment("sim_panda").reset(task="reach", seed=0, render=False)
    with pytest.raises(UserError, match=says):
        what()
