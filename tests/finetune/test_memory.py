"""What a mode takes, in bytes, and how it is said."""

import pytest

from rtx.finetune import memory

SHAPES = {"a": (1000, 1000), "head": (100,)}


def test_training_takes_gradient_means_and_average_of_what_is_trained():
    params = 1_000_100
    assert memory.needed("full", SHAPES, trained=params, ema=True) == round(1.3 * 4 * 5 * params)
    assert memory.needed("full", SHAPES, trained=params, ema=False) == round(1.3 * 4 * 4 * params)
    assert memory.needed("head", SHAPES, trained=100, ema=False) == round(1.3 * 4 * (params + 300))


def test_adapters_take_a_copy_and_a_gradient_of_what_they_adapt():
    assert memory.needed("lora", SHAPES, trained=0, ema=False) == round(1.3 * 4 * 3 * 1_000_100)


def test_the_machine_has_some():
    assert memory.there() > 1e8


@pytest.mark.parametrize(
    ("count", "unit", "words"),
    [(2.98e9, "", "3.0 B"), (24e9, "B", "24 GB"), (310_000, "", "310 k"), (12, "", "12"), (1.5e6, "B", "1.5 MB")],
)
def test_in_words(count, unit, words):
    assert memory.in_words(count, unit) == words
