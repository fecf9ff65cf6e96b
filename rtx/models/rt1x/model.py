"""A published RT-1 behind the Model protocol: initialisation, loss, acting, and acting with remembered frames.

A batch's frames before the episode's start are black, as in the release, and are seen like any other. Its actions, `[b, k, a]`
with any k up to the history, are those of the last k frames: k = history trains every frame of the window, as published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rtx.errors import UserError
from rtx.models.protocol import AxisRules, Memory, Metrics, Variables
from rtx.models.rows import mean_of_rows
from rtx.models.rt1x import actions
from rtx.models.rt1x.config import RT1XConfig
from rtx.models.rt1x.network import RT1XNetwork
from rtx.spec import Batch

_DROPOUT = 0  # fold_in constant of the only random stream


@dataclass(frozen=True)
class RT1X:
    """`Model` and `Remembers` of `config`; see `rtx.models.protocol`. Keeps "batch_stats" besides "params"."""

    config: RT1XConfig

    def init(self, rng: jax.Array, batch: Batch) -> Variables:
        """Raises UserError if the batch's shapes do not fit the config."""
        frames, sentence = self._seen(batch)
        variables = self._network().init({"params": rng}, frames, sentence, num_steps=1, train=False)
        return {name: variables[name] for name in ("params", "batch_stats")}

    def logits(
        self, variables: Variables, batch: Batch, rng: jax.Array, *, num_steps: int, train: bool
    ) -> tuple[Float[Array, "b k 11 v"], Mapping[str, Any]]:
        """One distribution per action token of the last `num_steps` frames, before softmax, float32; and batch_stats after."""
        frames, sentence = self._seen(batch)
        if not train:
            logits: Any = self._network().apply(variables, frames, sentence, num_steps=num_steps, train=False)
            return logits, variables["batch_stats"]
        rngs = {"dropout": jax.random.fold_in(rng, _DROPOUT)}
        logits, changed = self._network().apply(
            variables, frames, sentence, num_steps=num_steps, train=True, rngs=rngs, mutable=["batch_stats"]
        )
        return logits, changed["batch_stats"]

    def loss(
        self, variables: Variables, batch: Batch, rng: jax.Array, *, train: bool
    ) -> tuple[Float[Array, ""], Metrics, Variables]:
        """Cross-entropy (nats) per token, over all tokens or over known ones (`loss_over`). Metrics are of rows, `[b]`: it,
        and others over known ones."""
        action, mask = jnp.asarray(batch.action), jnp.asarray(batch.action_mask)
        num_steps = action.shape[1]
        logits, stats = self.logits(variables, batch, rng, num_steps=num_steps, train=train)
        is_real = jnp.asarray(batch.history_mask)[:, -num_steps:, None]
        labels = jnp.where(is_real, actions.encode(self.config, action), actions.still_tokens(self.config))
        entropy = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], -1)[..., 0]
        known = actions.known_tokens(mask).astype(jnp.float32)
        counted = jnp.ones_like(known) if self.config.loss_over == "all" else known
        metrics = self._metrics(logits, labels, known, action, mask) | {"loss": mean_of_rows(entropy, counted)}
        return _mean(entropy, counted), metrics, {"batch_stats": stats}

    def act(self, variables: Variables, batch: Batch, rng: jax.Array) -> Float[Array, "b k a"]:
        """The most likely action after the last frame; `rng` is unused (RT-1 does not sample)."""
        logits, _ = self.logits(variables, batch, rng, num_steps=1, train=False)
        return actions.decode(self.config, jnp.argmax(logits, -1))

    def remember(self, variables: Variables, batch: Batch) -> Memory:
        """Image tokens of a whole window, `[b, t, m, f]`."""
        frames, sentence = self._seen(batch)
        return self._network().apply(variables, frames, sentence, train=False, method="encode")

    def act_again(
        self, variables: Variables, memory: Memory, batch: Batch, rng: jax.Array
    ) -> tuple[Float[Array, "b k a"], Memory]:
        """`batch` holds the newest frame only: it is encoded, the oldest is forgotten."""
        frames, sentence = self._seen(batch, frames=1)
        newest: Any = self._network().apply(variables, frames, sentence, train=False, method="encode")
        memory = jnp.concatenate([memory[:, 1:], newest], 1)
        logits: Any = self._network().apply(variables, memory, num_steps=1, train=False, method="attend")
        return actions.decode(self.config, jnp.argmax(logits, -1)), memory

    def param_axes(self) -> AxisRules:
        """Heads and feed-forward widths may be split; the image tokenizer is replicated."""
        return (
            (r"Transformer_0/.*/(query|key|value)/kernel", ("embed", "heads", None)),
            (r"Transformer_0/.*/out/kernel", ("heads", None, "embed")),
            (r"Transformer_0/TransformerBlock_\d+/Dense_[01]/kernel", ("embed", "mlp")),
            (r"Transformer_0/TransformerBlock_\d+/Dense_2/kernel", ("mlp", "embed")),
            (r"Transformer_0/Dense_2/kernel", ("embed", "vocab")),
        )

    def _network(self) -> RT1XNetwork:
        return RT1XNetwork(self.config)

    def _seen(self, batch: Batch, frames: int | None = None) -> tuple[jax.Array, jax.Array]:
        """Pictures, black where there is none, and the instruction's vector."""
        check_batch(self.config, batch, frames=frames or self.config.history)
        role = self.config.roles[0]
        there = jnp.asarray(batch.image_mask[role]) & jnp.asarray(batch.history_mask)
        pictures = jnp.where(there[..., None, None, None], jnp.asarray(batch.images[role]), jnp.uint8(0))
        return pictures, jnp.asarray(batch.text, jnp.float32)

    def _metrics(
        self,
        logits: Float[Array, "b k 11 v"],
        labels: Int[Array, "b k 11"],
        known: Float[Array, "b k 11"],
        action: Float[Array, "b k a"],
        mask: Array,
    ) -> dict[str, jax.Array]:
        best = jnp.argmax(logits, -1)
        error = jnp.abs(actions.decode(self.config, best) - jnp.clip(action, -1.0, 1.0))
        moves = np.arange(self.config.action_dims) != 7  # all but terminate
        hit = (best == labels).astype(jnp.float32)
        return {
            "accuracy": mean_of_rows(hit, known),
            "accuracy_last": mean_of_rows(hit[:, -1], known[:, -1]),  # of the action executed next
            "l1": mean_of_rows(error, mask.astype(jnp.float32) * moves),
        }


