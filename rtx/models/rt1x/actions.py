"""The canonical action as RT-1's eleven tokens, and back.

    token    0              1..3          4..6            7                    8                       9, 10
    RT-1     terminate      world_vector  rotation_delta  gripper_closedness   base vertical rotation  base displacement
    ours     terminate      delta_pos     delta_rot       gripper, turned      base_delta_yaw          base_delta_pos

RT-1 bins physical values between fixed bounds. Here the bounds are those of model space, [-1, 1]: a checkpoint's contract
says which physical value they stand for, for each robot (`rtx.serve.released`). RT-1's gripper closes upwards (+1 closed), ours
opens (+1 open). Its first token is a choice: 0 terminate, 1 arm and gripper, 2 base.

Source: google-deepmind/open_x_embodiment `models/rt1.py`; mixtures without a base have zeros there, as in its training.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rtx.models.action_tokens import UniformTokenizer
from rtx.models.rt1x.config import NUM_ACTION_TOKENS, RT1XConfig

TERMINATE, ARM, BASE = 0, 1, 2
"""Values of the first token."""

_DIMS = np.array([7, 0, 1, 2, 3, 4, 5, 6, 10, 8, 9])  # which of our dimensions each token stands for
_SIGN = np.array([1, 1, 1, 1, 1, 1, 1, -1, 1, 1, 1], np.float32)
_BASE_TOKENS = slice(8, 11)


def tokenizer_of(config: RT1XConfig) -> UniformTokenizer:
    return UniformTokenizer(num_bins=config.num_bins, rounding=config.rounding)


def encode(config: RT1XConfig, action: Float[Array, "*b a"]) -> Int[Array, "*b 11"]:
    """Model space to tokens, int32. The base mode is chosen where the base is to move and the arm is not to terminate."""
    action = jnp.asarray(action, jnp.float32)
    missing = NUM_ACTION_TOKENS - action.shape[-1]
    padded = jnp.pad(action, [*[(0, 0)] * (action.ndim - 1), (0, missing)])
    tokens = tokenizer_of(config).encode(padded[..., _DIMS] * _SIGN)
    moves_base = jnp.any(tokens[..., _BASE_TOKENS] != still_tokens(config)[_BASE_TOKENS], -1)
    mode = jnp.where(action[..., 7] > 0, TERMINATE, jnp.where(moves_base, BASE, ARM))
    return tokens.at[..., 0].set(mode)


def decode(config: RT1XConfig, tokens: Int[Array, "*b 11"]) -> Float[Array, "*b a"]:
    """Tokens to model space, float32. A first token other than 0 means: go on."""
    values = tokenizer_of(config).decode(tokens) * _SIGN
    values = values.at[..., 0].set(jnp.where(tokens[..., 0] == TERMINATE, 1.0, -1.0))
    return values[..., np.argsort(_DIMS)][..., : config.action_dims]


def still_tokens(config: RT1XConfig) -> Int[Array, " 11"]:
    """What the release trains on in the empty frames before an episode: zeros everywhere, and terminate."""
    zeros = tokenizer_of(config).encode(jnp.zeros(NUM_ACTION_TOKENS))
    return zeros.at[0].set(TERMINATE)


def known_tokens(mask: Bool[Array, "*b a"]) -> Bool[Array, "*b 11"]:
    """Which tokens hold something the data set knows."""
    missing = NUM_ACTION_TOKENS - mask.shape[-1]
    return jnp.pad(mask, [*[(0, 0)] * (mask.ndim - 1), (0, missing)])[..., _DIMS]
