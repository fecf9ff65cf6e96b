"""Checkpoints that are whole or are not checkpoints: Orbax holds the arrays, our manifest proves every byte.

    run/checkpoints/120/
        state/           Orbax: step, variables, ema, opt_state, rng as nested dictionaries
        contract.json    which robots, cameras, statistics
        model.json       family and config
        tokenizer.json   vocabulary
        data.json        position in the data and its fingerprint
        config.json      the resolved configuration
        manifest.json    size and sha256 of all of the above, written last

A save is built in `.saving-120` and renamed when complete, a removal goes through `.removing-100`; so a kill at any
instant leaves either a whole checkpoint or a hidden leftover that the next save sweeps. A numbered folder that does not
match its manifest is therefore damage: it is passed over, named, and never deleted.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from rtx import __version__
from rtx.errors import UserError, WorldError
from rtx.files import disk_errors, read_json, write_json
from rtx.models.lora import LoRAConfig
from rtx.spec import Contract, to_json
from rtx.spec_json import contract_from_json
from rtx.train import pytree
from rtx.train.trainable import LORA, merged
from rtx.typed_json import from_json

log = logging.getLogger(__name__)

FORMAT = "rtx-checkpoint-1"
_SIDE_NAMES = ("contract", "model", "tokenizer", "data", "config")
_BLOCK_BYTES = 1 << 22
_SIDE_BYTES = 1 << 18  # side files and Orbax's own


@dataclass(frozen=True, kw_only=True)
class SideFiles:
    """What travels with the weights, as JSON data but for the contract."""

    contract: Contract
    model: Mapping[str, Any]  # {"family": ..., "config": {...}}, for `rtx.models.families.model_from_json`
    tokenizer: Mapping[str, Any]
    data: Mapping[str, Any]  # LoaderState: {"next_sample": int, "fingerprint": str}
    config: Mapping[str, Any]  # the resolved TrainConfig

    def to_json(self) -> dict[str, Any]:
        return {name: to_json(getattr(self, name)) for name in _SIDE_NAMES}


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


def save(root: Path, *, step: int, state: Mapping[str, Any], side: SideFiles, keep: int = 2) -> Path:
    """Writes `root/<step>` and then removes all but the newest `keep` (at least 2) sound checkpoints. Returns its path.

    `state` is a mapping of pytrees of arrays. A sound checkpoint of the same step is left as it is; a damaged one is set
    aside as `<step>.damaged-<n>`. Raises WorldError if it cannot be written; what was there before is then untouched.
    """
    if keep < 2:
        raise UserError(f"keep {keep} must be at least 2: while one checkpoint is written another must be there")
    final = root / str(step)
    if final.exists():
        if not verify(final):
            return final
        _set_aside(final)
    _sweep(root)
    saving = root / f".saving-{step}"
    with disk_errors(root):
        try:
            saving.mkdir(parents=True)
            _check_space(root, state)
            for name, data in side.to_json().items():
                write_json(saving / f"{name}.json", data)
            _write_arrays(_arrays(saving), state)
            _write_manifest(saving, step)
            os.rename(saving, final)
            _sync_folder(root)
        finally:
            shutil.rmtree(saving, ignore_errors=True)
    _retain(root, keep)
    return final


def copy_with_tokenizer(folder: Path, run: Path, tokenizer: Mapping[str, Any]) -> Path:
    """The checkpoint in `folder` with another tokenizer, as a checkpoint of the run folder `run`. Returns the copy.

    Its arrays are the same files where the file system can link them. Raises UserError where that step is there already.
    """
    root = run / "checkpoints"
    final, saving = root / folder.name, root / f".saving-{folder.name}"
    if final.exists():
        raise UserError(f"{final} is there already; give a new folder")
    with disk_errors(root):
        try:
            shutil.copytree(folder, saving, copy_function=_link_or_copy)
            for name in ("tokenizer.json", "manifest.json"):
                (saving / name).unlink()  # they may be links
            write_json(saving / "tokenizer.json", tokenizer)
            _write_manifest(saving, read_json(folder / "manifest.json")["step"])
            os.rename(saving, final)
            _sync_folder(root)
        finally:
            shutil.rmtree(saving, ignore_errors=True)
    return final


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def _check_space(root: Path, state: Mapping[str, Any]) -> None:
    """Before Orbax finds out: it fails cleanly too, but with a thousand lines of its threads' tracebacks on the log."""
    needed = int(1.05 * sum(leaf.nbytes for leaf in pytree.flatten(state).values())) + _SIDE_BYTES
    free = shutil.disk_usage(root).free
    if free < needed:
        raise WorldError(
            f"cannot write {root}: the disk is full ({free / 1e6:,.1f} MB free, a checkpoint needs {needed / 1e6:,.1f} MB). "
            "Free some space; a run that has stopped carries on with the same command"
        )


