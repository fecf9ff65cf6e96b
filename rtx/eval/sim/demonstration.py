"""One demonstration: the scripted expert moves an arm, every frame and every command it sent is kept.

    frame 0 --expert--> frame 1 --expert--> ... frame k (done) --hold--> frame k+1 --hold, terminate--|

What is kept is the robot's own: native proprio and the exact native command (rounded to float32 before it is sent).
A demonstration ends with `HOLD_STEPS` commands that stand still with the gripper as it was, so that a policy learns to stop;
the last of them terminates. A staged file is one demonstration, whole or absent (`save`, `load`).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rtx.data.write import RldsEpisode
from rtx.errors import WorldError
from rtx.eval.seeds import seed_for
from rtx.eval.sim.conventions import StepFlags, encode_frame, raw_step
from rtx.files import atomic
from rtx.robots.adapter import Adapter

if TYPE_CHECKING:
    from rtx.eval.sim.env import SimEnv, SimFrame

HOLD_STEPS = 2
MAX_ATTEMPTS = 10  # experts succeed at 95 % or more: ten failures in a row are a defect, not bad luck


@dataclass(frozen=True, kw_only=True)
class Job:
    """Which demonstration: the `index`-th of `arm`, showing `task`. Its scene follows from these and `seed` alone."""

    arm: str
    task: str
    index: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.index:06d}_{self.task}"


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """`T` steps of one arm. `images[role]` are encoded as the set stores them; `action[t]` was sent at frame `t`."""

    arm: str
    task: str
    index: int
    instruction: str
    num_failed: int  # attempts with other seeds that did not succeed and were thrown away
    images: Mapping[str, tuple[bytes, ...]]
    proprio: np.ndarray  # float64 [T, p] native
    action: np.ndarray  # float32 [T, a] native
    canonical: np.ndarray  # float32 [T, 8] what the expert asked for, before this arm's own form

    def __len__(self) -> int:
        return len(self.action)

    def rlds(self) -> RldsEpisode:
        """The same steps under the arm's own RLDS keys."""
        last = len(self) - 1
        steps = [
            raw_step(
                self.arm,
                images={role: encoded[t] for role, encoded in self.images.items()},
                proprio=self.proprio[t],
                action=self.action[t],
                instruction=self.instruction,
                flags=StepFlags(is_first=t == 0, is_last=t == last, terminate=t == last, reward=float(t == last)),
            )
            for t in range(len(self))
        ]
        metadata = {"file_path": f"{self.arm}/{self.task}/{self.index:06d}", "episode_id": self.index}
        return RldsEpisode(key=f"{self.index:06d}", steps=tuple(steps), metadata=metadata)


def demonstrate(env: SimEnv, job: Job) -> Demonstration:
    """Attempts with seed after seed until one succeeds: the same result whatever `env` did before.

    Raises WorldError after `MAX_ATTEMPTS` failures.
    """
    for attempt in range(MAX_ATTEMPTS):
        done = _attempt(env, job, seed_for("demo", job.seed, job.arm, job.task, job.index, attempt), num_failed=attempt)
        if done is not None:
            return done
    raise WorldError(
        f"{job.arm}: the scripted expert failed {MAX_ATTEMPTS} times at {job.task!r} (seed {job.seed}, episode {job.index}); "
        "leave this arm or task out, and please report it"
    )


def _attempt(env: SimEnv, job: Job, seed: int, *, num_failed: int) -> Demonstration | None:
    """None if the expert does not get there in time, or has nothing to do."""
    from rtx.eval.sim.expert import Expert
    from rtx.eval.sim.splits import find_task

    camera = _Camera(env, env.reset(task=job.task, seed=seed))
    if env.success:
        return None
    expert = Expert(env, np.random.default_rng(seed_for("expert", seed)))
    for _ in range(round(find_task(job.task).max_seconds * env.embodiment.control_hz)):
        # The expert's terminate is left out: it is given once, at the end of standing still.
        camera.step(np.concatenate([expert.act()[:7], [0]]))
        if expert.done:  # a little beyond success, so that who imitates it badly still succeeds
            return camera.finish(job, num_failed)
    return None


class _Camera:
    """Keeps each frame with the command that was sent at it."""

    def __init__(self, env: SimEnv, frame: SimFrame) -> None:
        self._env, self._frame, self._adapter = env, frame, Adapter(env.embodiment)
        self._images: dict[str, list[bytes]] = {role: [] for role in frame.images}
        self._rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # proprio, native action, canonical action

    def step(self, canonical: np.ndarray) -> None:
        self._frame = self._env.step(self._keep(canonical))

    def finish(self, job: Job, num_failed: int) -> Demonstration:
        """Stands still with the gripper as commanded last, and terminates; nothing is sent after that."""
        gripper = self._rows[-1][2][6]
        for _ in range(HOLD_STEPS - 1):
            self.step(np.array([0, 0, 0, 0, 0, 0, gripper, 0]))
        self._keep(np.array([0, 0, 0, 0, 0, 0, gripper, 1]))
        proprio, action, canonical = (np.stack(column) for column in zip(*self._rows, strict=True))
        return Demonstration(
            arm=job.arm, task=job.task, index=job.index, instruction=self._env.instruction, num_failed=num_failed,
            images={role: tuple(encoded) for role, encoded in self._images.items()},
            proprio=proprio, action=action, canonical=canonical,
        )  # fmt: skip

    def _keep(self, canonical: np.ndarray) -> np.ndarray:
        canonical = canonical.astype(np.float32)
        proprio = np.array(self._frame.proprio, np.float64)
        native = self._adapter.to_native(canonical, proprio_native=proprio).astype(np.float32)
        for role, image in self._frame.images.items():
            self._images[role].append(encode_frame(self._env.embodiment.name, role, image))
        self._rows.append((proprio, native, canonical))
        return native


def save(demonstration: Demonstration, path: Path) -> None:
    """One file, whole or absent. Raises WorldError when the disk refuses."""
    arrays = {"proprio": demonstration.proprio, "action": demonstration.action, "canonical": demonstration.canonical}
    for role, encoded in demonstration.images.items():
        arrays[f"bytes_{role}"] = np.frombuffer(b"".join(encoded), np.uint8)
        arrays[f"lengths_{role}"] = np.array([len(data) for data in encoded], np.int64)
    facts = np.array([demonstration.arm, demonstration.task, demonstration.instruction])
    numbers = np.array([demonstration.index, demonstration.num_failed])
    with atomic(path) as file:
        np.savez(file, facts=facts, numbers=numbers, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Demonstration:
    """Inverse of `save`. Raises WorldError for a damaged file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise WorldError(f"{path} is damaged ({error}); delete it and run the same command again") from error
    roles = [key.removeprefix("bytes_") for key in arrays if key.startswith("bytes_")]
    arm, task, instruction = (str(fact) for fact in arrays["facts"])
    return Demonstration(
        arm=arm, task=task, instruction=instruction, index=int(arrays["numbers"][0]), num_failed=int(arrays["numbers"][1]),
        images={role: _cut(arrays[f"bytes_{role}"].tobytes(), arrays[f"lengths_{role}"]) for role in roles},
        proprio=arrays["proprio"], action=arrays["action"], canonical=arrays["canonical"],
    )  # fmt: skip


def _cut(data: bytes, lengths: np.ndarray) -> tuple[bytes, ...]:
    ends = np.cumsum(lengths)
    return tuple(data[end - length : end] for end, length in zip(ends, lengths, strict=True))
