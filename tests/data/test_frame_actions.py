"""Actions of the history's frames, vectors in place of words, and fixed bounds in place of quantiles."""

import numpy as np
import pytest

from rtx.data.loader import Loader, one_pass
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.oxe import OXE
from rtx.data.oxe.mixtures import MIXTURES
from rtx.data.oxe.rt1x_bounds import RT1X_BOUNDS
from rtx.data.tokenizers import Tokenizers
from rtx.errors import UserError
from tests.data.tiny_sets import LETTERS, letters, tiny_set

SHAPE = {"history": 3, "chunk": 1, "roles": ("primary",), "image_size": (8, 8)}
LENGTHS = (5, 1, 7)


def as_vectors(texts):
    return letters(texts).astype(np.float32) / 100


@pytest.fixture
def prepared(tmp_path):
    return tiny_set(tmp_path / "set", lengths=LENGTHS)


def mixture_of(prepared, **entry):
    return Mixture(entries=(MixtureEntry(prepared=prepared, **entry),))


def test_every_frame_of_the_window_brings_its_action(prepared):
    (batch,) = one_pass(
        mixture_of(prepared), **SHAPE, batch_size=sum(LENGTHS), tokenizers=LETTERS, split="train", frame_actions=True
    )
    normalize = mixture_of(prepared).contract(**SHAPE).action_normalizer("tiny").forward
    starts = np.repeat(np.cumsum([0, *LENGTHS[:-1]]), LENGTHS)
    known = np.array(prepared.layout.action_mask)
    assert batch.action.shape == (13, 3, 8)
    for row, start in enumerate(starts):
        for frame, step in enumerate(range(row - 2, row + 1)):
            is_real = step >= start
            assert batch.history_mask[row, frame] == is_real
            np.testing.assert_array_equal(batch.action_mask[row, frame], known & is_real)
            if is_real:
                np.testing.assert_array_equal(batch.action[row, frame], normalize(prepared.split("train").action[step]))


def test_actions_of_frames_make_another_stream(prepared):
    def fingerprint(**more):
        return Loader(mixture_of(prepared), **SHAPE, batch_size=2, tokenizers=LETTERS, seed=0, **more).state().fingerprint

    assert fingerprint() != fingerprint(frame_actions=True)


def test_vectors_come_as_they_are(prepared):
    (batch,) = one_pass(mixture_of(prepared), **SHAPE, batch_size=13, tokenizers=Tokenizers.alike(as_vectors), split="train")
    assert batch.text.dtype == np.float32
    texts = [prepared.languages[i] for i in prepared.split("train").language_id[:, 0]]
    np.testing.assert_array_equal(batch.text, as_vectors(texts))

    def doubles(texts):
        return as_vectors(texts).astype(float)

    with pytest.raises(UserError, match=r"float64\[1, 12\] for 1 texts, expected int32"):
        one_pass(mixture_of(prepared), **SHAPE, batch_size=2, tokenizers=Tokenizers.alike(doubles), split="train")


def test_bounds_take_the_place_of_the_quantiles_they_name(prepared):
    bounds = {"delta_pos": (-0.5, 0.5), "delta_rot.1": (-1.0, 3.0)}
    plain, bounded = mixture_of(prepared), mixture_of(prepared, bounds=bounds)
    normal = bounded.contract(**SHAPE).action_normalizer("tiny")
    action = np.zeros(8, np.float32)
    action[:3], action[4] = (0.25, -0.5, 9.0), 3.0
    assert normal.forward(action)[:3].tolist() == [0.5, -1.0, 1.0]
    assert normal.forward(action)[4] == 1.0
    np.testing.assert_allclose(normal.inverse(normal.forward(action))[:3], [0.25, -0.5, 0.5])
    others = [3, 5, 6, 7]
    by_data = plain.contract(**SHAPE).action_normalizer("tiny")
    np.testing.assert_array_equal(normal.scale[others], by_data.scale[others])
    assert plain.fingerprint("train") != bounded.fingerprint("train")


def test_a_bound_of_a_field_that_the_set_lacks_is_refused(prepared):
    with pytest.raises(UserError, match="delta_poz"):
        mixture_of(prepared, bounds={"delta_poz": (-1.0, 1.0)}).contract(**SHAPE)


def test_bridge_lies_in_the_tokens_as_the_paper_puts_it():
    """0.05 m is 1.75 of 2, 0.25 rad 1.4 of pi/2."""
    low, high = RT1X_BOUNDS["bridge"]["delta_pos"]
    assert 0.05 / high == pytest.approx(1.75 / 2)
    assert low == -high
    assert 0.25 / RT1X_BOUNDS["bridge"]["delta_rot"][1] == pytest.approx(1.4 / (np.pi / 2))


@pytest.mark.parametrize("name", sorted(RT1X_BOUNDS))
def test_bounds_name_fields_of_the_set(name):
    fields = {field.name for field in OXE[name].layout.action.fields}
    named = {key.split(".")[0] for key in RT1X_BOUNDS[name]}
    assert name in MIXTURES["rt_x"].weights or name == "bridge_dataset"
    assert {"delta_pos"} <= named <= fields
    assert all(low < 0 < high for low, high in RT1X_BOUNDS[name].values())
