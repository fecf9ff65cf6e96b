"""Mixture: prepared data sets and how often each is drawn. The order of its contract is the model's embodiment index.

A weight is per sample: a set of weight 2 gives twice the samples of a set of weight 1, whatever their sizes. With
`balance=True` weights are multiplied by the number of training steps first, so equal weights mean equal epochs
(Octo's and OpenVLA's convention). `robot_share` divides the samples between robots and web data (RT-2: a half, or two thirds)
whatever their weights, which then count among robots and among web data only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rtx.data.filters import NO_FILTERS, Filters, Kept, kept
from rtx.data.order import Order, block_counts
from rtx.data.prepared import PreparedSet
from rtx.embodiment import Fit
from rtx.errors import UserError, unknown_name
from rtx.spec import Contract, Statistics, to_json
from rtx.tables import text_table

log = logging.getLogger(__name__)
_WARNED: set[str] = set()


@dataclass(frozen=True, kw_only=True)
class MixtureEntry:
    """One data set of a mixture. `weight` > 0, relative to the others'; `filters` leave out some of its steps as samples.

    `bounds`: what model space -1 and 1 stand for in an action field ("delta_pos") or dimension ("delta_pos.0"), in its unit;
    fields not named go by the quantiles of the data.
    """

    prepared: PreparedSet
    weight: float = 1.0
    filters: Filters = NO_FILTERS
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def statistics(self) -> Statistics:
        """What the contract promises: those of the data, with `bounds` in place of the quantiles they name."""
        known = self.prepared.statistics
        if not self.bounds:
            return known
        names = self.prepared.layout.action.dim_names
        keys = [*dict.fromkeys(name.split(".")[0] for name in names), *names]
        for key in self.bounds:
            if key not in keys:
                raise unknown_name(f"action field of {self.prepared.name!r} in bounds", key, keys)
        q01, q99 = list(known.action.q01), list(known.action.q99)
        for i, name in enumerate(names):
            if (pair := self.bounds.get(name, self.bounds.get(name.split(".")[0]))) is not None:
                q01[i], q99[i] = pair
        return dataclasses.replace(known, action=dataclasses.replace(known.action, q01=tuple(q01), q99=tuple(q99)))


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Data sets with weights. Raises UserError for no set, a repeated name or a weight that is not positive.

    `known`: what a checkpoint that is trained on promises already. Its robots keep their places and statistics in the
    contract, also those of sets that are in the mixture again; the other sets come after them.
    """

    entries: tuple[MixtureEntry, ...]
    balance: bool = False
    robot_share: float | None = None
    known: Contract | None = None
    _kept: dict[str, tuple[Kept, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems = [
            f"data set {e.prepared.name!r} has weight {e.weight}, expected a positive number"
            for e in self.entries
            if not 0 < e.weight < float("inf")
        ]
        problems += [f"data set {n!r} appears {self.names.count(n)} times" for n in set(self.names) if self.names.count(n) > 1]
        if not self.entries:
            problems.append("it has no data sets")
        kinds = {entry.prepared.is_robot for entry in self.entries}
        if self.robot_share is not None and (len(kinds) < 2 or not 0 < self.robot_share < 1):
            problems.append(
                f"a robot share of {self.robot_share}: expected a number between 0 and 1, and data sets both of robots and "
                f"without; {sum(entry.prepared.is_robot for entry in self.entries)} of {len(self.entries)} are of robots"
            )
        if problems:
            raise UserError("mixture: " + "; ".join(problems))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.prepared.name for entry in self.entries)

    @property
    def roles(self) -> tuple[str, ...]:
        """Every camera that at least one data set has, in the order they first appear."""
        return tuple(dict.fromkeys(role for entry in self.entries for role in entry.prepared.roles))

    @property
    def languages(self) -> tuple[str, ...]:
        """Every instruction and answer of every data set once, sorted: what a word tokenizer is built from."""
        return tuple(sorted({text for entry in self.entries for text in entry.prepared.languages}))

    def kept(self, split: str) -> tuple[Kept, ...]:
        """The samples of each data set's `split` after its filters. Raises UserError if no data set has that split."""
        sets = [entry.prepared for entry in self.entries]
        if not any(split in prepared.splits for prepared in sets):
            raise unknown_name("split", split, {name for prepared in sets for name in prepared.splits})
        if split not in self._kept:
            nothing = Kept(rows=None, num_steps=0, dropped={})
            self._kept[split] = tuple(
                kept(e.prepared, split, e.filters) if split in e.prepared.splits else nothing for e in self.entries
            )
        return self._kept[split]

    def num_steps(self, split: str) -> tuple[int, ...]:
        """Samples, which are steps that no filter drops, of each data set's `split`; 0 where it has none."""
        return tuple(one.num_steps for one in self.kept(split))

    def shares(self) -> tuple[float, ...]:
        """The fraction of samples asked for from each data set; they sum to 1."""
        steps = self.num_steps("train") if self.balance else (1,) * len(self.entries)
        weights = [entry.weight * n for entry, n in zip(self.entries, steps, strict=True)]
        if self.robot_share is None:
            return tuple(weight / sum(weights) for weight in weights)
        kinds = [entry.prepared.is_robot for entry in self.entries]
        totals = {kind: sum(w for w, k in zip(weights, kinds, strict=True) if k == kind) for kind in kinds}
        part = {True: self.robot_share, False: 1 - self.robot_share}
        return tuple(weight * part[kind] / totals[kind] for weight, kind in zip(weights, kinds, strict=True))

    def robots(self) -> float:
        """The fraction of samples that are robots'."""
        return float(sum(s for entry, s in zip(self.entries, self.shares(), strict=True) if entry.prepared.is_robot))

    def order(self, *, seed: int, split: str = "train") -> Order:
        """Raises UserError if a data set's `split` is empty."""
        return Order(seed=seed, names=self.names, shares=self.shares(), num_windows=self.num_steps(split))

    def warn_unsettled(self) -> None:
        """Logs, once in this process for each data set, the conventions that were assumed when it was prepared."""
        for prepared in (entry.prepared for entry in self.entries):
            if prepared.unsettled and prepared.fingerprint not in _WARNED:
                _WARNED.add(prepared.fingerprint)
                assumed = "; ".join(f"{text} (--choose {name}=...)" for name, text in prepared.unsettled.items())
                log.warning(f"{prepared.name}: assumed where its sources disagree: {assumed}; see rtx data info")

    def contract(
        self, *, roles: Sequence[str], image_size: tuple[int, int], history: int, chunk: int, fit: Fit = "stretch"
    ) -> Contract:
        """What a model trained on this mixture promises. Raises UserError for a camera that no data set has, or a set whose
        rows are not what `known` says of its name."""
        there = dict.fromkeys([*self.roles, *(self.known.roles if self.known else ())])
        for role in roles:
            if role not in there:
                raise unknown_name("camera role", role, there, hint="No data set of the mixture has it.")
        embodiments = {entry.prepared.name: entry.prepared.embodiment for entry in self.entries}
        layouts = {entry.prepared.name: entry.prepared.layout for entry in self.entries}
        statistics = {entry.prepared.name: entry.statistics for entry in self.entries}
        if self.known is not None:
            if other := [name for name, layout in layouts.items() if self.known.layouts.get(name, layout) != layout]:
                raise UserError(
                    f"the checkpoint knows {', '.join(other)} with other actions or another state than the data set of that "
                    "name has; prepare the data under another name"
                )
            embodiments = {**embodiments, **self.known.embodiments}
            layouts, statistics = {**layouts, **self.known.layouts}, {**statistics, **self.known.statistics}
        order = dict.fromkeys([*(self.known.embodiments if self.known else ()), *embodiments])
        return Contract(
            roles=tuple(roles),
            image_size=image_size,
            history=history,
            chunk=chunk,
            fit=fit,
            embodiments={name: embodiments[name] for name in order},
            layouts={name: layouts[name] for name in order},
            statistics={name: statistics[name] for name in order},
        )

    def fingerprint(self, split: str) -> str:
        """Changes with anything that decides which samples come and what they hold: sets, their content, weights."""
        parts = [
            (e.prepared.name, e.prepared.statistics.source, share, steps, to_json(e.filters))
            for e, share, steps in zip(self.entries, self.shares(), self.num_steps(split), strict=True)
        ] + [(e.prepared.name, sorted(e.bounds.items())) for e in self.entries if e.bounds]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def describe(self, split: str = "train") -> str:
        """A table for people: per data set, episodes and steps of `split`, share asked for and realised, cameras."""
        counts = block_counts(self.names, self.shares())
        rows, notes = [], []
        for entry, part, share, count in zip(self.entries, self.kept(split), self.shares(), counts, strict=True):
            name, roles = entry.prepared.name, ", ".join(entry.prepared.roles)
            num_episodes = entry.prepared.splits.get(split, {"num_episodes": 0})["num_episodes"]
            realised = f"{count / counts.sum():.2%}"
            rows.append([name, f"{num_episodes:,}", f"{part.num_steps:,}", f"{share:.2%}", realised, roles])
            notes += [f"{name}: {n:,} steps left out: {reason}" for reason, n in part.dropped.items()]
        head = ["data set", "episodes", "samples", "share", "realised", "cameras"]
        return "\n".join([text_table(head, rows), *notes])
