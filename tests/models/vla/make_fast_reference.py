"""Writes fast_reference.npz: chunks of smooth motion, merges fitted to them, and what the tokenizers library makes of both.

    python -m tests.models.vla.make_fast_reference        with tokenizers==0.23.3

The path is that of the published FAST processor: scipy's orthonormal DCT, scaled and rounded, each integer one character, BPE.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.fft import dct
from tokenizers import Tokenizer
from tokenizers.models import BPE

from rtx.models.vla.fast import fit_merges, symbol_limit

CHUNK, DIMS, SCALE = 12, 4, 10.0


def smooth_chunks(rng: np.random.Generator, count: int) -> np.ndarray:
    """Sums of a few slow waves in [-1, 1], float32 [count, 12, 4]."""
    time = np.arange(CHUNK)[None, :, None] / CHUNK
    waves = sum(
        rng.normal(0, 0.4 / f, (count, 1, DIMS)) * np.sin(f * time * 3 + rng.uniform(0, 6, (count, 1, DIMS))) for f in (1, 2, 3)
    )
    return np.clip(waves, -1, 1).astype(np.float32)


def main() -> None:
    rng = np.random.default_rng(0)
    fitted, fresh = smooth_chunks(rng, 200), smooth_chunks(rng, 40)
    merges = fit_merges(fitted, num_tokens=300, scale=SCALE)
    limit = symbol_limit(CHUNK, SCALE)
    spelling = [chr(0x4E00 + i) for i in range(2 * limit + 1)]
    for first, second in merges:
        spelling.append(spelling[first] + spelling[second])
    pairs = [(spelling[first], spelling[second]) for first, second in merges]
    encoder = Tokenizer(BPE({piece: i for i, piece in enumerate(spelling)}, pairs))
    symbols = np.rint(dct(fresh, axis=1, norm="ortho") * SCALE).astype(int).reshape(len(fresh), -1) + limit
    tokens = np.full((len(fresh), CHUNK * DIMS), -1, np.int16)
    for row, line in zip(tokens, symbols, strict=True):
        found = encoder.encode("".join(spelling[i] for i in line)).ids
        row[: len(found)] = found
    np.savez_compressed(
        Path(__file__).with_name("fast_reference.npz"), fresh=fresh, merges=np.array(merges, np.int16), tokens=tokens
    )


if __name__ == "__main__":
    main()
