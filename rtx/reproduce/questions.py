"""How many held-out questions a checkpoint answers, word for word as it writes them: what it kept of its web data.

    rtx.eval.questions: picture, question --model.answer--> text --grounding.is_right--> {"000019 where is ...": True}

Answers are written greedily, batch by batch in one compiled program, and kept in a file: asked once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from rtx import images, progress
from rtx.eval.questions import Asked
from rtx.eval.sim.grounding import is_right
from rtx.files import read_json, write_json
from rtx.models.blank import blank_batch
from rtx.spec import Batch, Contract

if TYPE_CHECKING:
    from rtx.models.vla.language import VLATokenizer
    from rtx.train.checkpoint import Checkpoint

_BATCH = 64


def answered(run: Path, questions: Sequence[Asked], out: Path, *, name: str) -> dict[str, dict[str, Any]]:
    """By key: kind, what the checkpoint in the run folder `run` wrote, whether it is right. Kept in the file `out`."""
    from rtx.train.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(run)
    kept: dict[str, Any] = read_json(out) if out.exists() else {"checkpoint": "", "answers": {}}
    if kept["checkpoint"] == checkpoint.path.name and set(kept["answers"]) == {one.key for one in questions}:
        return kept["answers"]  # type: ignore[no-any-return]
    texts = _write(checkpoint, questions, name)
    found = {
        one.key: {"kind": one.kind, "said": said, "right": is_right(one.kind, said, one.answer)}
        for one, said in zip(questions, texts, strict=True)
    }
    write_json(out, {"checkpoint": checkpoint.path.name, "answers": found})
    return found


def _write(checkpoint: Checkpoint, questions: Sequence[Asked], name: str) -> list[str]:
    from rtx.models.families import model_from_json
    from rtx.models.protocol import Answers
    from rtx.models.vla.language import VLATokenizer

    model, tokenizer = model_from_json(checkpoint.model), VLATokenizer.from_json(checkpoint.tokenizer)
    assert isinstance(model, Answers), "what reads a VLATokenizer answers"
    variables, rng = jax.device_put(checkpoint.variables), jax.random.key(0)
    write = jax.jit(functools.partial(model.answer, max_tokens=model.config.answer_length))
    texts: list[str] = []
    with progress.bar(f"questions {name}", len(questions)) as advance:
        for start in range(0, len(questions), _BATCH):
            part = questions[start : start + _BATCH]
            batch = _batch(checkpoint.contract, [*part, *[part[-1]] * (_BATCH - len(part))], tokenizer)
            texts += tokenizer.decode(np.asarray(write(variables, batch, rng)))[: len(part)]
            advance(len(part))
    return texts


def _batch(contract: Contract, questions: Sequence[Asked], tokenizer: VLATokenizer) -> Batch:
    """Rows of web data as the loader makes them, without a target."""
    pictures = np.stack([images.decode(one.image.read_bytes(), contract.image_size, fit=contract.fit) for one in questions])
    frames = np.repeat(pictures[:, None], contract.history, axis=1)
    return blank_batch(
        tokenizer.questions([one.question for one in questions]),
        roles=contract.roles,
        image_size=contract.image_size,
        history=contract.history,
        proprio=sum(field.width for field in contract.proprio),
        images=dict.fromkeys(contract.roles, frames),
    )
