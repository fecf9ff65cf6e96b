"""THE CONTRACT: what a robot, an observation, an action and a batch are, for every room of the house.

Frozen dataclasses, read by the loader, the model, the checkpoint, the server and the adapter, and checked at each
boundary. Imports numpy only (and `rtx.errors`); everybody may import it.

Three spaces an action can be in, and who converts:

    native      one robot's own command (`Embodiment.action`): its rotation form, unit, gripper polarity
       |  rtx.robots.adapter
    canonical   `CANONICAL_ARM`: delta position (m), delta rotation (rpy, rad), in the base frame; gripper (1 open); terminate
       |  Normalizer, built from one Statistics object
    model       [-1, 1] per dimension: what a tokenizer or head sees

Source: the RT-X action of Open X-Embodiment (arXiv 2310.08864), with gripper polarity and units made explicit.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtx.embodiment import ActionSpace, Embodiment, Field, Fit, Layout, dim_names, union_of
from rtx.errors import UserError, WorldError


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a policy sees at one moment of one robot: the last `t` frames, oldest first.

    `images[role]` is uint8 RGB `[t, h, w, 3]`; `image_mask[role]` bool `[t]`, True = a real frame.
    `proprio` float32 `[t, p]` in `CANONICAL_PROPRIO` (raw units). `stamp_ns` is the monotonic time of the newest frame.

    `committed` float32 `[m, a]`: the actions from the stamp on, physical units, that will be executed whatever the answer is;
    `planned` `[n, a]`: those that were to follow them. For policies that let their answers go on from there.
    """

    images: Mapping[str, np.ndarray]
    image_mask: Mapping[str, np.ndarray]
    proprio: np.ndarray
    instruction: str
    stamp_ns: int
    committed: np.ndarray | None = None
    planned: np.ndarray | None = None

    def __post_init__(self) -> None:
        for role, image in self.images.items():
            if image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] != 3:
                raise UserError(f"camera {role!r}: got {image.dtype}{list(image.shape)}, expected uint8[t, h, w, 3] RGB")
        if not np.all(np.isfinite(self.proprio)):
            raise UserError(f"proprio holds a non-finite value: {self.proprio[-1]}; check the robot's state source")


@dataclass(frozen=True, kw_only=True)
class ActionChunk:
    """`k` canonical actions in physical units, one per control period, and how long they may be executed."""

    actions: np.ndarray  # float32 [k, a]
    names: tuple[str, ...]  # one per dimension, `ActionSpace.dim_names`
    control_hz: float
    stamp_ns: int  # monotonic time of the observation they answer
    valid_until_ns: int

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or self.actions.shape[1] != len(self.names):
            raise UserError(f"action chunk: shape {self.actions.shape} does not fit {len(self.names)} names")
        if not np.all(np.isfinite(self.actions)):
            raise WorldError("action chunk holds a non-finite value; hold still and check the checkpoint")


@dataclass(frozen=True, kw_only=True)
class FieldStatistics:
    """Statistics of one vector, each a list of one float64 per dimension, over `count` steps of the train split."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]
    q01: tuple[float, ...]
    q99: tuple[float, ...]
    count: int


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of one data set: canonical action and proprio, and what they were computed from."""

    action: FieldStatistics
    proprio: FieldStatistics
    num_episodes: int
    source: str  # fingerprint of the shards and the standardize function


@dataclass(frozen=True)
class Normalizer:
    """Affine pair x_model = clip((x - offset) / scale, -1, 1) and its inverse, made from one object so they cannot drift.

    Dimensions that never change in the data (q01 == q99) map to 0 and back to their constant. `place`: where the `a`
    dimensions of one data set lie among the `width` of a mixture; the others are 0 in model space.
    """

    offset: np.ndarray  # float32 [a]
    scale: np.ndarray  # float32 [a], > 0
    constant: np.ndarray  # bool [a]
    place: np.ndarray | None = None  # int [a]; None: the mixture has no other dimensions
    width: int = 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Physical `[..., a]` to model space, float32 `[..., a]` or `[..., width]`."""
        y = np.clip((np.asarray(x, np.float32) - self.offset) / self.scale, -1.0, 1.0)
        y = np.where(self.constant, np.float32(0), y)
        if self.place is None:
            return y
        among = np.zeros((*y.shape[:-1], self.width), np.float32)
        among[..., self.place] = y
        return among

    def inverse(self, y: np.ndarray) -> np.ndarray:
        """Model space to physical, float32 `[..., a]`; input outside [-1, 1] is clipped."""
        y = np.where(self.constant, np.float32(0), np.clip(self.select(np.asarray(y, np.float32)), -1.0, 1.0))
        return (y * self.scale + self.offset).astype(np.float32)

    def select(self, y: np.ndarray) -> np.ndarray:
        """This data set's dimensions `[..., a]` of something in model space."""
        return y if self.place is None else y[..., self.place]

    def placed(self, own: Sequence[str], among: Sequence[str]) -> Normalizer:
        """The same with its dimensions, named `own`, put where `among` has them."""
        if tuple(own) == tuple(among):
            return self
        place = np.array([list(among).index(name) for name in own], np.int64)
        return dataclasses.replace(self, place=place, width=len(among))


