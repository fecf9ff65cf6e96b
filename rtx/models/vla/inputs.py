"""From a batch to what a backbone reads: pictures in a row, the prompt, and the answer joined from its parts.

    images  role -> [b, t, h, w, 3]      ->  pictures [b, t * roles, h, w, 3]     oldest frame first, roles in order
    text    [b, l], proprio [b, t, p]    ->  prompt   [b, l + p]                  the newest state as bins behind the text
    target  [b, m], action [b, k, a]     ->  answer   [b, r]

                    robot                                      question
    answer          plan | action tokens | EOS | 0 0           text | EOS | 0 0 ...
    counted         1 1    1 where known   1     0 0           1      1     0 0

Everything runs on the device: the loader knows neither bins nor ids (FAST: `fast_answers.py`). Valid tokens lie at the left,
whatever was joined.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt8

from rtx.errors import UserError
from rtx.models.action_tokens import UniformTokenizer
from rtx.models.vla.action_tokens import BinnedActions
from rtx.models.vla.config import EOS, PADDING, VLAConfig
from rtx.spec import Batch


class Answer(NamedTuple):
    """What is to be said. Positions of one row: text up to `start`, then the n action tokens of a robot, then EOS."""

    written: Int[Array, "b r"]  # what the network reads of it: `labels`, or placeholders where actions are said in one pass
    labels: Int[Array, "b r"]
    counted: Bool[Array, "b r"]  # part of the loss
    is_text: Bool[Array, "b r"]  # of `Batch.target`
    start: Int[Array, " b"]  # position of the first action token
    bins: Int[Array, "b n"]  # of the actions
    known: Bool[Array, "b n"]  # nowhere in questions


def pictures(config: VLAConfig, batch: Batch) -> tuple[UInt8[Array, "b i h w 3"], Bool[Array, "b i"]]:
    """All pictures of a sample, and which of them are there: real frames of cameras the robot has."""
    stacked = jnp.stack([jnp.asarray(batch.images[role]) for role in config.roles], axis=2)
    seen = jnp.stack([jnp.asarray(batch.image_mask[role]) for role in config.roles], axis=2)
    seen &= jnp.asarray(batch.history_mask)[:, :, None]
    b = stacked.shape[0]
    return stacked.reshape(b, config.num_pictures, *stacked.shape[3:]), seen.reshape(b, config.num_pictures)


def prompt(config: VLAConfig, batch: Batch, *, question: bool = False) -> Int[Array, "b l"]:
    """The text, and behind it the newest state of a robot. `question`: nobody's state belongs to it."""
    text = jnp.asarray(batch.text, jnp.int32)
    if not config.proprio_dims:
        return text
    bins = UniformTokenizer(num_bins=config.num_bins).encode(jnp.asarray(batch.proprio)[:, -1])
    state = jnp.asarray(config.bin_ids, jnp.int32)[bins]
    if question:
        state = jnp.full_like(state, PADDING)
    elif batch.action_mask is not None:
        state = jnp.where(is_robot(batch)[:, None], state, PADDING)
    return join(text, state, lengths(text))


def answer(config: VLAConfig, actions: BinnedActions, batch: Batch) -> Answer:
    """The answer of each sample. `batch` has actions; `batch.target` may be None."""
    robot = is_robot(batch)
    ids, known = actions.encode(jnp.asarray(batch.action), jnp.asarray(batch.action_mask))
    b, n = ids.shape
    target = jnp.zeros((b, 0), jnp.int32) if batch.target is None else jnp.asarray(batch.target, jnp.int32)
    if not config.plan:
        target = jnp.where(robot[:, None], PADDING, target)
    start = lengths(target)
    # Without plans an answer is either text or an action, so the longer of the two is room enough.
    room = target.shape[1] + n + 1 if config.plan else max(target.shape[1], n + 1)

    def joined(said: Array) -> Array:
        """`target`, then this and EOS for robots."""
        tail = jnp.concatenate([said, jnp.full((b, 1), EOS, jnp.int32)], 1)
        return join(target, jnp.where(robot[:, None], tail, PADDING), start)[:, :room]

    labels = joined(ids)
    place = jnp.arange(room) - start[:, None]  # of action tokens: 0 .. n - 1, then EOS
    is_text = (place < 0) & (labels != PADDING)
    is_known = jnp.take_along_axis(jnp.pad(known, ((0, 0), (0, 1)), constant_values=True), jnp.clip(place, 0, n), axis=1)
    counted = is_text | ((place >= 0) & (place <= n) & robot[:, None] & is_known)
    if not config.says_actions:
        counted = is_text  # a head of its own answers for the actions
    written = labels if config.head == "tokens" else joined(jnp.broadcast_to(placeholders(config, n), (b, n)))
    return Answer(written, labels, counted, is_text, start, actions.bin(jnp.asarray(batch.action)), known & robot[:, None])


