"""A user's robot in simulation: which simulated arm stands for it, and how it is played as the user's file says.

    my_robot.py, started by `rtx robots new my_robot.py --like sim_vx300s`
        policy       knows "my_robot"      --Renamed-->     is asked for sim_vx300s, answers as my_robot
        SimEnv       sim_vx300s            --AsRobot-->     takes commands and shows its state as the user's file has them

The arm is one that is commanded, measured and filmed as the file says; what else the file says (limits, rate) counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from rtx.embodiment import Embodiment
from rtx.errors import UserError
from rtx.eval import rollout
from rtx.eval.play import Environment, MakeEnvironment
from rtx.robots.sim_arms import SIM_ARMS, arm_for
from rtx.spec import ActionChunk, Contract, Observation

T = TypeVar("T")


def stand_ins(contract: Contract) -> dict[str, str]:
    """Simulated arm -> name in the contract, of the robots that are no simulated arms by name and have one like them."""
    found: dict[str, str] = {}
    for name, robot in contract.embodiments.items():
        arm = None if name in SIM_ARMS else arm_for(robot)
        if arm is not None and arm not in contract.embodiments:
            found.setdefault(arm, name)
    return found


def players(contract: Contract, robot: Embodiment | None) -> tuple[tuple[str, ...], dict[str, str], dict[str, Embodiment]]:
    """(arms to play, arm -> name in the contract where they differ, arm -> embodiment that it is given).

    `robot`: the user's, alone; None: everybody the policy knows and the simulator has. Raises UserError as `robot_named`.
    """
    if robot is None:
        names = stand_ins(contract)
        same = tuple(name for name in contract.embodiments if name in SIM_ARMS)
        return (*same, *names), names, {arm: contract.embodiments[name] for arm, name in names.items()}
    arm, name = robot_named(contract, robot)
    return (arm,), {} if arm == name else {arm: name}, {arm: robot}


def robot_named(contract: Contract, robot: Embodiment) -> tuple[str, str]:
    """(simulated arm, name in the contract) of a user's robot. Raises UserError where the policy or the simulator has none."""
    if robot.name not in contract.embodiments:
        raise UserError(f"the policy does not know {robot.name!r}; it was trained on {', '.join(contract.embodiments)}")
    arm = robot.name if robot.name in SIM_ARMS else arm_for(robot)
    if arm is None:
        raise UserError(
            f"no simulated arm is commanded, measured and filmed as {robot.name!r} is; rtx simulates {', '.join(SIM_ARMS)}. "
            "rtx finetune has measured its open-loop error; rtx drive moves the real one"
        )
    return arm, robot.name


class Renamed:
    """A policy that is asked for simulated arms and acts as the robots they stand for."""

    def __init__(self, policy: rollout.Policy, names: Mapping[str, str]) -> None:
        """`names`: arm -> name in the policy's contract."""
        self._policy, self._names = policy, dict(names)
        of, back = policy.contract, {robot: arm for arm, robot in names.items()}

        def renamed(part: Mapping[str, T]) -> dict[str, T]:
            # An arm that the policy knows as well makes way: its name is the robot's now.
            left = set(names) - set(back)
            return {back.get(name, name): value for name, value in part.items() if name not in left}

        self.contract = dataclasses.replace(
            of, embodiments=renamed(of.embodiments), layouts=renamed(of.layouts), statistics=renamed(of.statistics)
        )

    @property
    def fingerprint(self) -> str:
        return self._policy.fingerprint

    def act_batch(self, observations: Sequence[Observation], robots: Sequence[str]) -> list[ActionChunk]:
        return self._policy.act_batch(observations, [self._names.get(robot, robot) for robot in robots])


@dataclass(frozen=True)
class AsRobots:
    """`MakeEnvironment` that gives an arm the embodiment of the robot it stands for. Travels to worker processes."""

    make: MakeEnvironment
    robots: Mapping[str, Embodiment]  # arm -> the user's

    def __call__(self, arm: str) -> Environment:
        env = self.make(arm)
        return _AsRobot(env, self.robots[arm]) if arm in self.robots else env


class _AsRobot:
    """The environment, whose commands and state are as the user's file has them."""

    def __init__(self, env: Environment, robot: Embodiment) -> None:
        self._env, self._robot = env, robot
        self.reset: Callable[..., Any] = env.reset
        self.step: Callable[..., Any] = env.step
        self.render_view: Callable[[int], np.ndarray] = env.render_view
        self.close: Callable[[], None] = env.close

    @property
    def embodiment(self) -> Embodiment:
        return self._robot

    @property
    def instruction(self) -> str:
        return self._env.instruction

    @property
    def success(self) -> bool:
        return self._env.success

    @property
    def goal_distance(self) -> float | None:
        return self._env.goal_distance
