"""What the stored reference and the tests share: two minute PaliGemmas with every feature on, their weights, inputs."""

from __future__ import annotations

import functools
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rtx.models.vla.decoder_only import DecoderOnly
from rtx.models.vla.gemma import GemmaConfig
from rtx.models.vla.vit import ViTConfig
from rtx.models.vla.weights.leaves import Params

REFERENCE = Path(__file__).with_name("paligemma_reference.npz")

VISION = ViTConfig(patch=8, width=24, depth=2, mlp=40, heads=3)
SIZE = 32  # pixels; 16 tokens a picture
GEMMA_1 = GemmaConfig(vocab=96, width=32, depth=2, mlp=48, heads=4, kv_heads=1, head_dim=12, query_scale=12**-0.5)
GEMMA_2 = GemmaConfig(
    vocab=96, width=36, depth=3, mlp=48, heads=6, kv_heads=2, head_dim=8, query_scale=11**-0.5, attn_softcap=2.0,
    final_softcap=3.0, post_norms=True,
)  # fmt: skip
LANGUAGES = {"gemma1": GEMMA_1, "gemma2": GEMMA_2}

PICTURE_MASK = np.array([[True, True, True], [True, False, True]])
PROMPT = np.array([[2, 15, 33, 7, 60, 4], [2, 90, 4, 0, 0, 0]], np.int32)
ANSWER = np.array([[41, 8, 77, 13, 1], [95, 3, 1, 0, 0]], np.int32)


def inputs() -> tuple[jax.Array, ...]:
    """Pictures, their mask, prompt and answer."""
    return tuple(jnp.asarray(array) for array in (pictures(), PICTURE_MASK, PROMPT, ANSWER))


def pictures() -> np.ndarray:
    """Uint8 [2, 3, 32, 32, 3]."""
    return np.random.default_rng(7).integers(0, 256, (*PICTURE_MASK.shape, SIZE, SIZE, 3), dtype=np.uint8)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A float32 array fixed by its name: matrices keep variances as they are, vectors are small."""
    normal = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    return normal * np.float32(0.2 if len(shape) == 1 else np.prod(shape[1:]) ** -0.5)


def saved_names(kind: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters as transformers saves them."""
    with np.load(REFERENCE) as stored:
        lines = [str(line).split() for line in stored[f"{kind}_names"]]
    return {name: tuple(int(size) for size in shape) for name, *shape in lines}


def shapes(kind: str, *, size: int = SIZE) -> Params:
    return shapes_of(LANGUAGES[kind], size=size)


@functools.cache
def shapes_of(language: GemmaConfig, *, size: int = SIZE) -> Params:
    """Shapes and dtypes of our parameters."""
    pixels = jnp.zeros((1, 1, size, size, 3), jnp.uint8)
    there, ids = jnp.ones((1, 1), bool), jnp.ones((1, 2), jnp.int32)
    return jax.eval_shape(DecoderOnly(VISION, language).init, jax.random.key(0), pixels, there, ids, ids)["params"]
