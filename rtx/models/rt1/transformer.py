"""RT-1's transformer and its mask.

Sequence: for each frame its context tokens, frames in order, then one query token per action entry.

    query  / key    context of earlier frames   context of its own frame   later frames   action tokens
    context                  yes                    yes ("step")                no              no
    action                   yes                    yes                         no              no

With `causal="token"` (the released RT-1 and RT-1-X) a context token sees only tokens at or before itself in its frame.
Action tokens are never attended to, not even by themselves, and their inputs are zero: the outputs differ by position only,
so all of them come out of one pass. That also makes action tokens of earlier frames irrelevant, so there are none.
With `action_queries="step"` one query stands for all numbers of a chunk step and is read out into all their bins: fewer
rows for the same answer.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from rtx.models.layout import by_rows
from rtx.models.rt1.config import RT1Config
from rtx.models.rt1.layers import Dense, MultiHeadDotProductAttention


def attention_mask(*, num_frames: int, context: int, num_actions: int, causal: str) -> np.ndarray:
    """Which query (row) may see which key (column), before padding: bool [n, n], n = num_frames * context + num_actions."""
    num_context = num_frames * context
    place = np.arange(num_context + num_actions)
    is_action = place >= num_context
    order = place // context if causal == "step" else place
    order = np.where(is_action, place[-1], order)
    return (order[None, :] <= order[:, None]) & ~is_action[None, :]


def bin_basis(num_bins: int, num_waves: int) -> np.ndarray:
    """Logits as smooth functions of the bin: float32 [num_waves + 2, num_bins].

    Cosines of falling weight, so that one example teaches its neighbourhood of bins and not only its own bin; and the first
    and last bin for themselves, because a gripper's or a termination's labels sit exactly there.
    """
    place = (np.arange(num_bins) + 0.5) / num_bins
    wave = np.arange(num_waves)[:, None]
    cosines = np.cos(np.pi * wave * place) * 4.0 / np.maximum(wave, 1) ** 0.5
    ends = np.zeros((2, num_bins))
    ends[0, 0] = ends[1, -1] = 4.0
    return np.concatenate([cosines, ends]).astype(np.float32)


class Positions(nn.Module):
    """Absolute positions as RT-1 has them: a dense layer over a one-hot index, so one row of a table plus a bias."""

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        kernel = self.param("kernel", nn.initializers.normal(0.5), x.shape[1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, x.shape[2:], jnp.float32)
        return x + (kernel + bias).astype(x.dtype)


class TransformerBlock(nn.Module):
    """Pre-norm: x + attention(LN(x)), then x + dropout(SwiGLU(LN(x))). SwiGLU has no biases."""

    config: RT1Config

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"], mask: Bool[Array, "b n s"], *, train: bool) -> Float[Array, "b n d"]:
        cfg, dtype, x = self.config, x.dtype, by_rows(x)
        normed = nn.LayerNorm(epsilon=1e-6, dtype=dtype, name="LayerNorm_0")(x)
        attention = MultiHeadDotProductAttention(
            cfg.num_heads, cfg.head_width, dtype=dtype, name="MultiHeadDotProductAttention_0"
        )
        x = x + attention(normed, mask)
        normed = nn.LayerNorm(epsilon=1e-6, dtype=dtype, name="LayerNorm_1")(x)
        swish = nn.silu(Dense(cfg.mlp_width, use_bias=False, dtype=dtype, name="Dense_0")(normed))
        gate = Dense(cfg.mlp_width, use_bias=False, dtype=dtype, name="Dense_1")(normed)
        out = Dense(x.shape[-1], use_bias=False, dtype=dtype, name="Dense_2")(swish * gate)
        return x + nn.Dropout(cfg.dropout)(out, deterministic=not train)


class Transformer(nn.Module):
    """Context tokens to action logits, float32."""

    config: RT1Config

    @nn.compact
    def __call__(
        self, context: Float[Array, "b t n d"], valid: Bool[Array, "b t n"], *, train: bool
    ) -> Float[Array, "b k a v"]:
        """`valid`: True for context tokens that may be attended to."""
        cfg, dtype = self.config, context.dtype
        b, t, n, width = context.shape
        num_actions = cfg.chunk * (cfg.action_dims if cfg.action_queries == "entry" else 1)
        tokens = jnp.concatenate([context.reshape(b, t * n, width), jnp.zeros((b, num_actions, width), dtype)], 1)
        full = attention_mask(num_frames=t, context=n, num_actions=num_actions, causal=cfg.causal)
        mask = jnp.asarray(full[:, : t * n])[None] & valid.reshape(b, 1, t * n)  # nobody sees an action token
        x = Positions(name="Dense_1")(Dense(cfg.width, dtype=dtype, name="Dense_0")(tokens))
        for i in range(cfg.num_layers):
            x = TransformerBlock(cfg, name=f"TransformerBlock_{i}")(x, mask, train=train)
        entries = cfg.chunk * cfg.action_dims // num_actions
        basis = None if cfg.head_waves == 0 else jnp.asarray(bin_basis(cfg.num_bins, cfg.head_waves))
        features = entries * (cfg.num_bins if basis is None else len(basis))
        out = Dense(features, dtype=dtype, name="Dense_2")(x[:, t * n :]).astype(jnp.float32)
        out = out.reshape(b, cfg.chunk, cfg.action_dims, -1)
        return out if basis is None else out @ basis
