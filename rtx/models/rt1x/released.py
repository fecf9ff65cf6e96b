"""The released RT-1-X checkpoint: read from either of its formats, and proven leaf by leaf to be that network.

    checkpoint                 one Flax MessagePack file (or the folder it lies in)
    folder with _METADATA      Orbax (or `manifest.ocdbt`, or a folder of steps with one such in it)

Both hold a tree with "params" and "batch_stats"; whatever else lies beside them (a step, an optimizer) is left out. Neither
format can run code: MessagePack arrays are bytes with a shape, Orbax's are tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rtx.errors import UserError, WorldError
from rtx.models.blank import blank_batch
from rtx.models.flax_file import read_msgpack
from rtx.models.protocol import Variables
from rtx.models.rt1x.config import RT1XConfig
from rtx.models.rt1x.model import RT1X

_COLLECTIONS = ("params", "batch_stats")
_ORBAX_MARKS = ("_METADATA", "manifest.ocdbt", "_CHECKPOINT_METADATA")


def read_released(path: Path, config: RT1XConfig) -> Variables:
    """`{"params", "batch_stats"}` of numpy float32, exactly the tree of `config`.

    Raises UserError where there is no checkpoint, WorldError for a damaged one or with the first leaf whose name, shape,
    dtype or values are not as the network needs them.
    """
    found = _read(path)
    if absent := [name for name in _COLLECTIONS if not isinstance(found.get(name), Mapping)]:
        raise WorldError(f"{path}: no {' and no '.join(absent)} in it; it has {', '.join(sorted(map(str, found))[:10])}")
    variables = {name: found[name] for name in _COLLECTIONS}
    check_tree(variables, config, where=str(path))
    return variables


def expected_tree(config: RT1XConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Path -> shape and dtype of every leaf, paths joined by "/". Computes nothing."""
    text = np.zeros((1, config.sentence_width), np.float32)
    blank = blank_batch(text, roles=config.roles[:1], image_size=config.image_size, history=config.history)
    shapes = jax.eval_shape(RT1X(config).init, jax.random.key(0), blank)
    return _flat(shapes)


def check_tree(variables: Mapping[str, Any], config: RT1XConfig, *, where: str) -> None:
    """Raises WorldError with the first leaf, in the order of their names, that is not the network's."""
    expected, found = expected_tree(config), _flat(variables)
    for path in sorted(set(expected) | set(found)):
        if problem := _problem(expected.get(path), found.get(path)):
            differing = sum(bool(_problem(expected.get(p), found.get(p))) for p in set(expected) | set(found))
            more = f" ({differing} of {len(expected)} leaves differ)" if differing > 1 else ""
            raise WorldError(f"{where}: {path}: {problem}{more}")


def _problem(want: Any, have: Any) -> str | None:
    if want is None:
        return f"{have.dtype}{list(have.shape)} is not expected here" if hasattr(have, "shape") else "is not expected here"
    if have is None:
        return f"missing, expected {want.dtype}{list(want.shape)}"
    if not isinstance(have, np.ndarray):
        return f"holds a {type(have).__name__}, expected {want.dtype}{list(want.shape)}"
    if have.shape != want.shape or have.dtype != want.dtype:
        return f"{have.dtype}{list(have.shape)}, expected {want.dtype}{list(want.shape)}"
    return None if np.all(np.isfinite(have)) else "holds values that are not finite"


def _flat(tree: Any) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _read(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        raise UserError(f"no such file or folder: {path}; expected the released checkpoint")
    if path.is_file():
        return read_msgpack(path)
    if any((path / mark).exists() for mark in _ORBAX_MARKS):
        return _read_orbax(path)
    if (path / "checkpoint").is_file():
        return read_msgpack(path / "checkpoint")
    inside = sorted(p for p in path.iterdir() if p.is_dir() and any((p / mark).exists() for mark in _ORBAX_MARKS))
    if len(inside) != 1:
        names = ", ".join(sorted(p.name for p in path.iterdir())[:10]) or "nothing"
        raise UserError(
            f"{path} is no released checkpoint: expected a MessagePack file called checkpoint, or one Orbax folder "
            f"(with {' or '.join(_ORBAX_MARKS)}); it has {names}"
        )
    return _read(inside[0])


def _read_orbax(path: Path) -> Mapping[str, Any]:
    """Only the two collections are read: an optimizer would be twice their size."""
    import orbax.checkpoint as ocp

    folder = path.absolute()
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        stored = checkpointer.metadata(folder).item_metadata
        if stored is None:
            raise WorldError(f"{path}: the Orbax checkpoint has no readable metadata; is it whole?")
        item = {name: stored.tree[name] for name in _COLLECTIONS if name in stored.tree}
        restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
        args = ocp.args.PyTreeRestore(item=item, partial_restore=True, restore_args=restore_args)
        return checkpointer.restore(folder, args=args)
