"""What weights are, in one hash: equal weights have the same, whoever saved them, in however many files.

To find it every weight is read. A manifest names the hash of every file, so what was found once for a manifest holds for every
copy of that checkpoint: it is kept in the user's cache folder, and the next start of a server reads a hundred bytes instead.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import WorldError
from rtx.files import atomic
from rtx.train import pytree
from rtx.train.cache import cache_dir
from rtx.train.checkpoint.sound import MANIFEST, sha256, threaded

_FORM = "weights-1"  # of the hash: another one, or another layout of the same weights, takes another name


def digest_of(variables: Mapping[str, Any]) -> str:
    """Sixty-four hexadecimal digits of paths, dtypes, shapes and values; arrays of host or device."""
    leaves = pytree.flatten(variables)

    def of_leaf(path: str) -> str:
        leaf = np.ascontiguousarray(leaves[path])
        head = f"{path} {leaf.dtype} {np.shape(leaves[path])}\n".encode()
        digest = hashlib.sha256(head)
        digest.update(leaf.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    return hashlib.sha256("\n".join(threaded(of_leaf, sorted(leaves))).encode()).hexdigest()


def remembered(checkpoint: Path, find: Callable[[], str]) -> str:
    """`find()`, or what it said before of a checkpoint with this manifest. The checkpoint's files have been verified."""
    path = cache_dir() / "weights" / f"{_FORM}-{sha256(checkpoint / MANIFEST)}"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if len(said := path.read_text()) == 64:
            return said
    found = find()
    # A home that cannot be written costs time, at the next start.
    with contextlib.suppress(OSError, WorldError), atomic(path) as file:
        file.write(found.encode())
    return found
