"""Checkpoints read back: a training state onto any mesh and number of processes, or the variables alone, for use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from rtx.errors import UserError, WorldError
from rtx.files import read_json
from rtx.models.lora import LoRAConfig
from rtx.spec import Contract
from rtx.train import pytree
from rtx.train.checkpoint.meeting import Meeting
from rtx.train.checkpoint.side import SideFiles, read_side
from rtx.train.checkpoint.sound import MANIFEST, newest_sound, steps, verify
from rtx.train.checkpoint.writing import arrays_of
from rtx.train.trainable import LORA, merged
from rtx.typed_json import from_json


@dataclass(frozen=True, kw_only=True)
class Restored:
    """A training state read back, and what lay beside it."""

    step: int
    state: Any  # the structure of the target it was restored onto
    side: SideFiles
    path: Path


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint opened for use: all but the optimizer. `variables` are numpy, as the model computes with them: averaged
    where an average was kept, adapters merged into their kernels."""

    step: int
    contract: Contract
    model: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    variables: Mapping[str, Any]
    data_state: Mapping[str, Any]
    config: Mapping[str, Any]
    path: Path


def restore(root: Path, target: Mapping[str, Any]) -> Restored | None:
    """The newest sound checkpoint of `root` onto `target` (shapes, dtypes, shardings); None if there is none yet.

    The mesh and the processes that wrote it do not matter: each process reads what its devices hold of each array, no more.
    A damaged newer one is logged with the file at fault and left where it is. Raises WorldError if all are damaged,
    UserError if the arrays do not fit the target (every path that differs is named).
    """
    folder = newest_sound(root, Meeting())
    if folder is None:
        return None
    flat, handler = pytree.flatten(target), ocp.PyTreeCheckpointHandler()
    if differences := pytree.mismatches(flat, _stored(handler, folder)):
        raise UserError("\n  ".join([f"the checkpoint {folder} does not fit this model and optimizer:", *differences]))
    state = pytree.unflatten_like(target, _read_arrays(handler, folder, flat))
    return Restored(step=int(folder.name), state=state, side=read_side(folder), path=folder)


def _read_arrays(handler: ocp.PyTreeCheckpointHandler, folder: Path, flat: Mapping[str, Any]) -> dict[str, Any]:
    item = pytree.nest(flat)
    args = ocp.args.PyTreeRestore(item=item, restore_args=ocp.checkpoint_utils.construct_restore_args(item))
    return pytree.flatten(handler.restore(arrays_of(folder), args=args))


def open_checkpoint(path: Path | str, step: int | None = None) -> Checkpoint:
    """Opens a run folder (its newest sound checkpoint, or `step`) or one checkpoint folder. Reads no optimizer state.

    Raises UserError where there is no checkpoint (saying what is there), WorldError where it is damaged.
    """
    folder = _locate(Path(path), step)
    if problems := verify(folder):
        more = f" (and {len(problems) - 1} more files)" if len(problems) > 1 else ""
        raise WorldError(f"checkpoint {folder} is damaged: {problems[0]}{more}; use another step or restore it from a copy")
    side = read_side(folder)
    return Checkpoint(
        step=read_json(folder / MANIFEST)["step"],
        variables=_read_variables(folder, side.config),
        contract=side.contract,
        model=side.model,
        tokenizer=side.tokenizer,
        data_state=side.data,
        config=side.config,
        path=folder,
    )


def read_tokenizer(path: Path | str) -> dict[str, Any]:
    """The tokenizer of a run folder's newest sound checkpoint, or of one checkpoint folder. Errors as `open_checkpoint`."""
    data: dict[str, Any] = read_json(_locate(Path(path), None) / "tokenizer.json")
    return data


def read_side_files(path: Path | str) -> SideFiles:
    """What lies beside the arrays of a run's newest sound checkpoint, or of one checkpoint. Errors as `open_checkpoint`."""
    return read_side(_locate(Path(path), None))


def read_contract(path: Path | str) -> Contract:
    """The contract of a run folder's newest sound checkpoint, or of one checkpoint folder. Errors as `open_checkpoint`."""
    contract: Contract = from_json(Contract, read_json(_locate(Path(path), None) / "contract.json"), "contract")
    return contract


def _locate(path: Path, step: int | None) -> Path:
    if not path.exists():
        raise UserError(f"no such folder: {path}; expected a run folder (with checkpoints/) or one checkpoint of it")
    if (path / MANIFEST).is_file() or (path / "state").is_dir():
        if step is not None and path.name != str(step):
            raise UserError(f"{path} is one checkpoint, so step {step} cannot be chosen in it; give the run folder instead")
        return path
    root = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    found = steps(root)
    if not found:
        raise UserError(_no_checkpoint(path))
    if step is not None:
        if step not in found:
            raise UserError(f"{root} has no checkpoint of step {step}; it has {', '.join(map(str, found))}")
        return root / str(step)
    newest = newest_sound(root, Meeting(alone=True))  # whoever opens a checkpoint does so without the others
    assert newest is not None, "steps() found folders, so newest_sound returns one or raises"
    return newest


def _no_checkpoint(path: Path) -> str:
    expected = "a run folder of `rtx train` (config.json, checkpoints/<step>/) or one of its checkpoints"
    if not path.is_dir():
        return f"{path} is a file; expected {expected}"
    names = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    if "config.json" in names and "metrics.jsonl" in names:
        return f"the run {path} has no checkpoint yet; run its `rtx train` command again until it saves one"
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"
    return f"{path} holds no checkpoint; expected {expected}, found {listed}"


def _stored(handler: ocp.PyTreeCheckpointHandler, folder: Path) -> dict[str, Any]:
    """`path -> metadata (shape, dtype)` of the arrays in a checkpoint."""
    return pytree.flatten(handler.metadata(arrays_of(folder)).tree)


def _read_variables(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Model variables as numpy, as they are served: averages in the place of the parameters they follow, adapters merged."""
    handler = ocp.PyTreeCheckpointHandler()
    stored = _stored(handler, folder)
    served = {path: _served_path(path) for path in stored if path.startswith(("variables/", "ema/"))}
    followed = {name for path, name in served.items() if path != name}
    item = pytree.nest({path: 0 for path in served if path not in followed})
    restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
    args = ocp.args.PyTreeRestore(item=item, partial_restore=True, restore_args=restore_args)
    flat = pytree.flatten(handler.restore(arrays_of(folder), args=args))
    variables: dict[str, Any] = pytree.nest({served[path]: leaf for path, leaf in flat.items()})["variables"]
    if LORA in variables["params"]:
        lora = from_json(LoRAConfig, config["train"]["lora"], "train.lora")
        variables["params"] = merged(variables["params"], lora)
    return variables


def _served_path(path: str) -> str:
    return "variables/params/" + path.removeprefix("ema/") if path.startswith("ema/") else path
