"""One config for both families: what cannot be is told at once, and single leaves can be set."""

import dataclasses

import jax
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.vla.config import nano_pali, nano_paligemma, small_pali, small_paligemma
from rtx.models.vla.model import VLA
from rtx.train import fields
from tests.models.vla.tiny_vla import acting, batch, paligemma


@pytest.mark.parametrize(("preset", "millions"), [(nano_paligemma, 3), (nano_pali, 3), (small_paligemma, 30), (small_pali, 30)])
def test_presets_are_as_large_as_they_say(preset, millions):
    model = VLA(preset())
    shapes = jax.eval_shape(model.init, jax.random.key(0), acting(batch(model.config, size=1)))
    count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes)) / 1e6
    assert 0.85 * millions < count < 1.15 * millions


def test_all_problems_at_once():
    with pytest.raises(UserError) as error:
        paligemma(history=0, roles=("front",), image_size=(20, 16), action_ids=(1, 2), terminate=9)
    for part in ("history 0", "roles ('front',)", "multiples of vision.patch 8", "2 distinct ids", "terminate 9"):
        assert part in str(error.value)
    with pytest.raises(UserError, match="plan needs plan_end"):
        paligemma(plan=True)
    with pytest.raises(UserError, match="plan needs head='tokens'"):
        paligemma(plan=True, plan_end=(4,), head="parallel")
    for changes in ({"plan": True, "plan_end": (4,)}, {"head": "flow"}):
        with pytest.raises(UserError, match="bin_choice='mean' is for actions in bins"):
            paligemma(bin_choice="mean", **changes)


def test_leaves_of_parts_can_be_set():
    changed = fields.replace_leaf(paligemma(), "vision.width", "32")
    assert dataclasses.replace(changed).vision.width == 32
    assert fields.replace_leaf(paligemma(), "language.final_softcap", "none").language.final_softcap is None
    with pytest.raises(UserError, match="divisible by heads"):
        dataclasses.replace(fields.replace_leaf(paligemma(), "vision.width", "33"))
    with pytest.raises(UserError, match=r"did you mean 'model.vision.width'"):
        fields.replace_leaf(paligemma(), "vision.widht", "32", whole="model.vision.widht")
