"""Batches from prepared data sets, without training anything: what a model of your own would be fed.

    python examples/read_batches.py PREPARED [PREPARED ...]

Prints the mixture and the first batch's arrays, and proves on the way that a loader that is stopped and restored goes on
with the very same samples.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from rtx.data.loader import Loader, batch_digest
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.prepared import PreparedSet
from rtx.data.tokenizers import Tokenizers


def letters(texts: list[str]) -> np.ndarray:
    """The simplest tokenizer there is: code points, int32 [n, 64], 0 = padding. `rtx.models.text` has a better one."""
    return np.array([[ord(c) for c in text[:64].ljust(64, "\0")] for text in texts], np.int32)


def main(folders: list[str]) -> None:
    mixture = Mixture(entries=tuple(MixtureEntry(prepared=PreparedSet.open(Path(folder))) for folder in folders))
    print(mixture.describe())
    options = {
        "batch_size": 8, "history": 2, "chunk": 4, "roles": mixture.roles, "image_size": (128, 128),
        "tokenizers": Tokenizers.alike(letters), "seed": 0,
    }  # fmt: skip
    with Loader(mixture, **options) as loader:
        print(loader.memory())
        first, state = next(loader), loader.state()
        second = batch_digest(next(loader))
    for role, images in first.images.items():
        print(f"{role:8} {images.dtype}{list(images.shape)}, {first.image_mask[role].mean():.0%} of the frames are there")
    print(f"action   {first.action.dtype}{list(first.action.shape)}, {first.action_mask.mean():.0%} known")
    with Loader(mixture, **options) as other:
        other.restore(state)
        print(f"after a restart at sample {state.next_sample}: the same batch? {batch_digest(next(other)) == second}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
