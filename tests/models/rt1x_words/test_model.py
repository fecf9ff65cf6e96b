import dataclasses

import jax
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.families import model_from_json, model_to_json, reads
from rtx.models.protocol import Model, Remembers
from rtx.models.rt1x.model import RT1X
from rtx.models.rt1x_words.config import RT1XWordsConfig
from rtx.models.rt1x_words.model import RT1XWords
from tests.models.rt1x.small import CONFIG as SMALL
from tests.models.rt1x.small import random_batch, random_like

CONFIG = RT1XWordsConfig(**vars(SMALL), text_length=5, text_vocabulary=20, text_width=8, text_layers=1, text_heads=2)
MODEL, RNG = RT1XWords(CONFIG), jax.random.key(0)


@pytest.fixture(scope="module")
def batch():
    text = np.array([[3, 4, 5, 0, 0], [3, 4, 6, 0, 0]], np.int32)
    return dataclasses.replace(random_batch(SMALL), text=text)


@pytest.fixture(scope="module")
def variables(batch):
    return random_like(jax.jit(MODEL.init)(RNG, batch))


def told(variables, batch):
    own, vectors = MODEL._split(variables, batch)
    return own, vectors


def test_it_is_the_released_network_behind_an_encoder(batch, variables):
    """Its parameters without the encoder's are RT-1-X's, and given the encoder's vector both answer the same."""
    own, vectors = told(variables, batch)
    plain = jax.eval_shape(RT1X(SMALL).init, RNG, vectors)
    assert jax.tree.map(np.shape, own["params"]) == jax.tree.map(np.shape, plain["params"])
    assert vectors.text.shape == (2, SMALL.sentence_width)
    expected = jax.jit(RT1X(SMALL).act)(own, vectors, RNG)
    np.testing.assert_array_equal(jax.jit(MODEL.act)(variables, batch, RNG), expected)
    assert isinstance(MODEL, Model)
    assert isinstance(MODEL, Remembers)


def test_padding_says_nothing_and_every_piece_says_something(variables, batch):
    def vectors(text):
        return np.asarray(told(variables, dataclasses.replace(batch, text=np.array(text, np.int32)))[1].text)

    a, b = vectors([[3, 4, 5, 0, 0], [3, 4, 6, 0, 0]])
    assert np.abs(a - b).max() > 1e-3
    swapped = vectors([[4, 3, 5, 0, 0]])[0]
    assert np.abs(a - swapped).max() > 1e-3  # order counts
    assert np.isfinite(vectors([[0, 0, 0, 0, 0]])).all()


def test_the_loss_teaches_the_encoder(variables, batch):
    def loss(params):
        return MODEL.loss({**variables, "params": params}, batch, RNG, train=True)[0]

    gradient = jax.jit(jax.grad(loss))(variables["params"])["text"]
    table = np.asarray(gradient["pieces"]["embedding"])
    assert np.abs(table[[3, 4, 5, 6]]).max(-1).min() > 0
    assert not table[7:].any()


def test_a_model_that_reads_pieces_refuses_vectors(variables, batch):
    wrong = dataclasses.replace(batch, text=np.zeros((2, CONFIG.sentence_width), np.float32))
    with pytest.raises(UserError, match=r"text is float32\[2, 6\], expected int32\[b, 5\]"):
        MODEL.act(variables, wrong, RNG)


def test_it_comes_back_from_json_and_says_what_it_reads():
    assert model_from_json(model_to_json(MODEL)) == MODEL
    assert reads(CONFIG) == "subwords"
    assert reads(SMALL) == "sentences"
    with pytest.raises(UserError, match="text_width 8 must be a multiple of text_heads 3"):
        dataclasses.replace(CONFIG, text_heads=3)
