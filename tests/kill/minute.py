"""A policy that is traced in a tenth of a second, for runs that begin hundreds of times: two dense layers on everything a
batch has, with dropout, so that its loss depends on pixels, words, robot, state of the arm and the run's random keys."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rtx.models import families
from rtx.models.protocol import AxisRules, Metrics, Variables
from rtx.spec import Batch

NAME = "minute"
_HIDDEN, _WORD, _MAX_ROBOTS, _KEPT = 16, 4, 4, 0.9


@dataclass(frozen=True, kw_only=True)
class MinuteConfig:
    history: int = 2
    chunk: int = 2
    text_length: int = 4
    text_vocabulary: int = 16
    max_embodiments: int = _MAX_ROBOTS


@dataclass(frozen=True)
class Minute:
    """`Model`; see `rtx.models.protocol`."""

    config: MinuteConfig

    def init(self, rng: jax.Array, batch: Batch) -> Variables:
        assert batch.action is not None
        num_inputs, num_outputs = self._seen(_zeros(), batch).shape[-1], int(np.prod(batch.action.shape[1:]))
        keys = jax.random.split(rng, 3)
        params = {
            "words": jax.random.normal(keys[0], (self.config.text_vocabulary, _WORD)),
            "robots": jnp.zeros((_MAX_ROBOTS, _WORD)),
            "hidden": {"kernel": jax.random.normal(keys[1], (num_inputs, _HIDDEN)) * 0.1, "bias": jnp.zeros(_HIDDEN)},
            "out": {"kernel": jax.random.normal(keys[2], (_HIDDEN, num_outputs)) * 0.1, "bias": jnp.zeros(num_outputs)},
        }
        return {"params": params}

    def loss(
        self, variables: Variables, batch: Batch, rng: jax.Array, *, train: bool
    ) -> tuple[Float[Array, ""], Metrics, Variables]:
        """Mean squared error over valid action entries."""
        said = self._say(variables["params"], batch, rng if train else None)
        valid = jnp.asarray(batch.action_mask).astype(jnp.float32)
        squares = jnp.square(said - batch.action) * valid
        loss = squares.sum() / jnp.maximum(valid.sum(), 1.0)
        return loss, {"loss": loss, "error": squares.mean((1, 2))}, {}

    def act(self, variables: Variables, batch: Batch, rng: jax.Array) -> Float[Array, "b k a"]:
        return jnp.clip(self._say(variables["params"], batch, None), -1, 1)

    def param_axes(self) -> AxisRules:
        return ((r"hidden/kernel", ("embed", "mlp")), (r"out/kernel", ("mlp", "embed")))

    def _seen(self, params: Variables, batch: Batch) -> Float[Array, "b n"]:
        b = batch.proprio.shape[0]
        pixels = [jnp.asarray(image)[:, :, ::4, ::4].astype(jnp.float32) / 255 for image in batch.images.values()]
        words = params["words"][jnp.asarray(batch.text)].mean(1)
        robots = params["robots"][jnp.asarray(batch.embodiment)]
        parts = [*pixels, jnp.asarray(batch.proprio), jnp.asarray(batch.history_mask).astype(jnp.float32), words, robots]
        return jnp.concatenate([part.reshape(b, -1) for part in parts], -1)

    def _say(self, params: Variables, batch: Batch, rng: jax.Array | None) -> Float[Array, "b k a"]:
        hidden = jnp.tanh(self._seen(params, batch) @ params["hidden"]["kernel"] + params["hidden"]["bias"])
        if rng is not None:
            hidden = jnp.where(jax.random.bernoulli(rng, _KEPT, hidden.shape), hidden / _KEPT, 0.0)
        said = hidden @ params["out"]["kernel"] + params["out"]["bias"]
        return said.reshape(said.shape[0], self.config.chunk, -1)


def _zeros() -> Variables:
    return {"words": jnp.zeros((16, _WORD)), "robots": jnp.zeros((_MAX_ROBOTS, _WORD))}


def make_known() -> None:
    """Puts it into the table of families, in this process."""
    assert isinstance(families.FAMILIES, dict)
    families.FAMILIES[NAME] = families.Family(config=MinuteConfig, build=Minute)
