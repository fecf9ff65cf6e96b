"""Prepared sets small enough to write in a millisecond, whose every picture says which step it is of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rtx.data.prepared import FORMAT, LANGUAGES, MANIFEST, PreparedSet
from rtx.data.tokenizers import Tokenizers
from rtx.embodiment import CANONICAL
from rtx.files import write_json
from rtx.images import encode_png
from rtx.robots.sim_arms import SIM_ARMS
from rtx.spec import FieldStatistics, Statistics, to_json

SIZE = (8, 6)  # of the stored pictures
JUNK = b"\x0a\xff\xd8"  # between pictures, as keys and lengths lie between them in a real record


def picture(name: str, role: str, step: int) -> np.ndarray:
    """uint8 [8, 6, 3], noise of its own for each step; not symmetric in its channels."""
    seed = [step, *name.encode(), *role.encode()]
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def tiny_set(
    folder: Path,
    *,
    name: str = "tiny",
    lengths: Sequence[int] = (5, 1, 7),
    roles: Sequence[str] = ("primary", "wrist"),
    channel_order: str = "rgb",
    absent: Sequence[tuple[str, int]] = (),
    num_shards: int = 2,
    splits: Sequence[str] = ("train",),
) -> PreparedSet:
    """A prepared set in `folder`: columns as .npy, pictures as PNG. `absent`: (role, step) without a picture."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rng = np.random.default_rng(len(name))
    num_steps = int(starts[-1])
    shards = [bytearray(b"head") for _ in range(num_shards)]
    columns: dict[str, np.ndarray] = {
        "episode_start": starts,
        "action": rng.normal(0, 1, (num_steps, 8)).astype(np.float32),
        "proprio": rng.normal(0, 1, (num_steps, 10)).astype(np.float32),
        "language_id": (np.arange(num_steps) % 3).astype(np.int32)[:, None],
        "shard": np.repeat(np.arange(len(lengths)) % num_shards, lengths).astype(np.int32),
    }
    for role in roles:
        columns |= {f"{role}_offset": np.zeros(num_steps, np.int64), f"{role}_length": np.zeros(num_steps, np.int32)}
        for step in range(num_steps):
            shard = shards[columns["shard"][step]]
            shard += JUNK
            stored = picture(name, role, step)[..., :: -1 if channel_order == "bgr" else 1]
            data = b"" if (role, step) in absent else encode_png(np.ascontiguousarray(stored))
            columns[f"{role}_offset"][step], columns[f"{role}_length"][step] = len(shard), len(data)
            shard += data
    for split in splits:
        (folder / split).mkdir(parents=True)
        for column, values in columns.items():
            np.save(folder / split / f"{column}.npy", values)
    for i, shard in enumerate(shards):
        (folder / f"shard{i}").write_bytes(shard)
    write_json(folder / LANGUAGES, [f"do {name}", f"undo {name}", ""])
    return PreparedSet(
        path=folder,
        name=name,
        version="1.0.0",
        source=folder,
        fingerprint="0",
        embodiment=SIM_ARMS["sim_panda"],
        statistics=Statistics(
            action=field_statistics(columns["action"]),
            proprio=field_statistics(columns["proprio"]),
            num_episodes=len(lengths),
            source=f"content of {name}",
        ),
        images={role: {"path": role, "channel_order": channel_order} for role in roles},
        layout=CANONICAL.without("terminate"),
        choices={},
        unsettled={},
        counts={"train": {"episodes": len(lengths), "empty": 0, "filtered": 0, "quarantined": 0, "held_out": 0, "reasons": []}},
        splits={split: {"num_episodes": len(lengths), "num_steps": num_steps} for split in splits},
        shards=tuple({"file": f"shard{i}", "identity": {"size": len(shard)}} for i, shard in enumerate(shards)),
    )


def save_manifest(prepared: PreparedSet) -> None:
    """Beside its columns, so that `PreparedSet.open` takes the folder."""
    kept = {f.name: getattr(prepared, f.name) for f in dataclasses.fields(prepared) if f.name not in ("path", "fingerprint")}
    manifest = {"format": FORMAT, "request": {"fingerprint": prepared.fingerprint}, **kept, "source": str(prepared.source)}
    write_json(prepared.path / MANIFEST, to_json(manifest))


def field_statistics(values: np.ndarray) -> FieldStatistics:
    """Plain numpy, in memory."""
    values = values.astype(np.float64)
    columns = {
        "mean": values.mean(0),
        "std": values.std(0),
        "min": values.min(0),
        "max": values.max(0),
        "q01": np.quantile(values, 0.01, axis=0),
        "q99": np.quantile(values, 0.99, axis=0),
    }
    return FieldStatistics(**{key: tuple(column.tolist()) for key, column in columns.items()}, count=len(values))


def letters(texts: Sequence[str]) -> np.ndarray:
    """A tokenizer for tests: code points, int32 [n, 12], 0 = padding."""
    tokens = np.zeros((len(texts), 12), np.int32)
    for i, text in enumerate(texts):
        tokens[i, : len(text)] = [ord(c) for c in text[:12]]
    return tokens


LETTERS = Tokenizers.alike(letters)
