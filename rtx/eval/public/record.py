"""A suite's expert recorded as RLDS: what `rtx data prepare <arm>` and training read.

    replayed through rtx, with pictures --successful episodes--> `rtx.data.foreign`: staged one by one, written in a process of
                                                                 its own (TensorFlow and software OpenGL crash each other)

Episodes whose expert fails are thrown away and the next seed is taken. Restartable: what is staged is kept.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtx.data.foreign import Foreign, Recording, write_foreign
from rtx.data.public import image_key
from rtx.data.write import ImageFeature, TensorFeature
from rtx.embodiment import Embodiment
from rtx.errors import UserError, WorldError
from rtx.eval.play import Frame
from rtx.eval.public.environment import PublicEnvironment, build
from rtx.eval.public.replay import play_expert
from rtx.eval.public.suite import PublicSuite
from rtx.eval.seeds import seed_for
from rtx.images import encode_jpeg
from rtx.robots.public_arms import PUBLIC_ARMS

_QUALITY, _MAX_ATTEMPTS, _VAL_SHARE = 95, 20, 0.1


def record_public(suite: PublicSuite, out: Path, *, tasks: Sequence[str] = (), episodes: int = 10, seed: int = 0) -> Path:
    """Writes `episodes` successful demonstrations of each task as `out/<arm>/1.0.0`, a tenth of them (at least one) held out.

    Raises UserError for a task without an expert and for an arm that is a real data set's, WorldError where the expert fails
    too often.
    """
    arm, tasks = suite.arm, suite.replayable(tasks)
    if arm not in PUBLIC_ARMS:
        raise UserError(f"demonstrations of {arm!r} are those of the real data set of this name; record another suite")
    if episodes * len(tasks) < 2:
        raise UserError(f"{episodes} episodes of {len(tasks)} tasks: expected at least 2 (train, val)")
    jobs = [(task, index) for index in range(episodes) for task in tasks]
    num_val = max(1, round(_VAL_SHARE * len(jobs)))
    numbers = tuple(range(len(jobs)))
    robot, _ = PUBLIC_ARMS[arm]
    recorder = _Recorder(suite, jobs, seed)
    foreign = Foreign(
        name=arm, root=out, source=f"the expert of {suite.title}",
        identity=json.dumps([suite.name, tasks, episodes, seed, suite.look]),
        paths={
            "action": ("action",), "state": ("observation", "state"),
            **{role: tuple(image_key(role).split("/")) for role in robot.roles},
        },
        splits={"train": numbers[:-num_val], "val": numbers[-num_val:]}, read=recorder.read,
        features=functools.partial(_features, robot),
    )  # fmt: skip
    try:
        return write_foreign(foreign, out, num_threads=1)  # one: an OpenGL context belongs to its thread
    finally:
        recorder.close()


class _Recorder:
    """Plays demonstrations when they are asked for, in the one thread that asks."""

    def __init__(self, suite: PublicSuite, jobs: Sequence[tuple[str, int]], seed: int) -> None:
        self._suite, self._jobs, self._seed = suite, jobs, seed
        self._env: PublicEnvironment | None = None

    def read(self, number: int) -> Recording:
        if self._env is None:
            self._env = build(self._suite)
        task, index = self._jobs[number]
        for attempt in range(_MAX_ATTEMPTS):
            seed = seed_for("record", self._suite.name, self._suite.arm, task, index, self._seed, attempt)
            if (recording := self._recorded(self._env, task, seed)) is not None:
                return recording
        raise WorldError(f"suite {self._suite.name!r}: the expert failed {_MAX_ATTEMPTS} times in a row at {task}")

    def close(self) -> None:
        if self._env is not None:
            self._env.close()

    def _recorded(self, env: PublicEnvironment, task: str, seed: int) -> Recording | None:
        frames: list[Frame] = []
        actions: list[np.ndarray] = []

        def keep(frame: Frame, native: np.ndarray) -> None:
            frames.append(frame)
            actions.append(native)

        if not play_expert(env, task, seed, through_rtx=False, on_step=keep).success:
            return None
        roles = env.embodiment.roles
        return Recording(
            columns={
                "action": np.array(actions, np.float32), "state": np.array([frame.proprio for frame in frames], np.float32),
            },
            pictures={
                role: tuple(encode_jpeg(np.ascontiguousarray(frame.images[role]), _QUALITY) for frame in frames)
                for role in roles
            },
            texts={}, instructions=(env.instruction,) * len(frames), ended=True,
        )  # fmt: skip


def _features(robot: Embodiment, first: Recording | None) -> dict[str, Any]:
    """Of the steps: known before anything is recorded."""
    del first
    observation: dict[str, Any] = {"state": TensorFeature(shape=(sum(field.width for field in robot.proprio),))}
    for camera in robot.cameras:
        height, width = camera.resolution
        observation[camera.role] = ImageFeature(height=height, width=width)
    return {"action": TensorFeature(shape=(robot.action.width,)), "observation": observation}