def check_batch(config: RT1XConfig, batch: Batch, *, frames: int) -> None:
    """Compares shapes with the config, all problems at once; runs at trace time only. Raises UserError."""
    role = config.roles[0]
    shape = np.shape(batch.images.get(role, ()))
    problems = []
    if shape[1:] != (frames, *config.image_size, 3):
        problems.append(f"camera {role!r} has shape {list(shape)}, expected [b, {frames}, {config.image_size}, 3]")
    if np.shape(batch.text)[1:] != (config.sentence_width,) or not np.issubdtype(np.result_type(batch.text), np.floating):
        problems.append(
            f"text is {np.result_type(batch.text)}{list(np.shape(batch.text))}, expected float32[b, {config.sentence_width}]: "
            "this model reads an instruction as one vector, not as words"
        )
    if batch.action is not None and not _fits(np.shape(batch.action), config):
        problems.append(f"action has shape {list(np.shape(batch.action))}, expected [b, 1..{frames}, {config.action_dims}]")
    if problems:
        raise UserError("batch does not fit the RT-1-X config: " + "; ".join(problems))


def _fits(shape: tuple[int, ...], config: RT1XConfig) -> bool:
    return len(shape) == 3 and 1 <= shape[1] <= config.history and shape[2] == config.action_dims


def _mean(value: Float[Array, "*n"], weight: Float[Array, "*n"]) -> Float[Array, ""]:
    return jnp.sum(value * weight) / jnp.maximum(jnp.sum(weight), 1.0)
