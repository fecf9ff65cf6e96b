"""`rtx data write sim`: scripted experts on simulated arms -> one RLDS data set per arm, in parallel, restartable.

    plan: arm x index -> task, seed                 OUT/.recording/<arm>-<recipe>/000012_push.npz   (whole or absent)
      |  spawned simulators, arm by arm  ------------^        |
      |  (never import TensorFlow)                            | one spawned writer (imports TensorFlow once)
      v                                                       v
    a job with a staged file is not simulated again      OUT/<arm>/1.0.0/   then the arm's staging is removed

Killed anywhere, the same command carries on: a demonstration follows from (seed, arm, task, index) alone, so neither the
number of workers nor the number of kills changes the data. A finished set keeps its recipe in metadata.json and is skipped.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.errors import UserError, WorldError
from rtx.eval.sim import crew
from rtx.eval.sim.conventions import convention
from rtx.eval.sim.demonstration import Job
from rtx.files import disk_errors, read_json
from rtx.progress import Advance, bar
from rtx.robots.sim_arms import SIM_ARMS

_LOG = logging.getLogger(__name__)
VERSION = "1.0.0"
RECORDING = 1  # to be raised when the same recipe gives other data: simulator, experts, conventions
_VAL_SHARE = 0.05
_STAGING = ".recording"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides what a set holds."""

    arm: str
    tasks: tuple[str, ...]
    num_episodes: int
    seed: int
    image_size: int
    recording: int = RECORDING

    def jobs(self) -> list[Job]:
        """Tasks take turns, so that any prefix is balanced and more episodes extend a set without changing the first."""
        turns = (self.tasks[i % len(self.tasks)] for i in range(self.num_episodes))
        return [Job(arm=self.arm, task=task, index=i, seed=self.seed) for i, task in enumerate(turns)]

    @property
    def num_val(self) -> int:
        return max(1, round(_VAL_SHARE * self.num_episodes))

    @property
    def fingerprint(self) -> str:
        """Of what decides a single episode: asking for more of them keeps those already staged."""
        parts = [self.tasks, self.seed, self.image_size, self.recording]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


@dataclass(frozen=True, kw_only=True)
class RecordedSet:
    """What a finished set says of itself."""

    path: Path
    num_episodes: int
    num_failed: int  # attempts thrown away because the expert did not succeed
    num_bytes: int


def record_sim(
    out: Path,
    *,
    arms: Sequence[str] = tuple(SIM_ARMS),
    episodes_per_arm: int | Mapping[str, int],
    tasks: Sequence[str] = ("reach", "push", "lift"),
    seed: int = 0,
    num_workers: int = 2,
    image_size: int = 128,
) -> list[Path]:
    """Records demonstrations of each arm and writes them as `out/<arm>/1.0.0`; returns those folders, in the order of `arms`.

    `episodes_per_arm` counts successful episodes, train and val together (val: 5 %, at least one); a mapping may give each arm
    its own number. Pictures are squares of `image_size` pixels. Finished sets and finished episodes of an earlier
    call are kept.

    Raises UserError for unknown arms or tasks, too few episodes, or a folder that holds other sets; WorldError when
    the disk or a simulator process fails.
    """
    recipes = _recipes(arms, episodes_per_arm, tuple(tasks), seed, image_size, num_workers)
    todo = [recipe for recipe in recipes if not _is_finished(out, recipe)]
    if todo or (out / _STAGING).exists():  # finished, but killed before it could tidy up
        with _only_one(out):
            _record(out, todo, num_workers)
    return [out / recipe.arm / VERSION for recipe in recipes]


def recorded_set(path: Path) -> RecordedSet:
    """Of `out/<arm>/1.0.0`. Raises UserError if `record_sim` did not write it."""
    metadata = read_json(path / "metadata.json")
    return RecordedSet(
        path=path,
        num_episodes=metadata["recipe"]["num_episodes"],
        num_failed=metadata["num_failed"],
        num_bytes=sum(file.stat().st_size for file in path.iterdir()),
    )


