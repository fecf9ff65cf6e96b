"""A point that goes exactly where it is told: a cheap environment for the rollout's own logic, and policies that suit it.

The instruction names the goal ("go to 0.40 0.10 0.20"), so that a policy can solve it without looking. Behaviour that a test
wants from an arm (dying, raising) is chosen by the task's name, since environments are built in another process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from rtx.embodiment import CANONICAL
from rtx.errors import UserError
from rtx.robots.adapter import Adapter
from rtx.robots.sim_arms import SIM_ARMS
from rtx.spec import ActionChunk, Contract, FieldStatistics, Observation, Statistics

ARMS = ("sim_panda", "sim_kinova3", "sim_ur5e")


class PointRobot:
    """Success within 3 cm of the goal. Tasks: "go"; "slow" (20 ms a step); "die", "die_once", "raise", "advise"."""

    def __init__(self, arm: str) -> None:
        self.embodiment = SIM_ARMS[arm]
        self.adapter = Adapter(self.embodiment)
        self.instruction, self.renders = "", 0
        self.position = self.goal = np.zeros(3)

    @property
    def success(self) -> bool:
        return bool(np.linalg.norm(self.goal - self.position) < 0.03)

    @property
    def goal_distance(self) -> float:
        return float(np.linalg.norm(self.goal - self.position))

    def reset(self, *, task: str, seed: int):
        rng = np.random.default_rng(seed)
        low, high = np.array(self.embodiment.limits.workspace_low_m), np.array(self.embodiment.limits.workspace_high_m)
        self.task, self.steps = task, 0
        self.position = rng.uniform(low + 0.05, low + 0.15)
        self.goal = np.round(rng.uniform(high - 0.15, high - 0.05), 3)
        self.instruction = "go to " + " ".join(f"{x:.3f}" for x in self.goal)
        return self._frame(render=True)

    def step(self, native_action: np.ndarray, *, render: bool = True):
        self.steps += 1
        canonical = self.adapter.to_canonical(native_action, proprio_native=self._proprio())
        self.position = self.position + canonical[:3]
        self._misbehave()
        return self._frame(render=render)

    def render_view(self, size: int) -> np.ndarray:
        return np.full((size, size, 3), min(255, 60 + 5 * self.steps), np.uint8)

    def close(self) -> None:
        pass

    def _misbehave(self) -> None:
        if self.task == "slow":
            time.sleep(0.02)
        if self.task == "raise":
            raise ZeroDivisionError("a defect")
        if self.task == "advise":
            raise UserError("install the driver")
        if self.task == "die" or (self.task == "die_once" and _first_time()):
            os._exit(3)

    def _proprio(self) -> np.ndarray:
        """Upright, gripper open, in this robot's own form."""
        parts = []
        for field in self.embodiment.proprio:
            if field.name == "eef_pos":
                parts.append(self.position)
            elif field.name == "gripper":
                parts.append([field.opened])
            else:
                parts.append({"quat_xyzw": [0, 0, 0, 1], "quat_wxyz": [1, 0, 0, 0]}.get(field.rotation, [0, 0, 0]))
        return np.concatenate(parts).astype(np.float64)

    def _frame(self, *, render: bool):
        self.renders += render
        shade = np.clip(255 * self.position, 0, 255).astype(np.uint8)
        image = np.broadcast_to(shade, (16, 16, 3)).copy()
        return SimpleNamespace(images={"primary": image, "wrist": image} if render else {}, proprio=self._proprio())


def _first_time() -> bool:
    marker = Path(os.environ["POINT_ROBOT_MARKER"])
    first = not marker.exists()
    marker.touch()
    return first


def contract(*, history: int = 1, chunk: int = 4, arms: Sequence[str] = ARMS) -> Contract:
    def field(low: list[float], high: list[float]) -> FieldStatistics:
        zeros = tuple(0.0 for _ in low)
        return FieldStatistics(mean=zeros, std=zeros, min=tuple(low), max=tuple(high), q01=tuple(low), q99=tuple(high), count=9)

    action = field([-0.05] * 3 + [-0.2] * 3 + [0.0, 0.0], [0.05] * 3 + [0.2] * 3 + [1.0, 1.0])
    statistics = Statistics(action=action, proprio=field([-1.0] * 10, [1.0] * 10), num_episodes=3, source="test")
    return Contract(
        roles=("primary", "wrist"),
        image_size=(16, 16),
        history=history,
        chunk=chunk,
        embodiments={arm: SIM_ARMS[arm] for arm in arms},
        layouts=dict.fromkeys(arms, CANONICAL),
        statistics=dict.fromkeys(arms, statistics),
    )


class GoalPolicy:
    """Reads the goal off the instruction and goes there, `speed` of the way per action (at most 5 cm)."""

    def __init__(self, contract: Contract, *, speed: float = 1.0) -> None:
        self.contract, self.speed = contract, speed
        self.fingerprint = f"goal-{speed}-{contract.fingerprint()}"
        self.batches: list[int] = []
        self.seen: list[Observation] = []

    def act_batch(self, observations: Sequence[Observation], robots: Sequence[str]) -> list[ActionChunk]:
        self.batches.append(len(observations))
        self.seen += observations
        return [self._act(observation, robot) for observation, robot in zip(observations, robots, strict=True)]

    def _act(self, observation: Observation, robot: str) -> ActionChunk:
        space, hz = self.contract.action, self.contract.embodiments[robot].control_hz
        here = observation.proprio[-1, :3]
        goal = np.array([float(word) for word in observation.instruction.split()[2:]])
        actions = np.zeros((self.contract.chunk, space.width), np.float32)
        for action in actions:
            way = goal - here
            action[:3] = self.speed * way * min(1, 0.05 / max(np.linalg.norm(way), 1e-9))
            here = here + action[:3]
        normal = self.contract.action_normalizer(robot)
        return ActionChunk(
            actions=normal.inverse(normal.forward(actions)),
            names=space.dim_names,
            control_hz=hz,
            stamp_ns=observation.stamp_ns,
            valid_until_ns=observation.stamp_ns + round(self.contract.chunk * 1e9 / hz),
        )
