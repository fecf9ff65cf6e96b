"""RT-1 behind the Model protocol: initialisation, loss, decoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rtx.errors import UserError
from rtx.models.action_tokens import UniformTokenizer
from rtx.models.protocol import AxisRules, Metrics, Variables
from rtx.models.rows import mean_of_rows
from rtx.models.rt1.config import RT1Config
from rtx.models.rt1.network import RT1Network
from rtx.spec import Batch

_DROPOUT = 0  # fold_in constant of the only random stream


@dataclass(frozen=True)
class RT1:
    """`Model` of `config`; see `rtx.models.protocol`. Keeps nothing besides "params"."""

    config: RT1Config

    @property
    def tokenizer(self) -> UniformTokenizer:
        return UniformTokenizer(num_bins=self.config.num_bins, rounding=self.config.rounding)

    def init(self, rng: jax.Array, batch: Batch) -> Variables:
        """Raises UserError if the batch's shapes do not fit the config."""
        check_batch(self.config, batch)
        return {"params": self._network().init(rng, jax.tree.map(jnp.asarray, batch), train=False)["params"]}

    def logits(self, variables: Variables, batch: Batch, rng: jax.Array, *, train: bool) -> Float[Array, "b k a v"]:
        """One distribution per action entry, before softmax, float32."""
        check_batch(self.config, batch)
        rngs = {"dropout": jax.random.fold_in(rng, _DROPOUT)} if train else {}
        on_device = jax.tree.map(jnp.asarray, batch)  # host arrays are welcome
        logits: jax.Array = self._network().apply({"params": variables["params"]}, on_device, train=train, rngs=rngs)  # type: ignore[assignment]
        return logits

    def loss(
        self, variables: Variables, batch: Batch, rng: jax.Array, *, train: bool
    ) -> tuple[Float[Array, ""], Metrics, Variables]:
        """Cross-entropy (nats) per valid action entry. Metrics are of rows, `[b]`: it, token accuracy, decoded errors in model
        space."""
        logits = self.logits(variables, batch, rng, train=train)
        action, valid = jnp.asarray(batch.action), jnp.asarray(batch.action_mask).astype(jnp.float32)
        labels = soft_labels(self.config, self.tokenizer, action)
        entropy = -jnp.sum(labels * jax.nn.log_softmax(logits), axis=-1)
        loss = _mean(entropy, valid)
        return loss, self._metrics(logits, action, valid) | {"loss": mean_of_rows(entropy, valid)}, {}

    def act(self, variables: Variables, batch: Batch, rng: jax.Array) -> Float[Array, "b k a"]:
        """The most likely action; `rng` is unused (RT-1 does not sample)."""
        return decode(self.config, self.tokenizer, self.logits(variables, batch, rng, train=False))

    def param_axes(self) -> AxisRules:
        """Heads and feed-forward widths may be split; the rest is small."""
        return (
            (r"Transformer_0/.*/(query|key|value)/kernel", ("embed", "heads", None)),
            (r"Transformer_0/.*/out/kernel", ("heads", None, "embed")),
            (r"Transformer_0/TransformerBlock_\d+/Dense_[01]/kernel", ("embed", "mlp")),
            (r"Transformer_0/TransformerBlock_\d+/Dense_2/kernel", ("mlp", "embed")),
            (r"Transformer_0/Dense_2/kernel", ("embed", "vocab")),
        )

    def _network(self) -> RT1Network:
        return RT1Network(self.config)

    def _metrics(
        self, logits: Float[Array, "b k a v"], action: Float[Array, "b k a"], valid: Float[Array, "b k a"]
    ) -> dict[str, jax.Array]:
        hit = (jnp.argmax(logits, -1) == self.tokenizer.encode(action)).astype(jnp.float32)
        error = jnp.abs(decode(self.config, self.tokenizer, logits) - jnp.clip(action, -1.0, 1.0))
        categorical = jnp.asarray(_categorical(self.config))
        return {
            "accuracy": mean_of_rows(hit, valid),
            "categorical_accuracy": mean_of_rows(hit, valid * categorical),
            "l1": mean_of_rows(error, valid * ~categorical),
            "l1_first": mean_of_rows(error[:, 0], (valid * ~categorical)[:, 0]),  # of the action executed next
        }


def soft_labels(config: RT1Config, tokenizer: UniformTokenizer, action: Float[Array, "*b a"]) -> Float[Array, "*b a v"]:
    """Target distributions: Gaussian in continuous dimensions, one-hot in categorical ones."""
    smooth = tokenizer.soft_labels(action, sigma_bins=config.label_sigma_bins)
    hard = tokenizer.soft_labels(action, sigma_bins=0.0)
    return jnp.where(jnp.asarray(_categorical(config))[:, None], hard, smooth)


def decode(config: RT1Config, tokenizer: UniformTokenizer, logits: Float[Array, "*b a v"]) -> Float[Array, "*b a"]:
    """Logits to model space: argmax, or the expectation around it in continuous dimensions."""
    best = tokenizer.decode(jnp.argmax(logits, axis=-1))
    if config.decode == "argmax":
        return best
    fine = tokenizer.expectation(logits, radius_bins=config.expectation_radius_bins)
    return jnp.where(jnp.asarray(_categorical(config)), best, fine)


def check_batch(config: RT1Config, batch: Batch) -> None:
    """Compares shapes with the config, all problems at once; runs at trace time only. Raises UserError."""
    problems = _shape_problems(config, batch)
    if problems:
        raise UserError("batch does not fit the RT-1 config: " + "; ".join(problems))


def _shape_problems(config: RT1Config, batch: Batch) -> list[str]:
    def differs(name: str, value: Any, tail: tuple[int, ...]) -> list[str]:
        got = tuple(np.shape(value))
        return [] if got[1:] == tail else [f"{name} has shape {list(got)}, expected [b, {', '.join(map(str, tail))}]"]

    problems = [
        f"camera {role!r} is missing (batch has {sorted(batch.images)})" for role in config.roles if role not in batch.images
    ]
    side = 2 * config.patch
    for role in set(config.roles) & set(batch.images):
        _, t, h, w, c = np.shape(batch.images[role])
        if t != config.history or c != 3 or h % side or w % side:
            expected = f"[{config.history}, h, w, 3] with h and w divisible by {side}"
            problems.append(f"camera {role!r} has shape {[t, h, w, c]} per sample, expected {expected}")
    problems += differs("proprio", batch.proprio, (config.history, config.proprio_dims))
    problems += differs("text", batch.text, (config.text_length,))
    if batch.action is not None:
        problems += differs("action", batch.action, (config.chunk, config.action_dims))
    return problems


def _categorical(config: RT1Config) -> np.ndarray:
    return np.isin(np.arange(config.action_dims), config.categorical_dims)


def _mean(value: Float[Array, "*n"], weight: Float[Array, "*n"]) -> Float[Array, ""]:
    return jnp.sum(value * weight) / jnp.maximum(jnp.sum(weight), 1.0)


def num_parameters(variables: Mapping[str, Any]) -> int:
    """Count of numbers under "params"."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(variables["params"]))
