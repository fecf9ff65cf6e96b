"""A process that loads batches and notes each, to be killed: python load_in_process.py MIXTURE_PICKLE NOTES.

Without an end. One JSON line per batch: the position after it, and the digest of each row by sample number.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtx.data.assemble import batch_digest
from rtx.data.loader import Loader, LoaderState
from rtx.spec import Batch
from tests.data.tiny_sets import LETTERS

OPTIONS: dict[str, Any] = {
    "batch_size": 6,
    "history": 3,
    "chunk": 4,
    "roles": ("primary", "wrist"),
    "image_size": (8, 6),
    "tokenizers": LETTERS,
    "seed": 1,
}


def row_digests(batch: Batch) -> dict[str, str]:
    """Digest of everything in a row, by its sample number."""
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}

    def row(i: int) -> Batch:
        return Batch(**{name: _map(value, slice(i, i + 1)) for name, value in values.items()})

    return {str(number): batch_digest(row(i)) for i, number in enumerate(batch.sample.tolist())}


def _map(value: Any, rows: slice) -> Any:
    if value is None:
        return None
    return {name: array[rows] for name, array in value.items()} if isinstance(value, Mapping) else value[rows]


def notes(path: Path) -> tuple[LoaderState | None, dict[str, str]]:
    """The last position noted whole, and the digests of all rows up to there."""
    state, rows = None, {}
    for line in path.read_text().split("\n")[:-1] if path.exists() else ():  # what follows the last \n was torn by the kill
        note = json.loads(line)
        state = LoaderState(**note["state"])
        for number, digest in note["rows"].items():
            assert rows.setdefault(number, digest) == digest
    return state, rows


def main(mixture: str, out: str) -> None:
    state, _ = notes(Path(out))
    with Loader(pickle.loads(Path(mixture).read_bytes()), **OPTIONS) as loader, open(out, "a") as file:
        if state is not None:
            loader.restore(state)
        for batch in loader:
            note = {"state": dataclasses.asdict(loader.state()), "rows": row_digests(batch)}
            file.write(json.dumps(note) + "\n")
            file.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
