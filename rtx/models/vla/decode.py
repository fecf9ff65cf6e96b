"""Writing an answer: every loop lies inside the caller's compiled program, over a memory of static size.

    read -> hidden -> choose -> write -> hidden -> choose -> ...

    actions    n steps; at position j only the ids allowed there are multiplied and chosen from, so the answer is an action
    chunk      FAST: until every row's chunk is whole; no token that holds more than is missing is chosen from
    text       until every row has said EOS, or the room is full; rows that are done write padding
    planned    text until its end ("Action:"), then actions. Rows of a batch change over each at its own step

What a robot has promised to do (`Forced`) is said instead of what the network would say, and the rest decoded after it. FAST's
tokens are frequencies of the whole chunk: no first part of them is the first part of the motion, so they are never forced.

A row that ends without an action (EOS or a full room before the plan's end) is marked, never completed by guesswork.
Greedy at temperature 0; above it, sampled with the key given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rtx.models.vla.action_tokens import BinnedActions
from rtx.models.vla.config import EOS, PADDING
from rtx.models.vla.fast import FastActions
from rtx.models.vla.inputs import lengths

Memory = Any
"""A backbone's, opaque here."""
Spelling = BinnedActions | FastActions
"""How actions are said: `ids` by token, `lengths` of tokens, and what is `allowed_after` so much of a whole `length`."""


@dataclass(frozen=True, eq=False)
class Reader:
    """A backbone with its parameters."""

    network: nn.Module
    params: Any

    def __call__(self, pictures: Array, picture_mask: Array, prompt: Array, answer: Array) -> Float[Array, "b m d"]:
        return self.network.apply({"params": self.params}, pictures, picture_mask, prompt, answer)  # type: ignore[return-value]

    def read(self, pictures: Array, picture_mask: Array, prompt: Array, *, room: int) -> tuple[Float[Array, "b d"], Memory]:
        return self.network.apply({"params": self.params}, pictures, picture_mask, prompt, room=room, method="read")  # type: ignore[return-value]

    def write(self, tokens: Int[Array, "b n"], memory: Memory) -> tuple[Float[Array, "b n d"], Memory]:
        return self.network.apply({"params": self.params}, tokens, memory, method="write")  # type: ignore[return-value]

    def write_one(self, token: Int[Array, " b"], memory: Memory) -> tuple[Float[Array, "b d"], Memory]:
        hidden, memory = self.write(token[:, None], memory)
        return hidden[:, 0], memory

    def logits(self, hidden: Float[Array, "*n d"], ids: Int[Array, " r"] | None = None) -> Float[Array, "*n v"]:
        return self.network.apply({"params": self.params}, hidden, ids, method="logits")  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class Sampler:
    """How one of several tokens is chosen. `key` is needed above temperature 0 only."""

    temperature: float = 0.0
    key: jax.Array | None = None

    def __call__(self, logits: Float[Array, "*n v"], step: Int[Array, ""] | int) -> Int[Array, "*n"]:
        if not self.temperature:
            return jnp.argmax(logits, axis=-1).astype(jnp.int32)
        assert self.key is not None, "sampling needs a key"
        key = jax.random.fold_in(self.key, step)
        return jax.random.categorical(key, logits / self.temperature, axis=-1).astype(jnp.int32)


class Forced(NamedTuple):
    """How an action begins: the first `length` entries of each row of bins."""

    bins: Int[Array, "b n"]
    length: Int[Array, " b"]


def _instead(chosen: Int[Array, " b"], forced: Forced | None, position: Int[Array, "#b"]) -> Int[Array, " b"]:
    """`chosen`, or what stands at the rows' positions already."""
    if forced is None:
        return chosen
    place = jnp.broadcast_to(jnp.clip(position, 0, forced.bins.shape[1] - 1), chosen.shape)
    return jnp.where(position < forced.length, jnp.take_along_axis(forced.bins, place[:, None], axis=1)[:, 0], chosen)


GREEDY = Sampler()
Choose = Callable[[Array, Array | int], Array]
"""(logits `[*n, v]`, number of the token) -> `[*n]`; a `Sampler`, or `nearest_to_mean`."""


def nearest_to_mean(logits: Float[Array, "*n v"], step: Int[Array, ""] | int) -> Int[Array, "*n"]:
    """Of bins in order of value: the one nearest to the mean bin; the likeliest where that one is not allowed.

    Where a policy hesitates between many motions and standing still, standing still is the likeliest single bin though most of
    the probability lies on moving. Nothing is drawn: the same observation has the same answer.
    """
    chance = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    mean = jnp.round(chance @ jnp.arange(logits.shape[-1], dtype=jnp.float32)).astype(jnp.int32)
    is_allowed = jnp.isfinite(jnp.take_along_axis(logits, mean[..., None], axis=-1))[..., 0]
    return jnp.where(is_allowed, mean, GREEDY(logits, step))


