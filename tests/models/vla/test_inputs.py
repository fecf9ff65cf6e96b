"""Prompts and answers joined on the device, compared with lists."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.vla import inputs
from rtx.models.vla.model import VLA
from tests.models.vla.tiny_vla import BINS, VOCAB, acting, batch, paligemma, rows

END = (11, 12)


def said(config, b):
    return inputs.answer(config, VLA(config).actions, b)


def strip(row):
    return [int(i) for i in row if i]


def test_join_keeps_valid_tokens_at_the_left():
    rng = np.random.default_rng(0)
    first, second = rng.integers(1, 9, (5, 4)), rng.integers(1, 9, (5, 3))
    first[np.arange(4) >= np.arange(5)[:, None]] = 0  # 0, 1, 2, 3, 4 tokens
    second[1] = 0
    second[2, 2:] = 0
    joined = inputs.join(jnp.asarray(first), jnp.asarray(second), inputs.lengths(jnp.asarray(first)))
    assert joined.shape == (5, 7)
    for row, a, b in zip(np.asarray(joined), first, second, strict=True):
        together = strip(a) + strip(b)
        assert row.tolist() == together + [0] * (7 - len(together))


def test_pictures_are_oldest_first_and_roles_in_order():
    config = paligemma()
    b = batch(config)
    pictures, there = inputs.pictures(config, b)
    expected = [b.images[role][:, t] for t in range(2) for role in config.roles]
    np.testing.assert_array_equal(pictures, np.stack(expected, 1))
    np.testing.assert_array_equal(there, [[True] * 4, [True] * 4, [False, False, True, False]])


def test_answers_of_robots_and_questions():
    config = paligemma()
    b = batch(config)
    found = said(config, b)
    ids, known = VLA(config).actions.encode(jnp.asarray(b.action), jnp.asarray(b.action_mask))
    assert found.labels.shape == (3, 17)  # the action and EOS: longer than any text
    assert strip(found.labels[0]) == [*ids[0].tolist(), 1]
    assert strip(found.labels[1]) == [5, 6, 1]
    assert strip(found.labels[2]) == [*ids[2].tolist(), 1]
    np.testing.assert_array_equal(found.written, found.labels)
    assert found.counted[0].all()
    assert found.counted[1].tolist() == [True] * 3 + [False] * 14
    assert found.counted[2].tolist() == [*np.asarray(known)[2].tolist(), True]
    assert int(known[2].sum()) == 6  # delta_pos of two actions
    assert found.is_text.sum(1).tolist() == [0, 3, 0]
    assert not found.known[1].any()


def test_a_plan_comes_first_where_the_model_plans():
    config = paligemma(plan=True, plan_end=END)
    b = batch(config)
    ids, _ = VLA(config).actions.encode(jnp.asarray(b.action), jnp.asarray(b.action_mask))
    found = said(config, b)
    assert strip(found.labels[0]) == [9, 8, *END, *ids[0].tolist(), 1]
    assert found.counted[0].sum() == 4 + 16 + 1
    assert found.is_text[0].sum() == 4
    assert found.start.tolist() == [4, 3, 0]
    plain = dataclasses.replace(config, plan=False, plan_end=())
    assert strip(said(plain, b).labels[0]) == [*ids[0].tolist(), 1]


def test_in_one_pass_placeholders_are_read():
    config = paligemma(head="parallel")
    found = said(config, batch(config))
    blanks = np.resize(np.arange(VOCAB - BINS, VOCAB), 16)
    assert strip(found.written[0]) == [*blanks.tolist(), 1]
    assert strip(found.written[1]) == strip(found.labels[1]) == [5, 6, 1]


def test_a_head_of_numbers_answers_for_the_actions():
    config = paligemma(head="l1")
    assert said(config, batch(config)).counted.sum(1).tolist() == [0, 3, 0]


def test_the_state_follows_the_text_of_robots_only():
    config = paligemma(proprio_dims=3)
    b = batch(config)
    b.proprio[:, -1] = [-1.0, 0.02, 1.0]
    b.proprio[:, 0] = 0.5
    state = [VOCAB - BINS, VOCAB - BINS + 4, VOCAB - 1]
    for told, rows_with in ((b, {0, 2}), (acting(b), {0, 1, 2})):
        prompt = inputs.prompt(config, told)
        assert prompt.shape == (3, 9)
        for i in range(3):
            assert strip(prompt[i]) == strip(b.text[i]) + (state if i in rows_with else [])
    assert strip(inputs.prompt(config, acting(b), question=True)[0]) == strip(b.text[0])


def test_without_targets_in_the_data():
    config = paligemma()
    b = dataclasses.replace(rows(batch(config), np.array([0, 2])), target=None)
    with_blank = dataclasses.replace(b, target=np.zeros((2, 5), np.int32))
    jax.tree.map(np.testing.assert_array_equal, said(config, b), said(config, with_blank))


def test_all_that_does_not_fit_is_told_at_once():
    config = paligemma(proprio_dims=4)
    b = batch(config)
    wrong = dataclasses.replace(
        b, images={"primary": b.images["primary"][:, :, :8]}, text=b.text.astype(np.float32), target=np.zeros((3, 9), np.int32),
        proprio=b.proprio[..., :3],
    )  # fmt: skip
    with pytest.raises(UserError) as error:
        inputs.check_batch(config, wrong)
    for part in ("camera 'primary'", "camera 'wrist'", "text is float32", "target is int32[3, 9]", "proprio has shape"):
        assert part in str(error.value)
    narrower = dataclasses.replace(b, text=b.text[:, :4], target=b.target[:, :2])
    inputs.check_batch(config, narrower)