def _recipes(
    arms: Sequence[str], episodes_per_arm: int | Mapping[str, int], tasks: tuple[str, ...], seed: int, image_size: int,
    num_workers: int,
) -> list[Recipe]:  # fmt: skip
    counts = episodes_per_arm if isinstance(episodes_per_arm, Mapping) else dict.fromkeys(arms, episodes_per_arm)
    for arm in (*arms, *counts):
        convention(arm)
    crew.check_tasks(tasks)
    problems = [
        f"{arm}: {counts.get(arm, 0)} episodes, expected at least 2 (train, val)" for arm in arms if counts.get(arm, 0) < 2
    ]
    problems += [] if arms and len(set(arms)) == len(arms) else [f"arms {list(arms)}: expected distinct names, at least one"]
    problems += [] if len(set(tasks)) == len(tasks) else [f"tasks {list(tasks)} repeat"]
    problems += [] if num_workers >= 1 else [f"num_workers {num_workers}: expected at least 1"]
    problems += [] if image_size >= 32 else [f"image_size {image_size}: expected at least 32 pixels"]
    if problems:
        raise UserError("record sim: " + "; ".join(problems))
    return [Recipe(arm=arm, tasks=tasks, num_episodes=counts[arm], seed=seed, image_size=image_size) for arm in arms]


def _is_finished(out: Path, recipe: Recipe) -> bool:
    path = out / recipe.arm / VERSION
    if not path.exists():
        return False
    wanted = json.loads(json.dumps(dataclasses.asdict(recipe)))
    found = read_json(path / "metadata.json").get("recipe", {}) if (path / "metadata.json").exists() else {}
    if found != wanted:
        differences = [f"{key}: has {found.get(key)}, asked {wanted[key]}" for key in wanted if found.get(key) != wanted[key]]
        raise UserError(f"{path} holds another recording ({'; '.join(differences)}); delete it or choose another folder")
    return True


@contextlib.contextmanager
def _only_one(out: Path) -> Iterator[None]:
    """Two recorders in one folder would write each other's files; the lock dies with the process."""
    staging = out / _STAGING
    with disk_errors(staging):
        staging.mkdir(parents=True, exist_ok=True)
        lock = os.open(staging / "lock", os.O_CREAT | os.O_RDWR)
    try:
        _lock(lock, out)
        yield
        shutil.rmtree(staging)
    finally:
        os.close(lock)


def _lock(descriptor: int, out: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WorldError(f"another process is recording into {out}; wait for it or choose another folder") from error


def _record(out: Path, recipes: Sequence[Recipe], num_workers: int) -> None:
    jobs = [crew.StagedJob(job=job, path=_staged(out, recipe, job)) for recipe in recipes for job in recipe.jobs()]
    left = [staged for staged in jobs if not staged.path.exists()]
    if not jobs:
        return
    # Writing takes a few seconds a set: each counts as one more step of the same bar.
    with bar("demonstrations", len(jobs) + len(recipes), done=len(jobs) - len(left)) as advance:
        if left:
            _simulate(left, num_workers, recipes[0].image_size, advance)
        for arm in crew.write([_request(out, recipe) for recipe in recipes]):
            shutil.rmtree(_folder(out, next(recipe for recipe in recipes if recipe.arm == arm)), ignore_errors=True)
            advance(note=f"{arm} written")


def _simulate(left: Sequence[crew.StagedJob], num_workers: int, image_size: int, advance: Advance) -> None:
    failed: collections.Counter[str] = collections.Counter()
    for done in crew.simulate(left, num_workers=num_workers, image_size=image_size):
        failed[done.job.arm] += done.num_failed
        note = f"{done.job.arm} {done.job.task}"
        advance(note=note + (f", {failed.total()} failed attempts repeated" if failed.total() else ""))
    for arm, count in failed.items():
        if count:
            _LOG.info("arm=%s failed_attempts=%d (not kept, repeated with other seeds)", arm, count)


def _folder(out: Path, recipe: Recipe) -> Path:
    return out / _STAGING / f"{recipe.arm}-{recipe.fingerprint}"


def _staged(out: Path, recipe: Recipe, job: Job) -> Path:
    return _folder(out, recipe) / f"{job.index:06d}_{job.task}.npz"


def _request(out: Path, recipe: Recipe) -> crew.WriteRequest:
    files = [_staged(out, recipe, job) for job in recipe.jobs()]
    first_val = len(files) - recipe.num_val  # tasks take turns, so the last ones hold them evenly
    description = (
        f"Scripted demonstrations of {recipe.arm} at {', '.join(recipe.tasks)}, simulated; "
        "conventions in rtx.data.simulated."
    )  # fmt: skip
    metadata: dict[str, Any] = {"recipe": dataclasses.asdict(recipe)}
    return crew.WriteRequest(
        arm=recipe.arm, out=out, version=VERSION, image_size=recipe.image_size, description=description, metadata=metadata,
        splits={"train": tuple(files[:first_val]), "val": tuple(files[first_val:])},
    )  # fmt: skip
