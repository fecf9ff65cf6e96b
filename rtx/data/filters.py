"""Which steps of a prepared set are drawn as samples: filters that look at the step table, and count what they leave out.

A step that is filtered out is never the newest frame of a sample, but stays part of its neighbours' history and action chunk.
Episodes are filtered when a set is prepared (`DatasetRecord.keep`: success, for one).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32

from rtx.data.prepared import PreparedSet
from rtx.embodiment import RELATIVE_KINDS, ActionField
from rtx.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Drops, in this order; each step counts for the first filter that drops it.

    `unlabeled`: steps without an instruction. `idle`: steps whose relative fields (motion, not gripper) all stay below
    `idle_m` metres and `idle_rad` radians, unless the gripper's command changes there. `beyond`: steps with a known relative
    dimension more than so many times outside q01..q99 of the train split, as Octo's filter of large actions, but per dimension.
    """

    unlabeled: bool = False
    idle_m: float = 0.0
    idle_rad: float = 0.0
    beyond: float | None = None

    def __post_init__(self) -> None:
        if self.idle_m < 0 or self.idle_rad < 0 or (self.beyond is not None and not self.beyond >= 1):
            raise UserError(f"filters: {self}; idle_m and idle_rad must not be negative, beyond must be at least 1")


NO_FILTERS = Filters()


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Rows of the step table that are samples, ascending; None: all. `dropped`: how many each filter left out."""

    rows: Int32[np.ndarray, " n"] | None
    num_steps: int
    dropped: Mapping[str, int]


def kept(prepared: PreparedSet, split: str, filters: Filters) -> Kept:
    """The samples of a split. Reads its language and action columns once; keeps 4 bytes per sample if a filter is on."""
    num_steps = int(prepared.splits[split]["num_steps"])
    if filters == NO_FILTERS or not num_steps:
        return Kept(rows=None, num_steps=num_steps, dropped={})
    part = prepared.split(split)
    stays, dropped = np.ones(num_steps, bool), {}
    for name, is_bad in (
        ("unlabeled", _unlabeled(prepared, np.asarray(part.language_id)) if filters.unlabeled else None),
        ("idle", _idle(prepared, np.asarray(part.action), filters) if filters.idle_m or filters.idle_rad else None),
        ("beyond", _beyond(prepared, np.asarray(part.action), filters.beyond) if filters.beyond is not None else None),
    ):
        if is_bad is not None:
            dropped[name] = int((stays & is_bad).sum())
            stays &= ~is_bad
    rows = np.flatnonzero(stays).astype(np.int32)
    return Kept(rows=rows, num_steps=len(rows), dropped=dropped)


def _unlabeled(prepared: PreparedSet, language_id: np.ndarray) -> Bool[np.ndarray, " s"]:
    is_empty = np.array([not text.strip() for text in prepared.languages], bool)
    return is_empty[language_id].all(axis=1)


def _idle(prepared: PreparedSet, action: np.ndarray, filters: Filters) -> Bool[np.ndarray, " s"]:
    still = np.ones(len(action), bool)
    for field, at, known in _fields(prepared):
        values = action[:, at][:, known]
        if field.kind in RELATIVE_KINDS:
            limit = filters.idle_m if field.unit in ("m", "m/s") else filters.idle_rad
            still &= np.all(np.abs(values) <= limit, axis=1)
        elif field.kind == "gripper":
            still &= ~np.any(np.diff(values, axis=0, prepend=values[:1]) != 0, axis=1)
    return still


def _beyond(prepared: PreparedSet, action: np.ndarray, times: float) -> Bool[np.ndarray, " s"]:
    low, high = np.array(prepared.statistics.action.q01), np.array(prepared.statistics.action.q99)
    middle, reach = (low + high) / 2, np.maximum((high - low) / 2, 1e-8) * times
    far = np.zeros(len(action), bool)
    for field, at, known in _fields(prepared):
        if field.kind in RELATIVE_KINDS:
            far |= np.any(np.abs(action[:, at] - middle[at])[:, known] > reach[at][known], axis=1)
    return far


def _fields(prepared: PreparedSet) -> list[tuple[ActionField, slice, np.ndarray]]:
    """Each action field, where it lies, and which of its dimensions are known."""
    space, mask = prepared.layout.action, np.array(prepared.layout.action_mask, bool)
    return [(field, space.slices[field.name], mask[space.slices[field.name]]) for field in space.fields]