def _arrays(folder: Path) -> Path:
    """Orbax takes absolute paths only."""
    return (folder / "state").absolute()


def _write_arrays(path: Path, state: Mapping[str, Any]) -> None:
    """Orbax reports a full disk as a ValueError of the storage layer below it; a person needs to know which disk."""
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            checkpointer.save(path, args=ocp.args.PyTreeSave(pytree.nest(pytree.flatten(state))))
    except OSError:
        raise
    except Exception as error:
        text = str(error)
        if "No space left" in text or "RESOURCE_EXHAUSTED" in text or "ENOSPC" in text:
            raise WorldError(f"cannot write {path.parent.parent}: the disk became full; free some space and go on") from error
        raise


def _write_manifest(folder: Path, step: int) -> None:
    files = {
        str(file.relative_to(folder)): {"bytes": file.stat().st_size, "sha256": _sha256(file, sync=True)}
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    write_json(folder / "manifest.json", {"format": FORMAT, "rtx": __version__, "step": step, "files": files})


def _sha256(path: Path, *, sync: bool = False) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
        if sync:  # Orbax does not: after a power cut the manifest must not be the only file on the disk
            os.fsync(file.fileno())
    return digest.hexdigest()


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _set_aside(path: Path) -> None:
    n = 1
    while (aside := path.with_name(f"{path.name}.damaged-{n}")).exists():
        n += 1
    log.warning("damaged checkpoint set aside: from=%s to=%s", path, aside)
    with disk_errors(aside):
        path.rename(aside)


def _sweep(root: Path) -> None:
    """Removes what a kill left of a save or a removal."""
    for pattern in (".saving-*", ".removing-*"):
        for leftover in root.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)


def _retain(root: Path, keep: int) -> None:
    """Counts only folders whose files have the sizes of their manifest, so that damage never pushes out the last good one."""
    sound = [step for step in steps(root) if not verify(root / str(step), hashes=False)]
    for step in sound[keep:]:
        removing = root / f".removing-{step}"
        with disk_errors(removing):
            (root / str(step)).rename(removing)
        shutil.rmtree(removing, ignore_errors=True)


def steps(root: Path) -> list[int]:
    """Steps of the numbered folders in `root`, newest first, sound or not."""
    if not root.is_dir():
        return []
    return sorted((int(entry.name) for entry in root.iterdir() if entry.name.isdecimal()), reverse=True)


def verify(folder: Path, *, hashes: bool = True) -> list[str]:
    """What is wrong with a checkpoint folder, one line a file; empty if nothing. `hashes=False` compares sizes only."""
    manifest_path = folder / "manifest.json"
    try:
        manifest = read_json(manifest_path)
        files = manifest["files"]
        if manifest["format"] != FORMAT:
            return [f"{manifest_path}: format {manifest['format']!r}, expected {FORMAT!r}"]
        if not all(f"{name}.json" in files for name in _SIDE_NAMES):
            return [f"{manifest_path}: does not list all of {', '.join(_SIDE_NAMES)}"]
        return [line for name, entry in files.items() if (line := _file_problem(folder / name, entry, hashes=hashes))]
    except UserError:
        return [f"{manifest_path}: missing"]
    except (WorldError, KeyError, TypeError, UnicodeDecodeError):
        return [f"{manifest_path}: not a manifest"]


def _file_problem(path: Path, entry: Mapping[str, Any], *, hashes: bool) -> str | None:
    if not path.is_file():
        return f"{path}: missing"
    if (size := path.stat().st_size) != entry["bytes"]:
        return f"{path}: {size} bytes, expected {entry['bytes']}"
    if hashes and _sha256(path) != entry["sha256"]:
        return f"{path}: contents differ from the manifest's sha256"
    return None


def _newest_sound(root: Path) -> Path | None:
    """The newest checkpoint that verifies; names the damaged ones it passes over. None if there is no numbered folder.

    Raises WorldError if there are checkpoints and all are damaged.
    """
    damage = []
    for step in steps(root):
        problems = verify(root / str(step))
        if not problems:
            return root / str(step)
        damage.append(problems[0])
        log.warning("damaged checkpoint passed over: step=%d problem=%s more=%d", step, problems[0], len(problems) - 1)
    if damage:
        raise WorldError(
            f"every checkpoint in {root} is damaged: {'; '.join(damage)}. Restore one from a copy, or start a new run folder"
        )
    return None


