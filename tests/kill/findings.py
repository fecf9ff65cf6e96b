"""What was seen of many deaths, added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Findings:
    """Lists hold a line each of what must not be; they are empty if all is well."""

    runs: int = 0  # that were killed, and went on to their end
    kills: Counter[str] = field(default_factory=Counter)  # by what they were; only deaths that came
    torn: list[str] = field(default_factory=list)  # numbered folders that do not verify
    lost: list[str] = field(default_factory=list)  # steps that were committed and are neither there nor followed by a newer one
    mismatches: list[str] = field(default_factory=list)  # batches, random numbers, losses, last states unlike the whole run's
    hung: list[str] = field(default_factory=list)  # processes that did not end by themselves after another's death
    silent: list[str] = field(default_factory=list)  # processes that ended so, and did not say why
    compared: int = 0  # steps
    largest_difference: float = 0.0  # of a loss
    least_followed: int | None = None  # steps taken and compared from a kill to the end of its run, the fewest
    killed_s: float = 0.0  # spent on lives that were killed
    outlived_s: float = 0.0  # the longest that a process took to end after another's death

    def __str__(self) -> str:
        kills = sum(self.kills.values())
        bad = {name: len(getattr(self, name)) for name in ("torn", "lost", "mismatches", "hung", "silent")}
        counted = " ".join(
            f"{name}={count}" for name, count in {"kills": kills, **bad, "steps_compared": self.compared}.items()
        )
        return (
            f"{counted} least_steps_after_a_kill={self.least_followed} largest_loss_difference={self.largest_difference:.2g} "
            f"s_per_kill={self.killed_s / max(kills, 1):.1f} longest_outlived_s={self.outlived_s:.1f}"
        )

    def lines(self) -> list[str]:
        return [*self.torn, *self.lost, *self.mismatches, *self.hung, *self.silent]

    @property
    def is_clean(self) -> bool:
        return not self.lines()

    def follow(self, num_steps: int) -> None:
        self.least_followed = num_steps if self.least_followed is None else min(self.least_followed, num_steps)