def bin_logits(
    reader: Reader, actions: Spelling, hidden: Float[Array, "b n d"], allowed: Bool[Array, "#b #n v"]
) -> Float[Array, "b n v"]:
    """Logits of the bins, or FAST's tokens, only; -inf where one is not allowed."""
    return jnp.where(allowed, reader.logits(hidden, jnp.asarray(actions.ids, jnp.int32)), -jnp.inf)


def write_actions(
    reader: Reader,
    actions: BinnedActions,
    hidden: Float[Array, "b d"],
    memory: Memory,
    sampler: Choose = GREEDY,
    forced: Forced | None = None,
) -> Int[Array, "b n"]:
    """The bins of an action, token by token. `memory` has room for n - 1."""
    ids, allowed = jnp.asarray(actions.ids, jnp.int32), jnp.asarray(actions.allowed_bins)

    def choose(hidden: Array, position: Array) -> Array:
        chosen = sampler(bin_logits(reader, actions, hidden[:, None], allowed[position][None, None])[:, 0], position)
        return _instead(chosen, forced, position[None])

    def step(carry: tuple[Array, Memory], position: Array) -> tuple[tuple[Array, Memory], Array]:
        last, memory = carry
        hidden, memory = reader.write_one(ids[last], memory)
        chosen = choose(hidden, position)
        return (chosen, memory), chosen

    first = choose(hidden, jnp.int32(0))
    _, rest = jax.lax.scan(step, (first, memory), jnp.arange(1, actions.length, dtype=jnp.int32))
    return jnp.concatenate([first[:, None], rest.T], axis=1)


class _Chunk(NamedTuple):
    step: Int[Array, ""]
    tokens: Int[Array, "b n"]
    symbols: Int[Array, " b"]  # said so far
    memory: Memory


def write_chunk(
    reader: Reader, actions: FastActions, hidden: Float[Array, "b d"], memory: Memory, sampler: Choose = GREEDY
) -> Int[Array, "b n"]:
    """FAST's tokens of a chunk, -1 behind them. `memory` has room for n - 1."""
    b, n = hidden.shape[0], actions.length
    ids, extent = jnp.asarray(actions.ids, jnp.int32), jnp.asarray(actions.lengths)

    def said(state: _Chunk, hidden: Array, memory: Memory) -> _Chunk:
        allowed = actions.allowed_after(state.symbols)
        chosen = sampler(bin_logits(reader, actions, hidden[:, None], allowed[:, None])[:, 0], state.step)
        goes_on = state.symbols < n
        tokens = state.tokens.at[:, state.step].set(jnp.where(goes_on, chosen, -1))
        return _Chunk(state.step + 1, tokens, state.symbols + jnp.where(goes_on, extent[chosen], 0), memory)

    def step(state: _Chunk) -> _Chunk:
        last = state.tokens[:, state.step - 1]
        return said(state, *reader.write_one(jnp.where(last < 0, PADDING, ids[last]), state.memory))

    blank = _Chunk(jnp.int32(0), jnp.full((b, n), -1, jnp.int32), jnp.zeros(b, jnp.int32), memory)
    return jax.lax.while_loop(lambda state: jnp.any(state.symbols < n), step, said(blank, hidden, memory)).tokens


class _Text(NamedTuple):
    step: Int[Array, ""]
    tokens: Int[Array, "b m"]
    done: Bool[Array, " b"]
    memory: Memory


def write_text(
    reader: Reader, hidden: Float[Array, "b d"], memory: Memory, *, max_tokens: int, sampler: Sampler = GREEDY
) -> Int[Array, "b m"]:
    """Tokens up to EOS, which is kept (a row without it was cut), then padding. `memory` has room for `max_tokens` - 1."""
    b = hidden.shape[0]

    def said(state: _Text, hidden: Array, memory: Memory) -> _Text:
        token = jnp.where(state.done, PADDING, sampler(_text_logits(reader, hidden), state.step))
        tokens = state.tokens.at[:, state.step].set(token)
        return _Text(state.step + 1, tokens, state.done | (token == EOS), memory)

    def goes_on(state: _Text) -> Array:
        return (state.step < max_tokens) & ~jnp.all(state.done)

    def step(state: _Text) -> _Text:
        return said(state, *reader.write_one(state.tokens[:, state.step - 1], state.memory))

    blank = _Text(jnp.int32(0), jnp.zeros((b, max_tokens), jnp.int32), jnp.zeros(b, bool), memory)
    return jax.lax.while_loop(goes_on, step, said(blank, hidden, memory)).tokens


