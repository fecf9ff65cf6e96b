"""Parameter trees as named leaves: what both file formats share.

A leaf's name is its path joined by "/", for instance `llm/layers/mlp/linear`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from rtx.errors import WorldError

Params = Mapping[str, Any]
"""A nested dictionary of arrays, or of `jax.ShapeDtypeStruct`: the "params" of a network."""

_SHOWN = 5


def flat(tree: Params) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def rebuild(like: Params, leaves: Mapping[str, Any]) -> Params:
    """A tree of the structure of `like` with the named leaves in it."""
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in flat(like)])


def placed(array: np.ndarray, like: Any) -> Any:
    """On the devices that `like` (a ShapeDtypeStruct) asks for; without a sharding the array stays as it is, on the host."""
    sharding = getattr(like, "sharding", None)
    return array if sharding is None else jax.device_put(array, sharding)


def check(where: str, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
    """Raises WorldError that names the first tensors which are missing, of another shape, or not the network's."""
    problems = [
        problem
        for name in sorted(expected.keys() | found.keys())
        if (problem := _problem(name, expected.get(name), found.get(name)))
    ]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise WorldError(
            f"{where} does not hold this network: {'; '.join(problems[:_SHOWN])}{more} "
            f"({len(expected)} tensors expected, {len(found)} found); is the config the checkpoint's?"
        )


def _problem(name: str, want: tuple[int, ...] | None, have: tuple[int, ...] | None) -> str | None:
    if want is None:
        return f"{name} {list(have or ())} is not expected"
    if have is None:
        return f"{name} {list(want)} is missing"
    return None if want == have else f"{name} is {list(have)}, expected {list(want)}"