def _affine(low: np.ndarray, high: np.ndarray) -> Normalizer:
    constant = high - low < 1e-8
    scale = np.where(constant, 1.0, (high - low) / 2)
    return Normalizer(((high + low) / 2).astype(np.float32), scale.astype(np.float32), constant)


def action_normalizer(space: ActionSpace, statistics: FieldStatistics) -> Normalizer:
    """q01..q99 to [-1, 1] for normalized fields, the declared bounds for the others (gripper, terminate)."""
    q01, q99 = np.asarray(statistics.q01), np.asarray(statistics.q99)
    if len(q01) != space.width:
        raise UserError(f"statistics have {len(q01)} action dimensions, the action space has {space.width}: {space.dim_names}")
    by_statistics = space.per_dim(lambda f: f.normalize).astype(bool)
    low = np.where(by_statistics, q01, space.per_dim(lambda f: f.low))
    high = np.where(by_statistics, q99, space.per_dim(lambda f: f.high))
    return _affine(low, high)


def proprio_normalizer(statistics: FieldStatistics) -> Normalizer:
    """q01..q99 to [-1, 1] in every dimension."""
    return _affine(np.asarray(statistics.q01), np.asarray(statistics.q99))


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What a checkpoint promises: which robots it knows, what it must be fed, what comes out.

    `embodiments`, `layouts` and `statistics` are keyed by data set name, in the order of the mixture: the position is the
    embodiment index the model was trained with. Statistics are in the data set's own layout; the model sees the union.
    """

    roles: tuple[str, ...]
    image_size: tuple[int, int]  # (height, width) fed to the model
    history: int  # frames t
    chunk: int  # actions k
    fit: Fit = "stretch"  # how pictures of another shape come to `image_size`
    embodiments: Mapping[str, Embodiment]
    layouts: Mapping[str, Layout]
    statistics: Mapping[str, Statistics]

    def __post_init__(self) -> None:
        if not list(self.embodiments) == list(self.layouts) == list(self.statistics):
            raise UserError("contract: embodiments, layouts and statistics must name the same data sets in the same order")
        union_of(tuple(self.layouts.values()))

    @functools.cached_property
    def action(self) -> ActionSpace:
        """Of the model: every action field of every data set."""
        return union_of(tuple(self.layouts.values()))[0]

    @functools.cached_property
    def proprio(self) -> tuple[Field, ...]:
        """Of the model: every proprio field of every data set."""
        return union_of(tuple(self.layouts.values()))[1]

    def action_normalizer(self, name: str) -> Normalizer:
        """Between the action of data set `name` (its own layout, physical) and the model's."""
        own = self.layouts[name].action
        return action_normalizer(own, self.statistics[name].action).placed(own.dim_names, self.action.dim_names)

    def proprio_normalizer(self, name: str) -> Normalizer:
        """Between the proprio of data set `name` (its own layout, physical) and the model's."""
        own = dim_names(self.layouts[name].proprio)
        return proprio_normalizer(self.statistics[name].proprio).placed(own, dim_names(self.proprio))

    def action_mask(self, name: str) -> np.ndarray:
        """bool [a] over the model's action: which dimensions data set `name` knows."""
        known = dict(zip(self.layouts[name].action.dim_names, self.layouts[name].action_mask, strict=True))
        return np.array([known.get(dim, False) for dim in self.action.dim_names])

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of everything in it, the order of the data sets included: it is the embodiment index."""
        ordered = {"order": list(self.embodiments), **to_json(self)}
        return hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One training batch. Host arrays come from the loader; the same structure holds device arrays inside the step.

    Action and proprio are in model space. Masks: True = valid. History padding repeats the first frame and clears
    `history_mask`; chunk padding after the episode's end stands still (`rtx.data.windows`) and clears `action_mask`.
    Samples of web data have a `target` text and no action; robot samples have a target of padding only.
    """

    images: Mapping[str, Any]  # role -> uint8 [b, t, h, w, 3]
    image_mask: Mapping[str, Any]  # role -> bool [b, t]
    history_mask: Any  # bool [b, t]
    proprio: Any  # float32 [b, t, p]
    text: Any  # int32 [b, l], 0 = padding: words; or float32 [b, s]: one vector for the whole instruction
    action: Any  # float32 [b, k, a]: of the k steps ahead; or, where a loader was asked to, of the t frames of the history
    action_mask: Any  # bool [b, k, a]
    embodiment: Any  # int32 [b], position in Contract.embodiments
    sample: Any  # int64 [b], global sample number: which sample this is, for good
    target: Any = None  # int32 [b, m], the text to answer, 0 = padding; None where no data set of the mixture has any
    depth: Mapping[str, Any] | None = None  # role -> float32 [b, t, h, w] metres, 0 = not measured; None unless asked for
    depth_mask: Mapping[str, Any] | None = None  # role -> bool [b, t], as `image_mask`
    goal: Mapping[str, Any] | None = None  # role -> uint8 [b, h, w, 3], a later frame of the episode; None unless asked for
    goal_mask: Mapping[str, Any] | None = None  # role -> bool [b]


def to_json(value: Any) -> Any:
    """A contract object as plain JSON data (dataclasses to objects, tuples to lists, infinities to strings)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
