"""How well answers agree with a log, and whether they agree better once a fault is undone.

    error of a frame = mean over dimensions of min(|answer - logged| / spread, 3)      spread: the log's own, per dimension

Frames of an episode are no independent witnesses, so the test is over groups: whole episodes, or blocks of them where there
are few. Each group's mean difference keeps its size and is given a sign at random; p is the share of such draws that come out
at least as good. It assumes nothing of the distribution but that a fault which is not there helps as often as it hurts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

_WORST = 3.0  # spreads: one wild answer is not worth ten good ones
_DRAWS = 1 << 15
_LEAST_GROUPS = 16  # signs of fewer cannot be rarer than what many suspects need
_LEAST_BLOCK = 8  # frames


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What undoing a fault did, over the same frames: mean error before and after, and how often chance does as well."""

    before: float
    after: float
    p_value: float
    num_groups: int

    @property
    def gain(self) -> float:
        """Share of the error that goes away; negative where it grows."""
        return 1 - self.after / self.before if self.before > 0 else 0.0


def spread(logged: Float[np.ndarray, "n a"], trained_std: Float[np.ndarray, " a"]) -> Float[np.ndarray, " a"]:
    """The log's own standard deviation, at least a quarter of that in training: what hardly moved would weigh too much."""
    return np.maximum(np.maximum(logged.std(0), 0.25 * trained_std), 1e-9)


def errors(answers: Float[np.ndarray, "n a"], logged: Float[np.ndarray, "n a"], scale: np.ndarray) -> Float[np.ndarray, "n a"]:
    """Per frame and dimension, in spreads."""
    return np.minimum(np.abs(answers - logged) / scale, _WORST)


def compare(
    before: Float[np.ndarray, " n"], after: Float[np.ndarray, " n"], group: Int[np.ndarray, " n"], seed: int = 0
) -> Verdict:
    """One-sided test that `after` is smaller than `before`, paired by frame, by signs of groups; exact up to 2^15 draws."""
    names = np.unique(group)
    gains = np.array([np.mean((before - after)[group == name]) for name in names])
    draws = np.random.default_rng(seed).integers(0, 2, (_DRAWS, len(gains)), dtype=np.int8) * 2 - 1
    as_good = np.count_nonzero(draws @ gains >= gains.sum() - 1e-12)
    p_value = float((1 + as_good) / (1 + _DRAWS))
    return Verdict(before=float(before.mean()), after=float(after.mean()), p_value=p_value, num_groups=len(names))


def groups(episode: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """A number for each frame: its episode, or its block of an episode where there are too few of them to tell anything."""
    sizes = np.bincount(episode)
    if np.count_nonzero(sizes) >= _LEAST_GROUPS:
        return episode
    block = max(_LEAST_BLOCK, len(episode) // (2 * _LEAST_GROUPS))
    within = np.concatenate([np.arange(size) // block for size in sizes])
    return np.unique(np.stack([episode, within], 1), axis=0, return_inverse=True)[1].reshape(-1)