def restore(root: Path, target: Mapping[str, Any]) -> Restored | None:
    """The newest sound checkpoint of `root` onto `target` (shapes, dtypes, shardings); None if there is none yet.

    A damaged newer one is logged with the file at fault and left where it is. Raises WorldError if all are damaged,
    UserError if the arrays do not fit the target (every path that differs is named).
    """
    folder = _newest_sound(root)
    if folder is None:
        return None
    flat = pytree.flatten(target)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        differences = pytree.mismatches(flat, _stored(checkpointer, folder))
        if differences:
            shown = "; ".join(differences[:10]) + (f"; ... ({len(differences)} in all)" if len(differences) > 10 else "")
            raise UserError(f"the checkpoint {folder} does not fit this model and optimizer: {shown}")
        item = pytree.nest(flat)
        args = ocp.args.PyTreeRestore(item=item, restore_args=ocp.checkpoint_utils.construct_restore_args(item))
        state = pytree.unflatten_like(target, pytree.flatten(checkpointer.restore(_arrays(folder), args=args)))
    return Restored(step=int(folder.name), state=state, side=_read_side(folder), path=folder)


def open_checkpoint(path: Path | str, step: int | None = None) -> Checkpoint:
    """Opens a run folder (its newest sound checkpoint, or `step`) or one checkpoint folder. Reads no optimizer state.

    Raises UserError where there is no checkpoint (saying what is there), WorldError where it is damaged.
    """
    folder = _locate(Path(path), step)
    if problems := verify(folder):
        more = f" (and {len(problems) - 1} more files)" if len(problems) > 1 else ""
        raise WorldError(f"checkpoint {folder} is damaged: {problems[0]}{more}; use another step or restore it from a copy")
    side = _read_side(folder)
    return Checkpoint(
        step=read_json(folder / "manifest.json")["step"],
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


def _locate(path: Path, step: int | None) -> Path:
    if not path.exists():
        raise UserError(f"no such folder: {path}; expected a run folder (with checkpoints/) or one checkpoint of it")
    if (path / "manifest.json").is_file() or (path / "state").is_dir():
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
    newest = _newest_sound(root)
    assert newest is not None, "steps() found folders, so _newest_sound returns one or raises"
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


def _stored(checkpointer: Any, folder: Path) -> dict[str, Any]:
    """`path -> metadata (shape, dtype)` of the arrays in a checkpoint."""
    metadata = checkpointer.metadata(_arrays(folder))
    return pytree.flatten(metadata.item_metadata.tree)


def _read_side(folder: Path) -> SideFiles:
    data = {name: read_json(folder / f"{name}.json") for name in _SIDE_NAMES}
    return SideFiles(**{**data, "contract": contract_from_json(data["contract"])})


def _read_variables(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Model variables as numpy, as they are served: averages in the place of the parameters they follow, adapters merged."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        stored = _stored(checkpointer, folder)
        served = {path: _served_path(path) for path in stored if path.startswith(("variables/", "ema/"))}
        followed = {name for path, name in served.items() if path != name}
        item = pytree.nest({path: 0 for path in served if path not in followed})
        restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
        args = ocp.args.PyTreeRestore(item=item, partial_restore=True, restore_args=restore_args)
        flat = pytree.flatten(checkpointer.restore(_arrays(folder), args=args))
    variables: dict[str, Any] = pytree.nest({served[path]: leaf for path, leaf in flat.items()})["variables"]
    if LORA in variables["params"]:
        lora = from_json(LoRAConfig, config["train"]["lora"], "train.lora")
        variables["params"] = merged(variables["params"], lora)
    return variables


def _served_path(path: str) -> str:
    return "variables/params/" + path.removeprefix("ema/") if path.startswith("ema/") else path


def info_text(checkpoint: Checkpoint) -> str:
    """For people: what a checkpoint is and what it must be fed."""
    contract = checkpoint.contract
    count = pytree.num_elements(checkpoint.variables["params"])
    height, width = contract.image_size
    lines = [
        f"checkpoint   {checkpoint.path}",
        f"step         {checkpoint.step}",
        f"model        {checkpoint.model.get('family')}, {count:,} parameters",
        f"cameras      {', '.join(contract.roles)} at {height} x {width} ({contract.fit}), {contract.history} frame(s)",
        f"actions      {contract.chunk} at once: {', '.join(contract.action.dim_names)}",
        f"contract     {contract.fingerprint()}",
        "robots",
    ]
    for name, embodiment in contract.embodiments.items():
        statistics = contract.statistics[name]
        lines.append(
            f"  {name:24} {embodiment.control_hz:g} Hz, trained on {statistics.num_episodes} episodes, "
            f"{statistics.action.count} steps (data {statistics.source})"
        )
    return "\n".join(lines)
