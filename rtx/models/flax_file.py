"""Trees of arrays in Flax's MessagePack files, as released checkpoints of RT-1-X and T5X are. Arrays are bytes with a shape:
nothing in such a file is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import serialization

from rtx.errors import WorldError


def read_msgpack(path: Path) -> Mapping[str, Any]:
    """The tree of the file. Raises WorldError where it is none, or damaged."""
    try:
        tree = serialization.msgpack_restore(path.read_bytes())
    except (ValueError, TypeError, KeyError) as error:  # what msgpack and numpy raise for bytes that are none of theirs
        raise WorldError(f"{path}: not a Flax MessagePack file, or a damaged one: {error}") from error
    if not isinstance(tree, Mapping):
        raise WorldError(f"{path}: holds a {type(tree).__name__}, expected a tree of arrays")
    return tree
