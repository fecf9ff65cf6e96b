"""Do the pictures look as they did in training, and what would make them? Only where training pictures are at hand.

A camera's mean picture over many episodes keeps what stands still (the arm's base, table edges, fingers, the light) and loses
what changes. Per camera, of 32 x 32 points: colours against the picture's own mean, and edges.

    distance = mean over points of n ((mean recorded - mean trained) / std between episodes)^2      about 1 if all is right

Points go together, so how far is too far is asked of the training episodes: n of them drawn at random, many times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rtx.doctor.recording import Recorded
from rtx.doctor.replay import picture
from rtx.doctor.suspects import NOTHING, Suspect
from rtx.images import resize

_SIDE = 32
_FRAMES = 8  # of each episode, evenly spaced
_DRAWS = 300
_FLOOR = 2.0  # grey levels: below this, differences between episodes are rounding

Look = Float[np.ndarray, "_ side side f"]  # of each episode; NaN where nothing was seen


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Of one suspect: how far the pictures are from training's, as recorded and with the fault undone."""

    before: float
    after: float


class Gallery:
    """Training pictures of one robot, and recorded ones to compare."""

    def __init__(self, trained: Sequence[Recorded], recorded: Sequence[Recorded], roles: Sequence[str]) -> None:
        self._recorded, self.roles = recorded, tuple(roles)
        self._trained = {role: _looks(trained, role, NOTHING) for role in roles}
        self._mean_trained = {role: _mean(trained, role) for role in roles}
        self.distance = {role: self._distance(role, NOTHING) for role in roles}
        self.usual = {role: self._usual(role) for role in roles}

    @property
    def is_usual(self) -> bool:
        """Whether every camera shows what it showed in training."""
        return all(self.distance[role] <= self.usual[role] for role in self.roles)

    def judge(self, suspect: Suspect) -> Distance | None:
        """Mean over all cameras; None where the pictures look as in training anyway, or the suspect is not about pictures."""
        if not suspect.of_pictures or self.is_usual:
            return None
        touched = {role for role in self.roles if suspect.zoom != 1 or role in suspect.roles or role in suspect.redraw}
        after = [self._distance(role, suspect) if role in touched else self.distance[role] for role in self.roles]
        return Distance(before=float(np.mean(list(self.distance.values()))), after=float(np.mean(after)))

    def means(self, role: str) -> tuple[np.ndarray, np.ndarray]:
        """uint8 `[64, 64, 3]` mean pictures, of training and as recorded, for people."""
        return self._mean_trained[role], _mean(self._recorded, role)

    def _distance(self, role: str, suspect: Suspect) -> float:
        return _distance(_looks(self._recorded, role, suspect), self._trained[role])

    def _usual(self, role: str) -> float:
        """What so many training episodes exceed once in a hundred times."""
        rng, looks = np.random.default_rng(0), self._trained[role]
        size = min(len(self._recorded), len(looks) // 2)
        draws = []
        for _ in range(_DRAWS):
            order = rng.permutation(len(looks))
            draws.append(_distance(looks[order[:size]], looks[order[size:]]))
        return float(np.quantile(draws, 0.99))


def _mean(episodes: Sequence[Recorded], role: str) -> np.ndarray:
    """uint8 [64, 64, 3], of one frame of each episode."""
    seen = [image for episode in episodes if (image := episode.picture(role, len(episode) // 2)) is not None]
    return np.mean([resize(image, (64, 64)) for image in seen], 0).astype(np.uint8)


def _distance(recorded: Look, trained: Look) -> float:
    gap = recorded.mean(0) - trained.mean(0)
    return float(np.nanmean((gap / (trained.std(0) + _FLOOR)) ** 2) * len(recorded))


def _looks(episodes: Sequence[Recorded], role: str, suspect: Suspect) -> Look:
    found = (_look(episode, role, suspect) for episode in episodes)
    return np.stack([look for look in found if look is not None])


def _look(episode: Recorded, role: str, suspect: Suspect) -> np.ndarray | None:
    steps = np.unique(np.linspace(0, len(episode) - 1, _FRAMES).astype(int))
    seen = [picture(episode, int(t), role, suspect) for t in steps]
    features = [_features(resize(image, (_SIDE, _SIDE))) for image in seen if image is not None]
    if not features:
        return None
    mean = np.mean(features, 0)
    if suspect.zoom < 1:  # what lies outside of what was recorded is made up: leave it out
        margin = int(np.ceil(_SIDE * (1 - suspect.zoom) / 2))
        inside = np.full_like(mean, np.nan)
        inside[margin : _SIDE - margin, margin : _SIDE - margin] = mean[margin : _SIDE - margin, margin : _SIDE - margin]
        return inside
    return mean


def _features(image: np.ndarray) -> np.ndarray:
    colours = image.astype(np.float32)
    grey = colours.mean(-1)
    edges = [np.abs(np.diff(grey, axis=axis, append=grey.take([-1], axis=axis))) for axis in (0, 1)]
    # square roots, so that one hard edge does not outweigh a picture of soft ones
    return np.concatenate([colours - colours.mean(), *(8 * np.sqrt(edge + 1)[..., None] for edge in edges)], -1)
