"""A run's result without the run: a checkpoint of plain parameters, as anybody's model has them."""

from __future__ import annotations

from pathlib import Path

from rtx.errors import UserError
from rtx.train.checkpoint import SideFiles, open_checkpoint, save


def merge_checkpoint(path: Path | str, out: Path, *, step: int | None = None) -> Path:
    """The checkpoint at `path` (a run folder or one of its checkpoints) in the new run folder `out`, for use and no longer
    for going on: adapters merged into their kernels, averages in the place of what they follow, no optimizer. It acts as the
    one it was made from. Returns its folder.

    Raises UserError where `out` holds this step already or `path` no checkpoint, WorldError where that is damaged.
    """
    opened = open_checkpoint(path, step)
    root = out / "checkpoints"
    if (root / str(opened.step)).exists():
        raise UserError(f"{root / str(opened.step)} is there already; give a new folder")
    side = SideFiles(
        contract=opened.contract,
        model=opened.model,
        tokenizer=opened.tokenizer,
        data=opened.data_state,
        config=opened.config,
    )
    return save(root, step=opened.step, state={"variables": opened.variables}, side=side)
