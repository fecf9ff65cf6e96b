"""A suite: which arms do which tasks how often. Its episodes, with their seeds, are a function of it alone.

    Suite(name, arms, tasks, splits, episodes_per_cell) --> Episode(arm, task, split, index, seed), arm by arm

The seed of an episode depends on (suite name, arm, task, index) and nothing else: two policies meet the same scenes, more
episodes extend a suite without changing those already played, and no evaluation seed is ever a training seed (the purpose
"eval" is part of the hash). Splits share their seeds: each is the same scene with one thing changed (docs/suites.md), so that
what a change costs is measured on pairs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rtx.errors import UserError, unknown_name
from rtx.eval.seeds import seed_for


@dataclass(frozen=True, kw_only=True)
class Suite:
    """`max_seconds` (of robot time, per episode) replaces the tasks' own limits if given."""

    name: str
    arms: tuple[str, ...]
    tasks: tuple[str, ...]
    episodes_per_cell: int  # a cell is one arm with one task in one split
    max_seconds: float | None = None
    environment: str = "sim"  # where it is played: our own simulator, or a public suite's
    splits: tuple[str, ...] = ()  # ways in which the scenes differ from those of the demonstrations; none: they do not

    def __post_init__(self) -> None:
        problems = [
            f"{what} must be a non-empty list without repeats, got {list(names)}"
            for what, names in (("arms", self.arms), ("tasks", self.tasks))
            if not names or len(set(names)) != len(names)
        ]
        if len(set(self.splits)) != len(self.splits):
            problems.append(f"splits {list(self.splits)} repeat")
        if self.episodes_per_cell < 1:
            problems.append(f"episodes_per_cell {self.episodes_per_cell} must be at least 1")
        if self.max_seconds is not None and not self.max_seconds > 0:
            problems.append(f"max_seconds {self.max_seconds} must be positive")
        if problems:
            raise UserError(f"suite {self.name!r}: " + "; ".join(problems))

    @property
    def num_episodes(self) -> int:
        return len(self.arms) * len(self.tasks) * max(1, len(self.splits)) * self.episodes_per_cell

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One scene to be played. `key` names it among the episodes of its suite."""

    arm: str
    task: str
    index: int
    seed: int
    split: str = ""

    @property
    def scene(self) -> str:
        """The task as the environment is asked for it: `lift`, or `lift@distractors`."""
        return f"{self.task}@{self.split}" if self.split else self.task

    @property
    def key(self) -> str:
        return f"{self.arm}/{self.scene}/{self.index}"


def episodes(suite: Suite) -> Iterator[Episode]:
    """All episodes of the suite, arm by arm, tasks interleaved so that a part of them is a fair sample."""
    for arm in suite.arms:
        for index in range(suite.episodes_per_cell):
            for task in suite.tasks:
                seed = seed_for("eval", suite.name, arm, _scenes(task), index)
                for split in suite.splits or ("",):
                    yield Episode(arm=arm, task=task, index=index, seed=seed, split=split)


def _scenes(task: str) -> str:
    """Tasks set in the same scenes share their seeds. Environments of a user's own may have tasks that are not in the table."""
    from rtx.eval.sim.tasks import TASKS

    return TASKS[task].scenes if task in TASKS else task


_ARMS = ("sim_panda", "sim_sawyer", "sim_ur5e", "sim_iiwa", "sim_kinova3", "sim_jaco", "sim_vx300s")
_TASKS = (
    "reach", "push", "lift", "reach_related", "stack", "place_on", "place_on_colour", "place_in", "open_drawer", "close_drawer"
)  # fmt: skip
_SPLITS = ("seen", "distractors", "unseen_objects", "unseen_backgrounds", "unseen_instructions")
SUITES: Mapping[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(name="smoke", arms=_ARMS[:2], tasks=("reach",), episodes_per_cell=2),
        Suite(name="quick", arms=_ARMS, tasks=("reach", "push"), episodes_per_cell=8),
        Suite(name="full", arms=_ARMS, tasks=("reach", "push", "lift"), episodes_per_cell=50),
        Suite(name="cross", arms=_ARMS, tasks=_TASKS, episodes_per_cell=10),
        Suite(name="generalisation", arms=_ARMS, tasks=_TASKS, splits=_SPLITS, episodes_per_cell=4),
    )
}


def find_suite(
    name: str, *, arms: Sequence[str] = (), tasks: Sequence[str] = (), splits: Sequence[str] = (),
    episodes_per_cell: int | None = None,
) -> Suite:  # fmt: skip
    """A suite by name, narrowed to some of its arms, tasks and splits. Seeds stay those of the named suite.

    Raises UserError for a name, an arm, a task or a split that the suite does not have.
    """
    suite, all_tasks = _named(name)
    for kind, asked, known in (("arm", arms, suite.arms), ("task", tasks, all_tasks), ("split", splits, suite.splits)):
        for item in asked:
            if item not in known:
                raise unknown_name(f"{kind} of suite {name!r}", item, known)
    return dataclasses.replace(
        suite,
        arms=tuple(arms) or suite.arms,
        tasks=tuple(tasks) or suite.tasks,
        splits=tuple(splits) or suite.splits,
        episodes_per_cell=suite.episodes_per_cell if episodes_per_cell is None else episodes_per_cell,
    )


def _named(name: str) -> tuple[Suite, Sequence[str]]:
    """A suite of ours or a public one, and all the tasks it can be narrowed to: public ones may have more than they play."""
    from rtx.eval.public.registry import PUBLIC_SUITES

    if name in PUBLIC_SUITES:
        public = PUBLIC_SUITES[name]
        return public.suite(), tuple(public.tasks)
    if name not in SUITES:
        raise unknown_name("suite", name, [*SUITES, *PUBLIC_SUITES])
    return SUITES[name], SUITES[name].tasks
