"""Which function gets which text: robots instructions and plans, web data questions and answers, in widths of their own."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rtx.data.loader import Loader, one_pass
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.prepared import PreparedSet
from rtx.data.record import NO_ACTION
from rtx.data.tokenizers import Tokenizers
from rtx.errors import UserError
from tests.data.tiny_sets import LETTERS, letters, tiny_set

SHAPE = {"batch_size": 13, "history": 1, "chunk": 1, "roles": ("primary",), "image_size": (8, 6)}


def starting(mark: str, *, width: int = 12):
    """Letters of each text behind a mark."""
    return lambda texts: np.pad(letters([mark + text for text in texts]), ((0, 0), (0, width - 12)))


TOKENIZERS = Tokenizers(
    instructions=starting("i:"), questions=starting("q:"), answers=starting("a:", width=20), plans=starting("p:", width=20)
)


def with_targets(prepared: PreparedSet, layout=None) -> PreparedSet:
    """Step i is answered by text i + 1 of the set's three; the last of them is empty."""
    steps = prepared.splits["train"]["num_steps"]
    np.save(prepared.path / "train" / "target_id.npy", ((np.arange(steps) + 1) % 3).astype(np.int32)[:, None])
    return dataclasses.replace(prepared, targets=("reply",), layout=layout or prepared.layout)


@pytest.fixture
def mixture(tmp_path: Path) -> Mixture:
    robot = with_targets(tiny_set(tmp_path / "robot", name="robot"))
    web = with_targets(tiny_set(tmp_path / "web", name="web"), NO_ACTION)
    return Mixture(entries=(MixtureEntry(prepared=robot), MixtureEntry(prepared=web)))


def said(tokens: np.ndarray) -> list[str]:
    return ["".join(chr(c) for c in row if c) for row in tokens]


def test_each_text_goes_where_it_belongs(mixture: Mixture):
    robots, web = one_pass(mixture, split="train", tokenizers=TOKENIZERS, **SHAPE)
    assert (robots.text.shape, robots.target.shape) == ((13, 12), (13, 20))
    assert said(robots.text)[:3] == ["i:do robot", "i:undo robot", "i:"]
    assert said(robots.target)[:3] == ["p:undo robot", "", "p:do robot"], "no plan, no tokens"
    assert said(web.text)[:3] == ["q:do web", "q:undo web", "q:"]
    assert said(web.target)[:3] == ["a:undo web", "", "a:do web"]


def test_without_plans_robots_answer_nothing(mixture: Mixture):
    robots, web = one_pass(mixture, split="train", tokenizers=dataclasses.replace(TOKENIZERS, plans=None), **SHAPE)
    assert not robots.target.any()
    assert web.target.any()
    alone = Mixture(entries=mixture.entries[:1])
    (batch,) = one_pass(alone, split="train", tokenizers=LETTERS, **SHAPE)
    assert batch.target is None


def test_rows_that_fill_up_a_batch_have_no_target(mixture: Mixture):
    *_, last = one_pass(mixture, split="train", tokenizers=TOKENIZERS, **SHAPE | {"batch_size": 8})
    assert (last.sample == -1).sum() == 6
    assert not last.target[last.sample == -1].any()
    assert last.target[last.sample != -1].any()


def test_vectors_cannot_be_answers(mixture: Mixture):
    vectors = Tokenizers.alike(lambda texts: letters(texts).astype(np.float32))
    with pytest.raises(UserError, match="web have answers to be spelled"):
        Loader(mixture, tokenizers=vectors, seed=0, **SHAPE)
    alone = Mixture(entries=mixture.entries[:1])
    assert next(one_pass(alone, split="train", tokenizers=vectors, **SHAPE)).text.dtype == np.float32


def test_questions_are_as_wide_as_instructions(mixture: Mixture):
    odd = dataclasses.replace(TOKENIZERS, questions=starting("q:", width=20))
    with pytest.raises(UserError, match="rows of different kinds"):
        Loader(mixture, tokenizers=odd, seed=0, **SHAPE)
