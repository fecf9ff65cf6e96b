"""Pytrees as `path -> leaf`: one naming of parameters for checkpoints, sharding rules, masks and error messages.

{"params": {"dense": {"kernel": k}}}  <->  {"params/dense/kernel": k}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax


def flatten(tree: Any) -> dict[str, Any]:
    """Every leaf under its path, names joined by "/". Empty nodes and None have no leaf and vanish."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`path -> leaf` as nested plain dictionaries."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def unflatten_like(tree: Any, flat: Mapping[str, Any]) -> Any:
    """The structure of `tree` with the leaves of `flat`; both must have the same paths."""
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(tree), [flat[path] for path in flatten(tree)])


def abstract(tree: Any, shardings: Any) -> Any:
    """Shape, dtype and where to put every leaf: what a restore needs as its target. `shardings`: one, or one for each leaf."""
    if isinstance(shardings, jax.sharding.Sharding):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=shardings), tree)
    return jax.tree.map(lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree, shardings)


def num_elements(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def mismatches(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs between two `path -> array-like` in paths, shapes or dtypes, one line each."""
    lines = [f"{path}: missing" for path in _only(expected, found)] + [
        f"{path}: not expected" for path in _only(found, expected)
    ]
    for path in sorted(set(expected) & set(found)):
        want, have = (f"{leaf.dtype}{list(leaf.shape)}" for leaf in (expected[path], found[path]))
        if want != have:
            lines.append(f"{path}: {have}, expected {want}")
    return lines


def _only(a: Iterable[str], b: Iterable[str]) -> list[str]:
    return sorted(set(a) - set(b))
