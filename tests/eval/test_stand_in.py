"""A user's robot in simulation: the arm that is like it, the policy under its own name, the environment as the file says."""

import dataclasses

import numpy as np
import pytest

from rtx.errors import UserError
from rtx.eval.evaluate import evaluate
from rtx.eval.stand_in import AsRobots, Renamed, players, stand_ins
from rtx.eval.suite import Suite
from rtx.robots.sim_arms import SIM_ARMS
from tests.eval.point_robot import GoalPolicy, PointRobot, contract

MINE = dataclasses.replace(SIM_ARMS["sim_ur5e"], name="my_robot")


def known():
    """A policy of a Panda, and of a robot like the simulated UR5e under a name of its own."""
    of = contract(arms=("sim_panda", "sim_ur5e"))
    names = {"sim_panda": "sim_panda", "sim_ur5e": "my_robot"}
    parts = {part: {names[n]: v for n, v in getattr(of, part).items()} for part in ("embodiments", "layouts", "statistics")}
    parts["embodiments"]["my_robot"] = MINE
    return dataclasses.replace(of, **parts)


def test_robots_that_are_no_simulated_arms_find_theirs():
    assert stand_ins(known()) == {"sim_ur5e": "my_robot"}
    arms, names, robots = players(known(), None)
    assert (arms, names, robots) == (("sim_panda", "sim_ur5e"), {"sim_ur5e": "my_robot"}, {"sim_ur5e": MINE})
    assert players(known(), MINE)[0] == ("sim_ur5e",)
    assert players(known(), SIM_ARMS["sim_panda"]) == (("sim_panda",), {}, {"sim_panda": SIM_ARMS["sim_panda"]})


def test_a_robot_the_policy_or_the_simulator_lacks_is_refused():
    with pytest.raises(UserError, match=r"does not know 'other'.*sim_panda, my_robot"):
        players(known(), dataclasses.replace(MINE, name="other"))
    with pytest.raises(UserError, match="no simulated arm is commanded, measured and filmed as 'my_robot'"):
        players(known(), dataclasses.replace(MINE, control_hz=30.0))


def test_the_policy_is_asked_under_its_own_name_and_keeps_its_order():
    policy = Renamed(GoalPolicy(known()), {"sim_ur5e": "my_robot"})
    assert list(policy.contract.embodiments) == ["sim_panda", "sim_ur5e"]
    assert policy.contract.statistics["sim_ur5e"] == known().statistics["my_robot"]


def test_the_users_limits_bind_in_simulation(tmp_path):
    """The file's own step limit, not the simulated arm's, holds every command: the same policy gets less far."""
    slow = dataclasses.replace(MINE, limits=dataclasses.replace(MINE.limits, max_step_m=0.002))
    suite = Suite(name="points", arms=("sim_ur5e",), tasks=("go",), episodes_per_cell=2, max_seconds=8.0)
    rates = []
    for robot in (MINE, slow):
        policy = Renamed(GoalPolicy(known()), {"sim_ur5e": "my_robot"})
        found = evaluate(
            {"mine": policy}, suite, tmp_path / str(robot.limits.max_step_m), num_workers=1, video_per_cell=0,
            make_environment=AsRobots(PointRobot, {"sim_ur5e": robot}),
        )  # fmt: skip
        rates.append(found.rate("mine").successes)
    assert rates == [2, 0]


def test_the_environment_is_the_robots(tmp_path):
    env = AsRobots(PointRobot, {"sim_ur5e": MINE})("sim_ur5e")
    frame = env.reset(task="go", seed=1)
    assert env.embodiment is MINE
    assert env.instruction.startswith("go to")
    assert not env.success
    assert env.goal_distance > 0.03
    assert np.isfinite(env.step(np.zeros(7), render=False).proprio).all()
    assert frame.proprio.shape == (8,)
    assert AsRobots(PointRobot, {})("sim_panda").embodiment == SIM_ARMS["sim_panda"]