def placeholders(config: VLAConfig, count: int) -> Int[Array, " n"]:
    """What stands in for tokens that are all said in one pass: the ids of the bins in turn, so that places differ.

    Relative positions alone would not tell the places of equal tokens apart. Causal order is no loss: no place knows more
    about the action than another.
    """
    return jnp.asarray(np.resize(np.asarray(config.bin_ids, np.int32), count))


def is_robot(batch: Batch) -> Bool[Array, " b"]:
    """Samples with actions; the others are questions about pictures."""
    return jnp.any(jnp.asarray(batch.action_mask), axis=(1, 2))


def lengths(tokens: Int[Array, "b n"]) -> Int[Array, " b"]:
    """Tokens before the padding."""
    return jnp.sum(tokens != PADDING, axis=1, dtype=jnp.int32)


def behind(tokens: Int[Array, "b r"], end: tuple[int, ...]) -> Int[Array, " b"]:
    """The place behind the first `end`; 0 for rows without."""
    windows = tokens.shape[1] - len(end) + 1
    if not end or windows < 1:
        return jnp.zeros(len(tokens), jnp.int32)
    found = jnp.all(jnp.stack([tokens[:, i : i + windows] == id_ for i, id_ in enumerate(end)]), axis=0)
    return jnp.where(jnp.any(found, axis=1), jnp.argmax(found, axis=1) + len(end), 0).astype(jnp.int32)


def join(first: Int[Array, "b m"], second: Int[Array, "b n"], count: Int[Array, " b"]) -> Int[Array, "b r"]:
    """The first `count` tokens of each row of `first`, the row of `second` right behind them, then padding; r = m + n."""
    (_, m), n = first.shape, second.shape[1]
    place = jnp.arange(m + n)
    behind = place - count[:, None]
    moved = jnp.take_along_axis(second, jnp.clip(behind, 0, n - 1), axis=1)
    kept = jnp.pad(first, ((0, 0), (0, n)))
    return jnp.where(behind < 0, kept, jnp.where(behind < n, moved, PADDING))


def check_batch(config: VLAConfig, batch: Batch) -> None:
    """Compares shapes with the config, all problems at once; runs at trace time only. Texts may be narrower.

    Raises UserError.
    """
    expected: dict[str, tuple[Any, tuple[int, ...]]] = {
        f"camera {role!r}": (batch.images.get(role, 0), (config.history, *config.image_size, 3)) for role in config.roles
    }
    if config.proprio_dims:
        expected["proprio"] = (batch.proprio, (config.history, config.proprio_dims))
    if batch.action is not None:
        expected["action"] = (batch.action, (config.chunk, config.action_dims))
    problems = [
        f"{name} has shape {list(np.shape(value))}, expected [b, {', '.join(map(str, tail))}]"
        for name, (value, tail) in expected.items()
        if np.shape(value)[1:] != tail
    ]
    for name, length in (("text", config.text_length), ("target", config.target_length)):
        ids = getattr(batch, name)
        if ids is not None and not (np.ndim(ids) == 2 and np.shape(ids)[1] <= length and _is_integer(ids)):
            problems.append(
                f"{name} is {np.result_type(ids)}{list(np.shape(ids))}, expected ids int32[b, {length}] or narrower"
            )
    if problems:
        raise UserError("batch does not fit the vision-language-action config: " + "; ".join(problems))


def _is_integer(ids: Any) -> bool:
    return np.issubdtype(np.result_type(ids), np.integer)
