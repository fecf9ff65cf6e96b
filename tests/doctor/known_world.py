"""A reaching robot whose right answers are a known function of pictures, state and chunk, and recordings of it.

    primary   a red disc where the goal is, seen from above        wrist   a blue disc where the goal is, seen from the hand
    answer    half of the way to the goal a step; open until near; up while the measured gripper is closed

So each camera, its colours, its scale, the state, its gripper and its age decide the answer, as they should.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from rtx.doctor.recording import Recorded
from rtx.embodiment import CANONICAL
from rtx.images import encode_png
from rtx.robots import rotations
from rtx.robots.sim_arms import SIM_ARMS
from rtx.spec import Contract, FieldStatistics, Statistics

SIDE = 20
REACH = 0.3  # m to either side: where discs are at the edge of a picture
CENTER = np.array([0.5, 0.0, 0.2])
_BLUE = 2
_STEPS = 7


def statistics(low, high) -> FieldStatistics:
    low, high = np.asarray(low, float), np.asarray(high, float)
    mean, std = (low + high) / 2, (high - low) / 4
    return FieldStatistics(
        mean=tuple(mean), std=tuple(std), min=tuple(low), max=tuple(high), q01=tuple(low), q99=tuple(high), count=1000
    )


def contract() -> Contract:
    """The robot as `sim_panda`, and `sim_sawyer` with steps of half the size in another place."""
    state = [*(CENTER - 0.35), *([-1.01] * 6), 0], [*(CENTER + 0.35), *([1.01] * 6), 1]
    moved = [*(CENTER - 0.65), *([-1.01] * 6), 0], [*(CENTER + 0.25), *([1.01] * 6), 1]
    sizes = {"sim_panda": (0.2, 0.35), "sim_sawyer": (0.1, 0.2)}
    places = {"sim_panda": state, "sim_sawyer": moved}
    return Contract(
        roles=("primary", "wrist"), image_size=(SIDE, SIDE), history=1, chunk=3,
        embodiments={name: SIM_ARMS[name] for name in sizes},
        layouts=dict.fromkeys(sizes, CANONICAL),
        statistics={
            name: Statistics(
                action=statistics([-move] * 3 + [-turn] * 3 + [0, 0], [move] * 3 + [turn] * 3 + [1, 1]),
                proprio=statistics(*places[name]), num_episodes=9, source="a test",
            )
            for name, (move, turn) in sizes.items()
        },
    )  # fmt: skip


def recording(seed: int = 0, *, num_episodes: int = 16) -> list[Recorded]:
    rng = np.random.default_rng(seed)
    return [episode(rng, number) for number in range(num_episodes)]


def episode(rng: np.random.Generator, number: int = 0) -> Recorded:
    goal, p = CENTER + rng.uniform(-0.25, 0.25, 3), CENTER + rng.uniform(-0.2, 0.2, 3)
    yaw, opening = rng.uniform(-1, 1), 1.0
    states, actions, pictures = [], [], {"primary": [], "wrist": []}
    for _ in range(_STEPS):
        down = rotations.to_matrix(np.array([np.pi, 0, yaw]), "rpy")
        states.append(np.concatenate([p, rotations.from_matrix(down, "rot6d"), [opening]]))
        pictures["primary"].append(encode_png(disc((goal - CENTER)[:2], 0, rng)))
        pictures["wrist"].append(encode_png(disc((goal - p)[[0, 2]], _BLUE, rng)))
        action = steps(goal, p, yaw, opening, count=1)[0] + rng.normal(0, [0.002] * 3 + [0.004] * 3 + [0.0] * 2)
        actions.append(action)
        p, yaw, opening = p + action[:3], yaw + action[5], float(opening > 0.5 and action[6] > 0.5)
    return Recorded(
        name=f"train {number}", split="train", layout=CANONICAL, control_hz=5.0,
        encoded={role: tuple(made) for role, made in pictures.items()}, channel_order=dict.fromkeys(pictures, "rgb"),
        proprio=np.array(states, np.float32), action=np.array(actions, np.float32),
        instructions=("reach the disc",) * _STEPS, stamp_ns=np.arange(_STEPS, dtype=np.int64) * 200_000_000,
    )  # fmt: skip


def disc(place: np.ndarray, channel: int, rng: np.random.Generator) -> np.ndarray:
    """A disc of one colour on grey noise; `place` in metres from the middle, right and down."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    near = np.hypot(x - place[0] / REACH, y - place[1] / REACH) < 0.2
    picture = rng.integers(70, 90, (SIDE, SIDE, 1)).repeat(3, 2).astype(np.uint8)
    picture[near, channel] = 230
    return picture


def found(picture: np.ndarray, channel: int) -> np.ndarray:
    """Inverse of `disc`; the middle where there is none."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    image = picture.astype(float)
    weight = np.maximum(image[..., channel] - image[..., 2 - channel] - 30, 0)
    total = weight.sum()
    return np.array([(x * weight).sum(), (y * weight).sum()]) / total * REACH if total > 0 else np.zeros(2)


def steps(goal, p, yaw, opening, *, count: int) -> np.ndarray:
    """The next `count` actions: half of the way each."""
    rows = []
    for _ in range(count):
        near = np.linalg.norm(goal - p) < 0.1
        move = 0.5 * (goal - p) + np.array([0, 0, 0.06 * (opening < 0.5)])
        rows.append([*move, 0, 0, -0.3 * yaw, 0.0 if near else 1.0, 0])
        p, yaw = p + move, 0.7 * yaw
    return np.array(rows)


class Known:
    """Answers rightly as long as it is shown what the recording shows; `served` is the contract it is served under."""

    def __init__(self, served: Contract | None = None, robot: str = "sim_panda") -> None:
        self._trained, self._served, self._robot = contract(), served or contract(), robot
        self.asked = 0

    def ask(self, observations):
        self.asked += len(observations)
        return np.stack([self._answer(seen) for seen in observations]).astype(np.float32)

    def _answer(self, seen):
        wrong, right = self._served, self._trained
        state = right.proprio_normalizer("sim_panda").inverse(wrong.proprio_normalizer(self._robot).forward(seen.proprio[-1]))
        p = state[:3].astype(float)
        yaw = rotations.from_matrix(rotations.to_matrix(state[3:9].astype(float), "rot6d"), "rpy")[2]
        above, ahead = found(seen.images["primary"][-1], 0), found(seen.images["wrist"][-1], _BLUE)
        goal = np.array([(CENTER[0] + above[0] + p[0] + ahead[0]) / 2, CENTER[1] + above[1], p[2] + ahead[1]])
        physical = steps(goal, p, float(yaw), float(state[9]), count=3)
        model = right.action_normalizer("sim_panda").forward(physical)
        return wrong.action_normalizer(self._robot).inverse(model)


def without_stamps(episodes):
    return [dataclasses.replace(episode, stamp_ns=None) for episode in episodes]
