"""What the backward pass keeps of a layer and what it computes again: memory against time, by name.

none      keeps everything
dots      results of matrix products; what lies between is cheap (of scanned layers often cheaper than a stack of it)
weights   results of products with parameters; attention, activations times activations, is computed again
layers    what enters the layer; all of it is computed again, a third more work
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import flax.linen as nn
import jax

Remat = Literal["none", "dots", "weights", "layers"]
REMATS: tuple[str, ...] = get_args(Remat)

_POLICIES = {
    "dots": jax.checkpoint_policies.dots_saveable,
    "weights": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "layers": None,
}


def rematerialized(layer: Any, name: Remat, **how: Any) -> Any:
    """`layer`, a module class or a function of a module, with its insides kept as `name` says. `how`: of `flax.linen.remat`."""
    return layer if name == "none" else nn.remat(layer, policy=_POLICIES[name], **how)
