"""Checkpoints for people: what one is, and which of a run are sound."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from rtx.errors import UserError, WorldError
from rtx.files import read_json
from rtx.tables import text_table
from rtx.train import pytree
from rtx.train.checkpoint.reading import Checkpoint
from rtx.train.checkpoint.side import CODE
from rtx.train.checkpoint.sound import MANIFEST, steps, verify


def info_text(checkpoint: Checkpoint) -> str:
    """For people: what a checkpoint is and what it must be fed."""
    contract = checkpoint.contract
    count = pytree.num_elements(checkpoint.variables["params"])
    height, width = contract.image_size
    code = read_json(checkpoint.path / f"{CODE}.json")
    lines = [
        f"checkpoint   {checkpoint.path}",
        f"step         {checkpoint.step}",
        f"model        {checkpoint.model.get('family')}, {count:,} parameters",
        f"cameras      {', '.join(contract.roles)} at {height} x {width} ({contract.fit}), {contract.history} frame(s)",
        f"actions      {contract.chunk} at once: {', '.join(contract.action.dim_names)}",
        f"contract     {contract.fingerprint()}",
        f"data         next sample {checkpoint.data_state.get('next_sample')}, {checkpoint.data_state.get('fingerprint')}",
        f"code         {', '.join(f'{name} {version}' for name, version in code.items())}",
        "robots",
    ]
    for name, embodiment in contract.embodiments.items():
        statistics = contract.statistics[name]
        lines.append(
            f"  {name:24} {embodiment.control_hz:g} Hz, trained on {statistics.num_episodes} episodes, "
            f"{statistics.action.count} steps (data {statistics.source})"
        )
    return "\n".join(lines)


def verify_text(root: Path) -> tuple[str, int]:
    """A table of every checkpoint in `root` with all that is wrong with them, newest first, and how many are damaged."""
    problems = {root / str(step): verify(root / str(step)) for step in steps(root)}
    rows = [[folder.name, *_size(folder), "damaged" if found else "sound"] for folder, found in problems.items()]
    lines = [f"checkpoints in {root}", text_table(["step", "written", "files", "size", "state"], rows)]
    lines += [f"damaged: {line}" for found in problems.values() for line in found]
    lines += [f"set aside: {entry}" for entry in sorted(root.glob("*.damaged-*"))]
    lines += [f"left by a kill, the next start removes it: {entry}" for entry in sorted(root.glob(".*ing-*"))]
    return "\n".join(lines), sum(map(bool, problems.values()))


def _size(folder: Path) -> tuple[str, str, str]:
    """When it was written, its files and their size, as far as its manifest can say."""
    try:
        files = read_json(folder / MANIFEST)["files"]
        written = datetime.fromtimestamp((folder / MANIFEST).stat().st_mtime)
        return (
            f"{written:%Y-%m-%d %H:%M:%S}",
            str(len(files)),
            f"{sum(entry['bytes'] for entry in files.values()) / 1e6:,.1f} MB",
        )
    except (UserError, WorldError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        return "?", "?", "?"
