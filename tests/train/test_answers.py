"""Answers count as right word for word, up to their end; only questions are asked."""

import dataclasses
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from rtx.train import imitation
from rtx.train.answers import EXACT, has_questions, make_exact_match
from rtx.train.state import TrainState
from tests.models.vla import tiny_vla

TARGET = [[0, 0, 0, 0], [5, 6, 1, 0], [5, 6, 1, 0], [7, 1, 0, 0], [7, 8, 9, 9], [5, 1, 0, 0]]
SAID = [[0, 0, 0, 0], [5, 6, 1, 0], [5, 6, 2, 1], [7, 1, 4, 4], [7, 8, 9, 9], [5, 1, 0, 0]]


@dataclass(frozen=True)
class Parrot:
    """Answers with what its parameters say."""

    def answer(self, variables, batch, rng, *, max_tokens, temperature=0.0):
        assert temperature == 0.0
        return variables["params"]["said"][:, :max_tokens]


def questions():
    """A robot, five questions (right; right, but it goes on; right up to its end; cut without an end; a row of filling)."""
    batch = tiny_vla.batch(tiny_vla.paligemma(), size=6)
    return dataclasses.replace(
        batch,
        target=np.array(TARGET, np.int32),
        action_mask=np.arange(6)[:, None, None] + np.zeros_like(batch.action_mask, int) == 0,
        embodiment=np.array([0, 1, 1, 1, 2, 2], np.int32),
        sample=np.array([0, 1, 2, 3, 4, -1]),
    )


def state_saying(said) -> TrainState:
    zero = jnp.zeros((), jnp.int32)
    params = {"said": jnp.asarray(said, jnp.int32)}
    return TrainState(
        step=zero, variables={"params": params}, ema=None, opt_state=(), rng=jnp.zeros(2, jnp.uint32), nonfinite=zero,
        nonfinite_in_a_row=zero,
    )  # fmt: skip


def test_an_answer_is_right_up_to_its_end_or_wrong():
    sums = make_exact_match(Parrot(), 3)(state_saying(SAID), imitation.place(questions()))[EXACT]
    assert sums.weight.tolist() == [0, 3, 1], "neither the robot nor the row of filling is asked"
    assert sums.total.tolist() == [0, 2, 1]


def test_batches_without_questions_are_not_answered():
    batch = questions()
    assert has_questions(batch)
    assert not has_questions(dataclasses.replace(batch, target=None))
    assert not has_questions(dataclasses.replace(batch, target=np.zeros_like(batch.target)))
    assert not has_questions(dataclasses.replace(batch, sample=np.full(6, -1)))
    assert not has_questions(dataclasses.replace(batch, action_mask=np.ones_like(batch.action_mask)))