class Planned(NamedTuple):
    """A plan and the action after it. `bins` mean nothing where `is_action` is False."""

    plan: Int[Array, "b m"]  # up to its end, then padding
    bins: Int[Array, "b n"]  # or FAST's tokens and -1 behind them
    is_action: Bool[Array, " b"]


class _Planned(NamedTuple):
    step: Int[Array, ""]
    last: Int[Array, " b"]  # token said at the step before
    plan: Int[Array, "b m"]
    bins: Int[Array, "b n"]
    num_bins: Int[Array, " b"]
    position: Int[Array, " b"]  # how much of the action is said; -1: still planning, n: done
    failed: Bool[Array, " b"]
    memory: Memory


def write_planned(
    reader: Reader,
    actions: Spelling,
    hidden: Float[Array, "b d"],
    memory: Memory,
    *,
    plan_end: tuple[int, ...],
    max_plan: int,
    said: Int[Array, "b m"] | None = None,
    sampler: Sampler = GREEDY,
    forced: Forced | None = None,
) -> Planned:
    """A plan of at most `max_plan` tokens, `plan_end` included, and an action. `memory` has room for `max_plan` + n - 1.

    `said`: how the plan begins, padded to `max_plan`, and written already; `hidden` lies behind it. A whole plan goes on with
    the action. The whole vocabulary is multiplied only while some row still plans.
    """
    b, n = hidden.shape[0], actions.length
    ids, extent = jnp.asarray(actions.ids, jnp.int32), jnp.asarray(actions.lengths)
    begun = jnp.zeros((b, max_plan), jnp.int32) if said is None else said
    start = lengths(begun)

    def choose_text(hidden: Array, step: Array) -> Array:
        return sampler(_text_logits(reader, hidden), 2 * step)

    def chosen(state: _Planned, hidden: Array, memory: Memory) -> _Planned:
        planning = state.position < 0
        acting = ~planning & (state.position < n)
        allowed = actions.allowed_after(jnp.maximum(state.position, 0))
        bin_ = sampler(bin_logits(reader, actions, hidden[:, None], allowed[:, None])[:, 0], 2 * state.step + 1)
        bin_ = _instead(bin_, forced, state.position)
        word = jax.lax.cond(jnp.any(planning), lambda: choose_text(hidden, state.step), lambda: jnp.zeros(b, jnp.int32))
        row, place = jnp.arange(b), start + state.step
        plan = state.plan.at[row, jnp.where(planning, place, max_plan)].set(word, mode="drop")
        bins = state.bins.at[row, jnp.where(acting, state.num_bins, n)].set(bin_, mode="drop")
        ended = planning & (place < max_plan) & _ends_with(plan, place, plan_end)
        failed = planning & ~ended & ((word == EOS) | (place >= max_plan - 1))
        further = state.position + extent[bin_]
        position = jnp.select([ended, failed, acting], [0, n, further], state.position).astype(jnp.int32)
        last = jnp.where(planning, word, ids[bin_])
        return _Planned(state.step + 1, last, plan, bins, state.num_bins + acting, position, state.failed | failed, memory)

    def step(state: _Planned) -> _Planned:
        return chosen(state, *reader.write_one(state.last, state.memory))

    none, is_whole = jnp.zeros(b, jnp.int32), _ends_with(begun, start - 1, plan_end)
    blank = _Planned(
        jnp.int32(0), none, begun, jnp.full((b, n), -1, jnp.int32), none, jnp.where(is_whole, 0, -1), jnp.zeros(b, bool), memory
    )
    end = jax.lax.while_loop(lambda state: jnp.any(state.position < n), step, chosen(blank, hidden, memory))
    return Planned(end.plan, end.bins, ~end.failed)


def _text_logits(reader: Reader, hidden: Float[Array, "b d"]) -> Float[Array, "b v"]:
    """Padding is nothing to say."""
    return reader.logits(hidden).at[:, PADDING].set(-jnp.inf)


def _ends_with(tokens: Int[Array, "b m"], place: Int[Array, " b"], end: tuple[int, ...]) -> Bool[Array, " b"]:
    """Whether the tokens of a row up to and with its `place` end with `end`."""
    places = place[:, None] - len(end) + 1 + np.arange(len(end))
    found = jnp.take_along_axis(tokens, jnp.clip(places, 0, tokens.shape[1] - 1), axis=1)
    return jnp.all(found == jnp.asarray(end, jnp.int32), axis=1) & (place >= len(end) - 1)
