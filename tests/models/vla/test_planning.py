"""A plan is kept for some steps, and everything else is seen anew."""

import dataclasses

import jax
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.protocol import Remembers
from rtx.models.vla.decode import GREEDY
from rtx.models.vla.inputs import lengths
from rtx.models.vla.planning import PlanningVLA
from tests.models.vla.tiny_vla import FAMILIES, acting, batch, model_and_variables, rows

RNG = jax.random.key(0)
STEPS = 2


def planning(family):
    """A model with a plan of two or three tokens: whatever it says, its third token is made the end of plans."""
    model, variables = model_and_variables(family())
    for seed in range(20):
        b = acting(rows(batch(model.config, seed=seed), np.array([0])))
        said = np.asarray(jax.jit(lambda v, x: model.answer(v, x, RNG, max_tokens=3))(variables, b))[0]
        if len(set(said.tolist())) == 3 and 1 not in said and 0 not in said:
            config = dataclasses.replace(model.config, plan=True, plan_end=(int(said[2]),), plan_steps=STEPS)
            return PlanningVLA(config), variables, b, said
    raise AssertionError("no weights that say three different tokens")


def newest(b, seed):
    """One frame more."""
    return rows_of_frames(batch_like(b, seed), slice(-1, None))


def batch_like(b, seed):
    rng = np.random.default_rng(seed)
    images = {role: rng.integers(0, 256, image.shape, np.uint8) for role, image in b.images.items()}
    return dataclasses.replace(b, images=images)


def rows_of_frames(b, take):
    return dataclasses.replace(
        b, images={r: x[:, take] for r, x in b.images.items()}, image_mask={r: x[:, take] for r, x in b.image_mask.items()},
        history_mask=b.history_mask[:, take], proprio=b.proprio[:, take],
    )  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_session_follows_one_plan_for_some_steps(family):
    model, variables, b, said = planning(family)
    assert isinstance(model, Remembers)
    past = rows_of_frames(b, [0, 0])
    memory = jax.jit(model.remember)(variables, past)
    act_again = jax.jit(model.act_again)
    action, memory = act_again(variables, memory, rows_of_frames(b, slice(-1, None)), RNG)
    np.testing.assert_array_equal(memory.plan[0], [*said, 0, 0])
    np.testing.assert_array_equal(action, jax.jit(model.act)(variables, b, RNG))
    assert np.isfinite(action).all()

    later = newest(b, 1)
    action, memory = act_again(variables, memory, later, RNG)
    np.testing.assert_array_equal(memory.plan[0], [*said, 0, 0])
    seen = rows_of_frames(b, slice(1, None))
    joined = dataclasses.replace(
        b, images={r: np.concatenate([seen.images[r], later.images[r]], 1) for r in b.images},
        proprio=np.concatenate([seen.proprio, later.proprio], 1),
    )  # fmt: skip

    def follow(variables, plan):  # token by token, without padding
        hidden, written = model.begin(variables, joined, room=30)
        for token in plan:
            hidden, written = model.reader(variables).write_one(token[None], written)
        return model.decoded(model.bins_after(variables, hidden, written, GREEDY))

    plan = memory.plan[0, : int(lengths(memory.plan)[0])]
    np.testing.assert_array_equal(action, jax.jit(follow)(variables, plan))
    assert int(memory.age) == STEPS

    third = newest(b, 2)
    action, memory = act_again(variables, memory, third, RNG)
    anew = dataclasses.replace(
        b, images={r: np.concatenate([later.images[r], third.images[r]], 1) for r in b.images},
        proprio=np.concatenate([later.proprio, third.proprio], 1),
    )  # fmt: skip
    thought = jax.jit(model.think)(variables, anew, RNG)
    np.testing.assert_array_equal(memory.plan, thought.plan)
    assert int(memory.age) == 1
    assert bool(np.isfinite(action).all()) == bool(thought.is_action[0])


def test_a_plan_without_an_action_is_no_motion():
    model, variables, b, said = planning(FAMILIES["paligemma"])
    never = PlanningVLA(dataclasses.replace(model.config, plan_end=(int(said[1]), int(said[0]))))
    assert np.isnan(jax.jit(never.act)(variables, b, RNG)).all()


def test_one_robot_a_session():
    model, variables, _, _ = planning(FAMILIES["paligemma"])
    two = acting(batch(model.config, size=2))
    with pytest.raises(UserError, match="one robot at a time"):
        model.act_again(variables, model.remember(variables, two), rows_of_frames(two, slice(-1, None)), RNG)
