"""Building blocks named as in the released RT-1-X tree: Dense, FilmConditioning, TokenLearner, attention.

Every matrix product runs on flattened rows `[rows, features]`. On the CPU, XLA's weight gradient of a product with
several row axes takes a slow path: 153 ms against 44 ms for 32,768 rows of 48 -> 192 features, forward and backward.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float


class Dense(nn.Module):
    """`flax.linen.Dense` over `[..., i]`: same parameters, same numbers, computed on flattened rows."""

    features: int
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*n i"]) -> Float[Array, "*n o"]:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features), jnp.float32)
        rows = x.astype(self.dtype).reshape(-1, x.shape[-1]) @ kernel.astype(self.dtype)
        if self.use_bias:
            rows += self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32).astype(self.dtype)
        return rows.reshape(*x.shape[:-1], self.features)


class FilmConditioning(nn.Module):
    """Feature-wise linear modulation: (1 + mul(c)) * x + add(c), both dense layers zero at the start, so it starts as identity.

    `Dense_0` is the additive, `Dense_1` the multiplicative projection (arXiv 1709.07871; RT-1 A.2).
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n *hw c"], condition: Float[Array, "n s"]) -> Float[Array, "n *hw c"]:
        shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
        zeros = nn.initializers.zeros
        add = Dense(x.shape[-1], kernel_init=zeros, dtype=self.dtype, name="Dense_0")(condition)
        mul = Dense(x.shape[-1], kernel_init=zeros, dtype=self.dtype, name="Dense_1")(condition)
        return (1 + mul.reshape(shape)) * x + add.reshape(shape)


class TokenMasking(nn.Module):
    """The two dense layers that score every position for every token."""

    hidden: int
    num_tokens: int
    gain: float = 1.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n s c"]) -> Float[Array, "n s m"]:
        hidden = nn.gelu(Dense(self.hidden, dtype=self.dtype, name="Dense_0")(x), approximate=True)
        init = nn.initializers.variance_scaling(self.gain**2, "fan_in", "truncated_normal")
        return Dense(self.num_tokens, kernel_init=init, dtype=self.dtype, name="Dense_1")(hidden)


class TokenLearnerModuleV11(nn.Module):
    """TokenLearner v1.1 (arXiv 2106.11297): `num_tokens` learned softmax maps over positions, and the features they weigh.

    Scores come from normalised features, the weighted sum from the features as they are.
    """

    num_tokens: int
    hidden: int = 64
    gain: float = 1.0  # of the scores at the start; RT-1 has 1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n s c"]) -> tuple[Float[Array, "n m c"], Float[Array, "n m s"]]:
        """Returns the tokens and the maps (float32, each sums to 1 over positions)."""
        normed = nn.LayerNorm(dtype=self.dtype, name="LayerNorm_0")(x)
        scores = TokenMasking(self.hidden, self.num_tokens, self.gain, dtype=self.dtype, name="token_masking")(normed)
        maps = jax.nn.softmax(jnp.swapaxes(scores, 1, 2).astype(jnp.float32), axis=-1)
        return maps.astype(self.dtype) @ x, maps


class HeadProjection(nn.Module):
    """Rows to heads, or heads back to rows, with the kernel shapes of `flax.linen.DenseGeneral`."""

    kernel_shape: tuple[int, ...]  # (d, e, h) into heads, (e, h, d) out of them
    num_inputs: int  # leading kernel axes that are summed over: 1 into heads, 2 out of them
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        axes = tuple(range(len(self.kernel_shape)))
        init = nn.initializers.lecun_normal(in_axis=axes[: self.num_inputs], out_axis=axes[self.num_inputs :])
        self.kernel = self.param("kernel", init, self.kernel_shape, jnp.float32)
        if self.use_bias:
            self.bias = self.param("bias", nn.initializers.zeros, self.kernel_shape[self.num_inputs :], jnp.float32)

    def __call__(self, x: Float[Array, "b n *i"]) -> Float[Array, "b n *o"]:
        inputs, outputs = self.kernel_shape[: self.num_inputs], self.kernel_shape[self.num_inputs :]
        kernel = self.kernel.astype(self.dtype).reshape(math.prod(inputs), math.prod(outputs))
        rows = x.astype(self.dtype).reshape(-1, math.prod(inputs)) @ kernel
        if self.use_bias:
            rows += self.bias.astype(self.dtype).reshape(-1)
        return rows.reshape(*x.shape[:2], *outputs)

    def weights(self) -> tuple[Float[Array, "*k"], Float[Array, "*o"]]:
        """Kernel and bias, in the dtype of the computation; of a projection that has both."""
        return self.kernel.astype(self.dtype), self.bias.astype(self.dtype)


class MultiHeadDotProductAttention(nn.Module):
    """Attention of all tokens to the first `s` of them, with an explicit mask `[.., n, s]`; the softmax runs in float32.

    Tokens that nobody may attend to are put last and get no key and no value: the same numbers for less work.
    A query that may see nothing gets zeros.
    """

    num_heads: int
    head_width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"], mask: Bool[Array, "#b n s"]) -> Float[Array, "b n d"]:
        """`mask[b, q, k]`: True where query q may see key k."""
        width = x.shape[-1]
        into = (width, self.num_heads, self.head_width)
        keys = x[:, : mask.shape[-1]]
        query = HeadProjection(into, num_inputs=1, dtype=self.dtype, name="query")(x)
        key = HeadProjection(into, num_inputs=1, dtype=self.dtype, name="key")(keys)
        value = HeadProjection(into, num_inputs=1, dtype=self.dtype, name="value")(keys)
        mixed = masked_attention(query, key, value, mask)
        return HeadProjection((self.num_heads, self.head_width, width), num_inputs=2, dtype=self.dtype, name="out")(mixed)


def masked_attention(
    query: Float[Array, "b q e h"], key: Float[Array, "b s e h"], value: Float[Array, "b s e h"], mask: Bool[Array, "#b q s"]
) -> Float[Array, "b q e h"]:
    """softmax(query key^T / sqrt(h)) value over the keys the mask allows; zeros where it allows none."""
    scores = jnp.einsum("bqeh,bseh->beqs", query, key).astype(jnp.float32) / math.sqrt(query.shape[-1])
    allowed = mask[:, None]
    probability = jax.nn.softmax(jnp.where(allowed, scores, -1e30), axis=-1)
    probability = jnp.where(allowed, probability, 0.0).astype(value.dtype)
    return jnp.einsum("beqs,bseh->bqeh", probability, value)
