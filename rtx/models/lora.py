"""LoRA (arXiv 2106.09685) in the space of parameters: it fits every model, because the model never hears of it.

    W' = W + alpha / rank * A B          W frozen; A normal, B zero at the start, so W' = W to the bit

Which axes of a kernel are inputs and which outputs is said by its path in `AXES`, one letter an axis: "s" a stack of
independent kernels (scanned layers, key and value, gate and up: each gets its own factors), "i" input, "o" output. A
kernel is factored as the matrix [inputs, outputs] it is in the network:

    gemma q_einsum/w [layers, heads, d, head]  "soio"    A [layers, d, rank]     B [layers, rank, heads * head]

While a step runs this costs a copy of the adapted kernels and one of their gradients, which adapters on activations would
not; in return serving, export and every layer stay as they are.
"""

from __future__ import annotations

import difflib
import math
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from rtx.errors import UserError

_STACKED = r"(^|/)(encoderblock|layers)/"

AXES: tuple[tuple[str, str], ...] = (
    (r"/q_einsum/w$", "soio"),
    (r"/(kv|qkv)_einsum/w$", "ssoio"),
    (r"/attn_vec_einsum/w$", "siio"),
    (r"/gating_einsum$", "ssio"),
    (r"/mlp/linear$", "sio"),
    (_STACKED + r"(.*/)?(query|key|value)/kernel$", "sioo"),
    (_STACKED + r"(.*/)?out/kernel$", "siio"),
    (_STACKED + r"(.*/)?kernel$", "sio"),
    (r"(^|/)(query|key|value)/kernel$", "ioo"),
    (r"(^|/)out/kernel$", "iio"),
    (r"(^|/)kernel$", "io"),
    (r"(^|/)kernel$", "iiio"),  # convolutions
)
"""(regular expression searched in the path, letters of the axes). The first that matches with as many axes wins; what none
matches (embeddings, positions, biases, scales, depthwise kernels) cannot be adapted."""


@dataclass(frozen=True, kw_only=True)
class LoRAConfig:
    """OpenVLA's numbers (arXiv 2406.09246, section 5.3). No rules, no adapter."""

    rules: tuple[str, ...] = ()  # regular expressions searched in parameter paths; every kernel one of them finds is adapted
    rank: int = 32  # at most: a kernel with fewer inputs or outputs gets as many
    alpha: float = 16.0  # the factors' product is weighed by alpha / rank

    def problems(self, where: str) -> list[str]:
        found = rule_problems(f"{where}.rules", self.rules)
        if self.rank < 1:
            found.append(f"{where}.rank {self.rank} must be at least 1")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            found.append(f"{where}.alpha {self.alpha} must be above 0")
        return found


def adapters(rng: jax.Array, params: Any, config: LoRAConfig) -> dict[str, Any]:
    """Fresh factors, float32: `{..the kernel's path..: {"a": [*s, i, r], "b": [*s, r, o]}}`.

    A kernel's A depends on `rng` and its path alone. Raises UserError for a rule that finds no kernel.
    """
    factors: dict[str, Any] = {}
    for path, kernel in kernels(params, config).items():
        stack, inputs, outputs = (_sizes(kernel.shape, axes_of(path, kernel.ndim), letter) for letter in "sio")
        into, out = math.prod(inputs), math.prod(outputs)
        rank = min(config.rank, into, out)
        key = jax.random.fold_in(rng, zlib.crc32(path.encode()))
        a = jax.random.normal(key, (*stack, into, rank), jnp.float32) / rank
        _put(factors, path, {"a": a, "b": jnp.zeros((*stack, rank, out), jnp.float32)})
    return factors


def adapted(params: Any, factors: Mapping[str, Any], config: LoRAConfig) -> Any:
    """`params` with every kernel that has factors replaced by W + alpha / rank * A B, in W's dtype; the rest as it is.

    Takes and gives jax arrays, or numpy arrays (then on the host, one kernel at a time).
    """
    flat = flatten(factors)

    def one(path: Any, leaf: Any) -> Any:
        name = _joined(path)
        if f"{name}/a" not in flat:
            return leaf
        delta = _product(flat[f"{name}/a"], flat[f"{name}/b"], leaf.shape, axes_of(name, leaf.ndim))
        return (leaf + config.alpha / config.rank * delta).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(one, params)


def _product(a: Any, b: Any, shape: tuple[int, ...], axes: str) -> Any:
    """A B in the shape and order of axes of the kernel. Full float32 also where products of float32 are cut by default."""
    order = sorted(range(len(axes)), key=lambda axis: "sio".index(axes[axis]))
    with jax.default_matmul_precision("highest"):
        matrix = a @ b
    back = sorted(range(len(order)), key=order.__getitem__)
    return matrix.reshape([shape[axis] for axis in order]).transpose(back)


def kernels(params: Any, config: LoRAConfig) -> dict[str, Any]:
    """`path -> kernel` of what the rules adapt. Raises UserError for a rule that finds none, naming near paths."""
    flat = {path: leaf for path, leaf in flatten(params).items() if _letters(path, leaf.ndim)}
    for rule in config.rules:
        if not any(re.search(rule, path) for path in flat):
            raise no_match("train.lora.rules", rule, flat, what="kernel that can be adapted")
    return {path: leaf for path, leaf in flat.items() if any(re.search(rule, path) for rule in config.rules)}


def axes_of(path: str, ndim: int) -> str:
    """The letters of a kernel's axes, see `AXES`."""
    letters = _letters(path, ndim)
    assert letters is not None, f"factors exist only for kernels, and {path} with {ndim} axes is none"
    return letters


def _letters(path: str, ndim: int) -> str | None:
    return next((letters for rule, letters in AXES if len(letters) == ndim and re.search(rule, path)), None)


def _sizes(shape: tuple[int, ...], axes: str, letter: str) -> tuple[int, ...]:
    return tuple(size for size, axis in zip(shape, axes, strict=True) if axis == letter)


def flatten(tree: Any) -> dict[str, Any]:
    """Every leaf under its "/"-joined path."""
    return {_joined(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _joined(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split("/")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[name] = value


def rule_problems(where: str, rules: Iterable[str]) -> list[str]:
    """A line for each rule that is no regular expression."""
    found = []
    for rule in rules:
        try:
            re.compile(rule)
        except re.error as error:
            found.append(f"{where}: {rule!r} is not a regular expression ({error})")
        if not rule:
            found.append(f"{where}: an empty rule would match every parameter; write '.' if that is meant")
    return found


def no_match(where: str, rule: str, paths: Iterable[str], *, what: str = "parameter") -> UserError:
    """The error for a rule that finds nothing, with the paths and parts of paths nearest to it."""
    known = list(paths)
    parts = {"/".join(path.split("/")[:depth]) for path in known for depth in range(1, path.count("/") + 2)}
    plain = re.sub(r"\\.|[^\w/]", "", rule)
    near = difflib.get_close_matches(plain, sorted(parts), n=5, cutoff=0.4)
    near = near or sorted({path.split("/")[0] for path in known})
    return UserError(f"{where}: {rule!r} matches no {what}; near it or at the top: {', '.join(near) or 'none'}")
