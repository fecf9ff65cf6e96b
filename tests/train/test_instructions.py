"""Which vector each instruction gets, what happens to those that have none, and how a checkpoint learns new ones."""

import dataclasses

import numpy as np
import pytest

from rtx.data.mixture import Mixture, MixtureEntry
from rtx.errors import UserError
from rtx.models.sentences import SentenceTable
from rtx.train import instructions
from rtx.train.checkpoint import SideFiles, open_checkpoint, save, verify
from rtx.train.config import DataSet
from rtx.train.instructions import extended, instruction_encoder, sentence_table, teach, write_table
from tests.data.tiny_sets import tiny_set
from tests.models.rt1x.small import CONFIG as SMALL
from tests.small_policy import contract
from tests.train.small_run import small_config

WIDTH = 4
COUNTS = {"width": WIDTH, "rows": 3, "missing": 1, "clashes": 0}


def told_set(folder, name, vectors):
    """Its texts are "do NAME", "undo NAME" and ""; a vector of None is missing."""
    rows = [np.full(WIDTH, np.nan) if v is None else np.full(WIDTH, v) for v in (*vectors, None)]
    made = dataclasses.replace(tiny_set(folder, name=name), sentence_counts=COUNTS)
    np.save(folder / "sentences.npy", np.array(rows, np.float32))
    return made


def mixture_of(*sets):
    return Mixture(entries=tuple(MixtureEntry(prepared=one) for one in sets))


@pytest.fixture
def encoded(monkeypatch):
    """Stands in for the encoder's process, which `tests/data/test_sentence_encoder.py` tries: notes what it is asked."""
    asked = []

    def encode(texts, saved_model):
        asked.append(list(texts))
        return np.array([[len(text)] * WIDTH for text in texts], np.float32)

    monkeypatch.setattr(instructions, "encode_texts", encode)
    return asked


def test_stored_vectors_make_the_table(tmp_path):
    mixture = mixture_of(told_set(tmp_path / "a", "a", (1, 2)), told_set(tmp_path / "b", "b", (3, 4)))
    table = sentence_table(mixture, more=None, width=WIDTH)
    assert table.texts == ("do a", "undo a", "do b", "undo b")
    assert table.encode(["Undo  A", "do b", ""])[:, 0].tolist() == [2, 3, 0]


def test_texts_without_a_vector_are_named_with_their_set(tmp_path):
    mixture = mixture_of(told_set(tmp_path / "a", "a", (1, None)), tiny_set(tmp_path / "b", name="b"))
    with pytest.raises(UserError, match=r"a 1, the first is 'undo a'; b 2, the first is 'do b'"):
        sentence_table(mixture, more=None, width=WIDTH)
    more = SentenceTable(("UNDO a", "do b", "undo b"), np.full((3, WIDTH), 9, np.float32), encoder="mine")
    table = sentence_table(mixture, more=more, width=WIDTH)
    assert table.encode(["do a", "undo a"])[:, 0].tolist() == [1, 9]
    assert table.encoder == "mine"


def test_vectors_of_another_width_than_the_model_reads_are_refused(tmp_path):
    mixture = mixture_of(told_set(tmp_path / "a", "a", (1, 2)))
    with pytest.raises(UserError, match=r"have 4 numbers, model\.sentence_width is 512"):
        sentence_table(mixture, more=None, width=512)


def test_the_table_named_in_the_configuration_is_read(tmp_path, encoded):
    mixture = mixture_of(tiny_set(tmp_path / "b", name="b"))
    write_table(["do b"], tmp_path, tmp_path / "table.json")
    write_table(["Do B", "undo b"], tmp_path, tmp_path / "table.json")
    assert encoded == [["do b"], ["undo b"]]
    config = small_config((DataSet(prepared="anywhere"),))
    data = dataclasses.replace(config.data, sentences=str(tmp_path / "table.json"), chunk=1)
    config = dataclasses.replace(config, model=dataclasses.replace(SMALL, sentence_width=WIDTH), data=data)
    assert instruction_encoder(config, mixture).texts == ("do b", "undo b")
    with pytest.raises(UserError, match="b 2, the first is 'do b'"):
        instruction_encoder(dataclasses.replace(config, data=dataclasses.replace(data, sentences="")), mixture)


def test_only_new_texts_are_encoded_and_another_width_is_refused(tmp_path, encoded):
    table = SentenceTable(("lift",), np.ones((1, WIDTH), np.float32), encoder="use")
    assert extended(table, ["Lift ", ""], tmp_path) is table
    grown = extended(table, ["lift", "push it", "Push it"], tmp_path)
    assert (grown.texts, encoded) == (("lift", "Push it"), [["Push it"]])
    assert grown.encode(["push it"])[0, 0] == 7
    narrow = SentenceTable(("lift",), np.ones((1, 3), np.float32), encoder="use")
    with pytest.raises(UserError, match=r"vectors of 4 numbers, this table \(use\) has 3"):
        extended(narrow, ["push"], tmp_path)


def test_a_checkpoint_is_taught_in_a_copy(tmp_path, encoded):
    table = SentenceTable(("lift",), np.ones((1, WIDTH), np.float32), encoder="use")
    side = SideFiles(contract=contract(), model={}, tokenizer=table.to_json(), data={}, config={})
    state = {"variables": {"params": {"w": np.arange(6.0, dtype=np.float32)}}}
    old = save(tmp_path / "run" / "checkpoints", step=3, state=state, side=side)
    before = (old / "tokenizer.json").read_bytes()
    new = teach(tmp_path / "run", ["push"], tmp_path, tmp_path / "taught")
    assert verify(new) == verify(old) == []
    assert (old / "tokenizer.json").read_bytes() == before
    taught = open_checkpoint(tmp_path / "taught")
    assert SentenceTable.from_json(taught.tokenizer).texts == ("lift", "push")
    np.testing.assert_array_equal(taught.variables["params"]["w"], np.arange(6.0))
    assert taught.step == 3
    with pytest.raises(UserError, match="is there already"):
        teach(tmp_path / "run", ["push"], tmp_path, tmp_path / "taught")
