"""A vision-language-action model behind the Model protocol: one network that answers questions and moves robots.

    batch --inputs.py--> pictures, prompt, answer --backbone--> hidden --loss.py--> cross-entropy of what is to be said
                         pictures, prompt --backbone.read--> memory --decode.py--> tokens --action_tokens.py--> actions

`head` says how an action comes out: "tokens", one after another, each from the ids that may stand at its place; "parallel",
all in one pass from placeholders; the others, numbers from the hidden states of such placeholders (`heads/`).

A promise of what the robot will do meanwhile (`rtx.models.protocol.Promise`): bins said one after another go on from it
("forced"); diffusion and flow are drawn to it ("guided"); "parallel", "l1" and FAST's tokens answer all at once ("spliced").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rtx.errors import UserError
from rtx.models.protocol import AxisRules, Continuation, Metrics, Promise, Variables
from rtx.models.rows import mean_of_rows
from rtx.models.vla import decoder_only, encoder_decoder, fast_answers, inputs
from rtx.models.vla.action_tokens import BinnedActions
from rtx.models.vla.config import PaliGemmaConfig, VLAConfig
from rtx.models.vla.decode import (
    Choose,
    Forced,
    Memory,
    Planned,
    Reader,
    Sampler,
    Spelling,
    bin_logits,
    nearest_to_mean,
    write_actions,
    write_chunk,
    write_planned,
    write_text,
)
from rtx.models.vla.fast import FastActions
from rtx.models.vla.heads import Head, build_head
from rtx.models.vla.loss import cross_entropy
from rtx.spec import Batch

HEAD = "action_head"
"""Where the parameters of a head of numbers lie, beside the backbone's."""


