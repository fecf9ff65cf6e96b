"""Loads a 3B PaliGemma in bfloat16 from the folder given and prints how much the process grew by at its peak, in bytes.

python -m tests.models.vla.weights.load_in_process FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from rtx.models.vla.decoder_only import DecoderOnly
from rtx.models.vla.gemma import gemma_2b
from rtx.models.vla.vit import so400m
from rtx.models.vla.weights import paligemma
from rtx.models.vla.weights.leaves import Params


def shapes() -> Params:
    pixels, there, ids = jnp.zeros((1, 1, 224, 224, 3), jnp.uint8), jnp.ones((1, 1), bool), jnp.ones((1, 2), jnp.int32)
    net = DecoderOnly(so400m(), gemma_2b())
    return jax.eval_shape(net.init, jax.random.key(0), pixels, there, ids, ids)["params"]


def memory(field: str) -> int:
    """Bytes; VmRSS is now, VmHWM at the peak. Not from getrusage, whose peak begins with the parent's."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def main() -> None:
    like = shapes()
    before = memory("VmRSS")
    params = paligemma.load_safetensors(Path(sys.argv[1]), like, dtype=jnp.bfloat16)
    linear = params["llm"]["layers"]["mlp"]["linear"]
    print(memory("VmHWM") - before, linear[17, -1, -1].item())


if __name__ == "__main__":
    main()
