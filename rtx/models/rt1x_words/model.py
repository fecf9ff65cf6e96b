"""The model: a text encoder in front of `RT1X`, behind the same protocol.

params = {"text": of the encoder, and RT-1-X's own}     every other collection is RT-1-X's
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rtx.errors import UserError
from rtx.models.protocol import AxisRules, Memory, Metrics, Variables
from rtx.models.rt1x.model import RT1X
from rtx.models.rt1x_words.config import RT1XWordsConfig
from rtx.models.rt1x_words.encoder import TextEncoder
from rtx.spec import Batch

_TEXT = "text"


@dataclass(frozen=True)
class RT1XWords:
    """`Model` and `Remembers` of `config`; see `rtx.models.protocol`."""

    config: RT1XWordsConfig

    def init(self, rng: jax.Array, batch: Batch) -> Variables:
        """Raises UserError if the batch's shapes do not fit the config."""
        text = _checked(self.config, batch)
        encoder = self._encoder().init(jax.random.fold_in(rng, 1), text)["params"]
        rest = dict(self._policy.init(jax.random.fold_in(rng, 0), self._told({_TEXT: encoder}, batch)))
        return {**rest, "params": {**rest["params"], _TEXT: encoder}}

    def loss(
        self, variables: Variables, batch: Batch, rng: jax.Array, *, train: bool
    ) -> tuple[Float[Array, ""], Metrics, Variables]:
        """As `RT1X.loss`; the gradient reaches the text encoder through FiLM."""
        own, batch = self._split(variables, batch)
        return self._policy.loss(own, batch, rng, train=train)

    def act(self, variables: Variables, batch: Batch, rng: jax.Array) -> Float[Array, "b k a"]:
        """As `RT1X.act`."""
        own, batch = self._split(variables, batch)
        return self._policy.act(own, batch, rng)

    def remember(self, variables: Variables, batch: Batch) -> Memory:
        own, batch = self._split(variables, batch)
        return self._policy.remember(own, batch)

    def act_again(
        self, variables: Variables, memory: Memory, batch: Batch, rng: jax.Array
    ) -> tuple[Float[Array, "b k a"], Memory]:
        own, batch = self._split(variables, batch)
        return self._policy.act_again(own, memory, batch, rng)

    def param_axes(self) -> AxisRules:
        """The text encoder is small and replicated."""
        return self._policy.param_axes()

    @property
    def _policy(self) -> RT1X:
        return RT1X(self.config)

    def _encoder(self) -> TextEncoder:
        return TextEncoder(self.config)

    def _split(self, variables: Variables, batch: Batch) -> tuple[dict[str, Any], Batch]:
        """RT-1-X's own variables, and the batch with a vector in place of the pieces."""
        _checked(self.config, batch)
        params = variables["params"]
        own = {name: value for name, value in params.items() if name != _TEXT}
        return {**variables, "params": own}, self._told(params, batch)

    def _told(self, params: Mapping[str, Any], batch: Batch) -> Batch:
        sentence: Any = self._encoder().apply({"params": params[_TEXT]}, jnp.asarray(batch.text))
        return dataclasses.replace(batch, text=sentence)


def _checked(config: RT1XWordsConfig, batch: Batch) -> jax.Array:
    shape, dtype = tuple(np.shape(batch.text)), np.result_type(batch.text)
    if shape[1:] != (config.text_length,) or not np.issubdtype(dtype, np.integer):
        raise UserError(
            f"batch does not fit the RT-1-X config: text is {dtype}{list(shape)}, expected int32[b, {config.text_length}]: "
            "this model reads pieces of words"
        )
    return jnp.asarray(batch.text)