@dataclass(frozen=True)
class VLA:
    """`Model` of `config` that `Continues`; see `rtx.models.protocol`. Keeps nothing besides "params"."""

    config: VLAConfig

    @property
    def actions(self) -> Spelling:
        """How this model spells an action. Raises UserError for quantile bins that were never fitted."""
        cfg = self.config
        if cfg.bins == "fast":
            return FastActions(
                chunk=cfg.chunk, action_dims=cfg.action_dims, merges=cfg.merges, ids=cfg.bin_ids[: cfg.num_fast_tokens],
                scale=cfg.fast_scale,
            )  # fmt: skip
        if cfg.bins == "quantile" and not cfg.bin_values:
            raise UserError("bins='quantile' needs bin_values: quantiles of the training data (action_tokens.quantile_values)")
        return BinnedActions(
            chunk=cfg.chunk, action_dims=cfg.action_dims, ids=cfg.bin_ids, terminate=cfg.terminate, values=cfg.bin_values
        )

    def init(self, rng: jax.Array, batch: Batch) -> Variables:
        """Raises UserError if the batch's shapes do not fit the config."""
        seen, there, prompt = self._read(batch)
        b, cfg = len(prompt), self.config
        params = self._network().init(rng, seen, there, prompt, jnp.zeros((b, 1), jnp.int32))["params"]
        if cfg.says_actions:
            return {"params": params}
        readouts = jnp.zeros((b, cfg.num_action_tokens, cfg.language.width))
        action = jnp.zeros((b, cfg.chunk, cfg.action_dims))
        head = self._head().init(rng, readouts, action, action == 0, rng, method="loss")
        return {"params": {**params, HEAD: head["params"]}}

    def loss(
        self, variables: Variables, batch: Batch, rng: jax.Array, *, train: bool
    ) -> tuple[Float[Array, ""], Metrics, Variables]:
        """Cross-entropy (nats) per token that is to be said; of a head of numbers, its loss per known action entry among them.

        Metrics are of rows, `[b]`: "accuracy" and "l1" of known action entries, chosen as when acting but after the true ones;
        "accuracy_text" of answers and plans, out of the whole vocabulary; "tokens", what the loss is a mean over; "loss". NaN
        where a row has nothing of the kind. FAST: accuracy of its tokens, and no "l1", for one other token makes
        another chunk; the loss is NaN for a batch that was not `spelled`.
        """
        cfg = self.config
        seen, there, prompt = self._read(batch)
        answer, reader = self._answer(batch), self.reader(variables)
        hidden = reader(seen, there, prompt, answer.written)
        entropy, hit = cross_entropy(reader.logits, hidden, answer.labels, answer.counted, vocab=cfg.language.vocab)
        total, tokens = jnp.where(answer.counted, entropy, 0.0).sum(1), answer.counted.sum(1, dtype=jnp.float32)
        metrics = {"accuracy_text": mean_of_rows(hit, answer.is_text)}
        readouts = _action_rows(hidden, answer.start, answer.bins.shape[1])
        if cfg.says_actions:
            metrics |= self._token_metrics(reader, jax.lax.stop_gradient(readouts), answer, batch)
        else:
            entries = answer.known.sum(1, dtype=jnp.float32)
            total += entries * self._head_loss(variables, readouts, batch, rng)
            tokens += entries
            if not train:  # it may take many steps to make an action
                metrics |= self._errors(self._head_act(variables, readouts, batch, rng), batch)
        # Only FAST can lack its tokens: a robot that has nothing to say must not teach that there is nothing.
        is_mute = inputs.is_robot(batch) & ~jnp.any(answer.known, axis=1)
        loss = jnp.where(jnp.any(is_mute), jnp.nan, total.sum() / jnp.maximum(tokens.sum(), 1.0))
        of_rows = jnp.where(tokens > 0, total / jnp.maximum(tokens, 1.0), jnp.nan)
        return loss, {**metrics, "tokens": tokens, "loss": of_rows}, {}

    @property
    def continuation(self) -> Continuation:
        """A chunk of one action is all promise or none."""
        cfg = self.config
        if cfg.chunk == 1 or cfg.bins == "fast":
            return "spliced"
        by_head: dict[str, Continuation] = {"tokens": "forced", "diffusion": "guided", "flow": "guided"}
        return by_head.get(cfg.head, "spliced")

    def act(
        self,
        variables: Variables,
        batch: Batch,
        rng: jax.Array,
        *,
        temperature: float = 0.0,
        promise: Promise | None = None,
    ) -> Float[Array, "b k a"]:
        """The action of `bin_choice`; sampled with `rng` above temperature 0, and always by heads that sample. NaN for a plan
        that led to no action. What is held of a `promise` comes back as its bins, or as it is."""
        if self.config.plan:
            planned = self.think(variables, batch, rng, temperature=temperature, promise=promise)
            return self.decoded(planned.bins, planned.is_action)
        hidden, memory = self.begin(variables, batch, room=self.config.num_action_tokens - 1)
        if not self.config.says_actions:
            return self._head_act(variables, self._readouts(self.reader(variables), hidden, memory), batch, rng, promise)
        is_mean = self.config.bin_choice == "mean" and not temperature
        choose = nearest_to_mean if is_mean else Sampler(temperature, rng)
        return self.decoded(self.bins_after(variables, hidden, memory, choose, self.forced(batch, promise)))

    def forced(self, batch: Batch, promise: Promise | None) -> Forced | None:
        """How the answers must begin, in bins; None where they are free. What a robot lacks is said as in training: as 0."""
        actions = self.actions
        if promise is None or self.continuation != "forced" or isinstance(actions, FastActions):
            return None
        known = promise.action if batch.action_mask is None else jnp.where(jnp.asarray(batch.action_mask), promise.action, 0.0)
        return Forced(actions.bin(known), promise.held * self.config.action_dims)

    def think(
        self,
        variables: Variables,
        batch: Batch,
        rng: jax.Array,
        *,
        temperature: float = 0.0,
        promise: Promise | None = None,
    ) -> Planned:
        """A plan and the action after it, of a model that plans."""
        cfg = self.config
        hidden, memory = self.begin(variables, batch, room=cfg.answer_length + cfg.num_action_tokens - 1)
        return write_planned(
            self.reader(variables), self.actions, hidden, memory,
            plan_end=cfg.plan_end, max_plan=cfg.answer_length, sampler=Sampler(temperature, rng),
            forced=self.forced(batch, promise),
        )  # fmt: skip

    def answer(
        self, variables: Variables, batch: Batch, rng: jax.Array, *, max_tokens: int, temperature: float = 0.0
    ) -> Int[Array, "b m"]:
        """Free text for `batch.text`, a question: ids with their EOS, then padding; a row without EOS was cut."""
        seen, there, prompt = self._read(batch, question=True)
        reader = self.reader(variables)
        hidden, memory = reader.read(seen, there, prompt, room=max_tokens - 1)
        return write_text(reader, hidden, memory, max_tokens=max_tokens, sampler=Sampler(temperature, rng))

    def bins_after(
        self, variables: Variables, hidden: Float[Array, "b d"], memory: Memory, choose: Choose, forced: Forced | None = None
    ) -> Int[Array, "b n"]:
        """The action's bins after what was read so far; `hidden` is its last row. Only tokens said in turn can be `forced`."""
        reader = self.reader(variables)
        actions = self.actions
        if isinstance(actions, FastActions):
            return write_chunk(reader, actions, hidden, memory, choose)
        if self.config.head == "tokens":
            return write_actions(reader, actions, hidden, memory, choose, forced)
        allowed = jnp.asarray(actions.allowed_bins)[None]
        return choose(bin_logits(reader, actions, self._readouts(reader, hidden, memory), allowed), 0)

    def decoded(self, bins: Int[Array, "b n"], is_action: Array | None = None) -> Float[Array, "b k a"]:
        """Bins, or FAST's tokens, to model space; NaN where there is no action."""
        action = self.actions.unbin(bins)
        return action if is_action is None else jnp.where(is_action[:, None, None], action, jnp.nan)

    def spelled(self, batch: Batch) -> Batch:
        """A host batch with FAST's tokens in its targets; the same one where actions become tokens on the device."""
        actions = self.actions
        return fast_answers.spelled(self.config, actions, batch) if isinstance(actions, FastActions) else batch

    def for_acting(self, variables: Variables) -> Variables:
        """Layers one by one: of a stack, XLA copies each matrix before it reads it."""
        family = decoder_only if isinstance(self.config, PaliGemmaConfig) else encoder_decoder
        return {**variables, "params": family.unrolled(variables["params"])}

    def param_axes(self) -> AxisRules:
        """Heads, feed-forward widths and the vocabulary may be split."""
        return AXES

    def _answer(self, batch: Batch) -> inputs.Answer:
        actions = self.actions
        if isinstance(actions, FastActions):
            return fast_answers.answer(self.config, actions, batch)
        return inputs.answer(self.config, actions, batch)

    def _token_metrics(
        self, reader: Reader, readouts: Float[Array, "b n d"], answer: inputs.Answer, batch: Batch
    ) -> dict[str, jax.Array]:
        actions = self.actions
        if isinstance(actions, FastActions):
            allowed = fast_answers.allowed(actions, answer)
            best = jnp.argmax(bin_logits(reader, actions, readouts, allowed), axis=-1)
            return {"accuracy": mean_of_rows(best == answer.bins, answer.known)}
        best = jnp.argmax(bin_logits(reader, actions, readouts, jnp.asarray(actions.allowed_bins)[None]), axis=-1)
        return {"accuracy": mean_of_rows(best == answer.bins, answer.known), **self._errors(actions.unbin(best), batch)}

    def _errors(self, action: Float[Array, "b k a"], batch: Batch) -> dict[str, jax.Array]:
        moves = np.arange(self.config.action_dims) != self.config.terminate
        error = jnp.abs(action - jnp.clip(jnp.asarray(batch.action), -1.0, 1.0))
        return {"l1": mean_of_rows(error, jnp.asarray(batch.action_mask) & moves)}

    def _readouts(self, reader: Reader, hidden: Float[Array, "b d"], memory: Memory) -> Float[Array, "b n d"]:
        """The hidden states of all action tokens at once, from placeholders."""
        rows, n = hidden[:, None], self.config.num_action_tokens
        if n == 1:
            return rows
        blanks = jnp.broadcast_to(inputs.placeholders(self.config, n)[:-1], (len(hidden), n - 1))
        return jnp.concatenate([rows, reader.write(blanks, memory)[0]], axis=1)

    def _head(self) -> Head:
        cfg = self.config
        return build_head(cfg.head, chunk=cfg.chunk, action_dims=cfg.action_dims, width=cfg.head_width)

    def _head_loss(self, variables: Variables, readouts: Array, batch: Batch, rng: jax.Array) -> Float[Array, " b"]:
        action, mask = jnp.asarray(batch.action), jnp.asarray(batch.action_mask)
        return self._head().apply({"params": variables["params"][HEAD]}, readouts, action, mask, rng, method="loss")  # type: ignore[return-value]

    def _head_act(
        self, variables: Variables, readouts: Array, batch: Batch, rng: jax.Array, promise: Promise | None = None
    ) -> Float[Array, "b k a"]:
        mask = None if batch.action_mask is None else jnp.asarray(batch.action_mask)
        return self._head().apply({"params": variables["params"][HEAD]}, readouts, rng, mask, promise, method="act")  # type: ignore[return-value]

    def begin(self, variables: Variables, batch: Batch, *, room: int) -> tuple[Float[Array, "b d"], Memory]:
        """What predicts a robot's first answer token, and a memory with room for `room` of them."""
        return self.reader(variables).read(*self._read(batch), room=room)

    def _read(self, batch: Batch, *, question: bool = False) -> tuple[jax.Array, jax.Array, jax.Array]:
        inputs.check_batch(self.config, batch)
        return *inputs.pictures(self.config, batch), inputs.prompt(self.config, batch, question=question)

    def reader(self, variables: Variables) -> Reader:
        """The backbone with these parameters."""
        return Reader(self._network(), variables["params"])

    def _network(self) -> nn.Module:
        return network(self.config)


