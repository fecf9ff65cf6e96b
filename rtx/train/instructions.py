"""What a model reads in place of a sentence: made from the texts of the mixture it is trained on, and extended later.

family reads    front end                     Batch.text
"words"         rtx.models.text               int32, word numbers
"vla"           rtx.models.vla.language       int32, prompts in pieces of words; and `Batch.target`, answers and plans
"subwords"      rtx.models.subwords           int32, numbers of pieces of words
"sentences"     rtx.models.sentences          float32, one vector: what the data sets store, and a table of more texts

A model that reads vectors knows the texts of its table only. New ones are encoded with the Universal Sentence Encoder, which
needs TensorFlow, before training (`write_table`, then `data.sentences`) or after (`teach`); never while it trains or acts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtx.data.mixture import Mixture
from rtx.data.sentence_encoder import encode_texts
from rtx.data.tokenizers import Tokenizers
from rtx.errors import UserError
from rtx.files import read_json, write_json
from rtx.models.families import reads
from rtx.models.sentences import SentenceTable, instructions_from_json, spoken
from rtx.models.subwords import SubwordTokenizer
from rtx.models.text import InstructionEncoder, WordTokenizer
from rtx.models.vla.language import VLATokenizer
from rtx.train.checkpoint import copy_with_tokenizer, open_checkpoint, read_tokenizer
from rtx.train.config import TrainConfig

STORED = "universal-sentence-encoder"
"""What computed the vectors that data sets store."""


def instruction_encoder(config: TrainConfig, mixture: Mixture, origin: Path | None = None) -> InstructionEncoder:
    """The front end of `config.model`; where training begins at a checkpoint (`origin`), that checkpoint's.

    Raises UserError for instructions that it cannot be given.
    """
    kind, model = reads(config.model), config.model
    given = None if origin is None else _tokenizer_of(origin, kind)
    if kind == "sentences":
        more = _read_table(Path(config.data.sentences)) if config.data.sentences else given
        return sentence_table(mixture, more=more, width=model.sentence_width)
    if kind == "vla":
        return _language(config, mixture, given)
    if isinstance(given, WordTokenizer):
        return given.with_words(mixture.languages, max_words=model.text_vocabulary - 2)
    if given is not None:
        return given
    if kind == "subwords":
        return SubwordTokenizer.from_texts(mixture.languages, size=model.text_vocabulary, max_length=model.text_length)
    return WordTokenizer.from_texts(mixture.languages, max_length=model.text_length, max_words=model.text_vocabulary - 2)


def _tokenizer_of(origin: Path, kind: str) -> Any:
    data = read_tokenizer(origin)
    if data.get("kind") != kind:
        raise UserError(f"train.start: {origin} reads {data.get('kind')}, this model reads {kind}; start from one of its kind")
    return instructions_from_json(data)


def _language(config: TrainConfig, mixture: Mixture, given: VLATokenizer | None) -> VLATokenizer:
    """That of the checkpoint, of public weights, or pieces made from every text of the mixture. Ids that actions take are left
    free of pieces, unless they are to overwrite some."""
    data, model = config.data, config.model
    shape: dict[str, Any] = {
        "text_length": model.text_length, "answer_length": model.answer_length, "template": data.template,
    }  # fmt: skip
    vocab = model.language.vocab
    if given is not None:
        made = dataclasses.replace(given, **shape)
    elif data.vocabulary:
        made = VLATokenizer.from_file(Path(data.vocabulary).expanduser(), **shape)
    else:
        at_the_end = data.action_words == "given" and not model.action_ids
        made = VLATokenizer.from_texts(mixture.languages, size=vocab - model.num_bins * at_the_end, **shape)
    if made.size > vocab:
        raise UserError(f"model.language.vocab {vocab} is less than the tokenizer's {made.size} pieces")
    return made


def tokenizers(encoder: InstructionEncoder, template: str) -> Tokenizers:
    """What the loader turns texts into numbers with; plans where the template has any."""
    if not isinstance(encoder, VLATokenizer):
        return Tokenizers.alike(encoder.encode)
    plans = None if template == "question" else encoder.plans
    return Tokenizers(instructions=encoder.encode, questions=encoder.questions, answers=encoder.answers, plans=plans)


def sentence_table(mixture: Mixture, *, more: SentenceTable | None, width: int) -> SentenceTable:
    """Every instruction of the mixture with its stored vector, and the rows of `more`, which go first.

    Of texts that differ in upper case or spaces only the first counts. Raises UserError for texts without a vector.
    """
    rows: dict[str, tuple[str, np.ndarray]] = {}
    missing: dict[str, list[str]] = {}
    for name, text, vector in _vectors(mixture, more):
        key = spoken(text)
        if vector is not None and key:
            rows.setdefault(key, (text, vector))
        elif key:
            missing.setdefault(name, []).append(text)
    lacking = {name: [text for text in texts if spoken(text) not in rows] for name, texts in missing.items()}
    if any(lacking.values()):
        raise UserError(_no_vectors({name: texts for name, texts in lacking.items() if texts}))
    vectors = [vector for _, vector in rows.values()]
    if odd := sorted({len(vector) for vector in vectors} - {width}):
        raise UserError(f"the data sets' sentence vectors have {odd[0]} numbers, model.sentence_width is {width}")
    stacked = np.stack(vectors) if vectors else np.zeros((0, width), np.float32)
    return SentenceTable(tuple(text for text, _ in rows.values()), stacked, encoder=more.encoder if more else STORED)


def _vectors(mixture: Mixture, more: SentenceTable | None) -> Iterator[tuple[str, str, np.ndarray | None]]:
    """Data set, text, and its vector if it has one."""
    if more is not None:
        yield from (("", text, vector) for text, vector in zip(more.texts, more.vectors, strict=True))
    for prepared in (entry.prepared for entry in mixture.entries):
        stored = prepared.sentences
        for i, text in enumerate(prepared.languages):
            has_one = stored is not None and not np.isnan(stored[i]).any()
            yield prepared.name, text, np.asarray(stored[i]) if has_one and stored is not None else None


def _no_vectors(lacking: dict[str, list[str]]) -> str:
    sets = "; ".join(f"{name} {len(texts):,}, the first is {texts[0]!r}" for name, texts in lacking.items())
    return (
        f"this model reads an instruction as one vector, and some have none: {sets}. Encode them with the Universal Sentence "
        "Encoder into a table (rtx.train.instructions.write_table) and name it in data.sentences, leave those data sets out, "
        "or train a model that reads pieces of words (family rt1x_words)"
    )


def extended(table: SentenceTable | None, texts: Sequence[str], saved_model: Path) -> SentenceTable:
    """`table` with the vectors of those of `texts` that it lacks. Errors as `rtx.data.sentence_encoder.encode_texts`.

    Raises UserError where the encoder's vectors have another width than the table's.
    """
    old = () if table is None else table.texts
    known = {spoken(text) for text in old}
    new = {spoken(text): text for text in texts if spoken(text) and spoken(text) not in known}
    if not new and table is not None:
        return table
    vectors = encode_texts(tuple(new.values()), saved_model)
    if table is None:
        return SentenceTable(tuple(new.values()), vectors, encoder=saved_model.name)
    if vectors.shape[1] != table.width:
        raise UserError(
            f"{saved_model} makes vectors of {vectors.shape[1]} numbers, this table ({table.encoder}) has {table.width}: use "
            "the encoder it was made with"
        )
    return SentenceTable((*old, *new.values()), np.concatenate([table.vectors, vectors]), encoder=table.encoder)


def write_table(texts: Sequence[str], saved_model: Path, out: Path) -> SentenceTable:
    """Encodes `texts` into the table file `out`, for `data.sentences`; what the file knows already is kept and not encoded."""
    table = extended(_read_table(out) if out.exists() else None, texts, saved_model)
    write_json(out, table.to_json())
    return table


def teach(checkpoint_path: Path | str, texts: Sequence[str], saved_model: Path, out: Path) -> Path:
    """The checkpoint with `texts` added to the instructions it knows, in the new run folder `out`. Returns the copy's folder.

    Raises UserError for a checkpoint that reads words (it needs no table) or where `out` holds this step already.
    """
    checkpoint = open_checkpoint(checkpoint_path)
    if checkpoint.tokenizer.get("kind") != "sentences":
        raise UserError(f"{checkpoint.path} reads words, not sentence vectors: it takes any instruction as it is")
    table = extended(SentenceTable.from_json(checkpoint.tokenizer), texts, saved_model)
    return copy_with_tokenizer(checkpoint.path, out, table.to_json())


def _read_table(path: Path) -> SentenceTable:
    return SentenceTable.from_json(read_json(path))
