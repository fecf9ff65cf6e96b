"""A plan is kept for some steps, and everything else is seen anew."""

import dataclasses

import jax
import numpy as np
import pytest

from rtx.models.protocol import Remembers
from rtx.models.vla.config import EOS
from rtx.models.vla.decode import GREEDY
from rtx.models.vla.inputs import lengths
from rtx.models.vla.planning import PlanningVLA
from tests.models.vla.test_model import full_logits
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
    assert memory.age.item() == STEPS

    third = newest(b, 2)
    action, memory = act_again(variables, memory, third, RNG)
    anew = dataclasses.replace(
        b, images={r: np.concatenate([later.images[r], third.images[r]], 1) for r in b.images},
        proprio=np.concatenate([later.proprio, third.proprio], 1),
    )  # fmt: skip
    thought = jax.jit(model.think)(variables, anew, RNG)
    np.testing.assert_array_equal(memory.plan, thought.plan)
    assert memory.age.item() == 1
    assert bool(np.isfinite(action).all()) == bool(thought.is_action[0])


def greedy(model, variables, b, begun, count):
    """`begun`, and what a plain loop says after it."""
    ids = list(begun)
    while len(ids) < count:
        ids.append(int(full_logits(model, variables, b, 0, [*ids, EOS])[-1][1:].argmax()) + 1)
    return ids


def with_frame(b, later):
    seen = rows_of_frames(b, slice(1, None))
    images = {role: np.concatenate([seen.images[role], later.images[role]], 1) for role in b.images}
    return dataclasses.replace(b, images=images, proprio=np.concatenate([seen.proprio, later.proprio], 1))


def changing_plans(model, variables):
    """Two frames that begin alike and end alike, but think of different things in between: (batch, frame, end, plans)."""
    for seed in range(40):
        b = acting(rows(batch(model.config, seed=seed), np.array([0])))
        later = newest(b, seed + 1)
        first = greedy(model, variables, b, [], 5)
        anew = greedy(model, variables, with_frame(b, later), first[:1], 5)
        for end in set(first[1:]) & set(anew[1:]) - {EOS, first[0]}:
            plans = [said[: said.index(end) + 1] for said in (first, anew)]
            if plans[0] != plans[1] and len(plans[1]) > 3 and not any(EOS in plan for plan in plans):
                return b, later, end, plans
    raise AssertionError("no such weights")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_first_part_of_a_plan_lasts_and_the_rest_is_thought_anew(family):
    plain, variables = model_and_variables(family(chunk=1, num_bins=40))
    b, later, end, (first, anew) = changing_plans(plain, variables)
    config = dataclasses.replace(plain.config, plan=True, plan_end=(end,), plan_lasting=(first[0],), plan_steps=STEPS)
    model = PlanningVLA(config)
    memory, act_again = jax.jit(model.remember)(variables, rows_of_frames(b, [0, 0])), jax.jit(model.act_again)
    action, memory = act_again(variables, memory, rows_of_frames(b, slice(-1, None)), RNG)
    assert memory.plan[0].tolist() == first + [0] * (5 - len(first))
    np.testing.assert_array_equal(action, jax.jit(model.act)(variables, b, RNG))
    action, memory = act_again(variables, memory, later, RNG)
    assert memory.plan[0].tolist() == anew + [0] * (5 - len(anew))
    assert memory.age.item() == STEPS
    ids = list(anew)
    for allowed in model.actions.allowed:
        logits = full_logits(plain, variables, with_frame(b, later), 0, [*ids, EOS])[-1]
        ids.append(max(allowed, key=lambda choice: logits[choice]))
    np.testing.assert_array_equal(action, model.actions.decode(jax.numpy.asarray([ids[len(anew) :]])))
    assert act_again(variables, memory, later, RNG)[1].age.item() == 1
    memory = memory._replace(age=memory.age - 1)

    unsaid = next(i for i in range(3, 56) if i not in (*first, *anew))
    model = PlanningVLA(dataclasses.replace(config, plan_lasting=(unsaid,)))
    _, memory = jax.jit(model.act_again)(variables, memory, later, RNG)
    assert memory.age.item() == 1, "nothing of this plan lasts"


def test_a_plan_without_an_action_is_no_motion():
    model, variables, b, said = planning(FAMILIES["paligemma"])
    never = PlanningVLA(dataclasses.replace(model.config, plan_end=(int(said[1]), int(said[0]))))
    assert np.isnan(jax.jit(never.act)(variables, b, RNG)).all()