AXES: AxisRules = (
    (r"MultiHeadDotProductAttention_0/(query|key|value)/kernel", (None, "embed", "heads", None)),
    (r"MultiHeadDotProductAttention_0/out/kernel", (None, "heads", None, "embed")),
    (r"MlpBlock_0/Dense_0/kernel", (None, "embed", "mlp")),
    (r"MlpBlock_0/Dense_1/kernel", (None, "mlp", "embed")),
    (r"attn/q_einsum/w", (None, "heads", "embed", None)),
    (r"attn/kv_einsum/w", (None, None, "heads", "embed", None)),
    (r"attn/attn_vec_einsum/w", (None, "heads", None, "embed")),
    (r"mlp/gating_einsum", (None, None, "embed", "mlp")),
    (r"mlp/linear", (None, "mlp", "embed")),
    (r"llm/embedder/input_embedding", ("vocab", "embed")),
    (r"layers/.*attention/(query|key|value)/kernel", (None, "embed", "heads")),
    (r"layers/.*attention/out/kernel", (None, "heads", "embed")),
    (r"layers/mlp/wi_\d/kernel", (None, "embed", "mlp")),
    (r"layers/mlp/wo/kernel", (None, "mlp", "embed")),
    (r"token_embedder/embedding", ("vocab", "embed")),
    (r"logits_dense/kernel", ("embed", "vocab")),
    (r"img/embedding/kernel", (None, None, None, "embed")),
    (r"(img/head|projection)/kernel", (None, "embed")),
)
"""Layers are stacked: their axis 0 is never split."""


def _action_rows(hidden: Float[Array, "b r d"], start: Int[Array, " b"], n: int) -> Float[Array, "b n d"]:
    """The rows that predict the action tokens; of questions, any rows."""
    places = jnp.clip(start[:, None] + jnp.arange(n), 0, hidden.shape[1] - 1)
    return jnp.take_along_axis(hidden, places[..., None], axis=1)


def network(config: VLAConfig) -> nn.Module:
    """The backbone of a config."""
    parts: dict[str, Any] = {"vision": config.vision, "language": config.language}
    family = decoder_only.DecoderOnly if isinstance(config, PaliGemmaConfig) else encoder_decoder.EncoderDecoder
    return family(**parts, dtype=jnp.dtype(config.compute_dtype), remat=config.remat)
