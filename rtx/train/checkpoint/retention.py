"""Which checkpoints stay. None is removed before two newer ones have been read back whole, and no damaged one ever is."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from rtx.errors import UserError
from rtx.files import disk_errors
from rtx.train.checkpoint.meeting import Meeting
from rtx.train.checkpoint.sound import steps, verify_together

log = logging.getLogger(__name__)


def check_keep(keep: int) -> None:
    if keep < 2:
        raise UserError(f"keep {keep} must be at least 2: while one checkpoint is written another must be there")


def retain(root: Path, keep: int, newest: int, meeting: Meeting, *, pinned: int = -1) -> None:
    """Removes all but the newest `keep` sound checkpoints, and that of step `pinned`; `newest` was written and hashed just now.

    Read back in full are the second newest, without which nothing is removed, and what is removed, for damage is evidence;
    of those between the sizes are compared.
    """
    sound: list[int] = []
    for step in meeting.all_tell(lambda: steps(root))[0]:
        in_full = len(sound) < 2 or len(sound) >= keep
        problems = [] if step == newest else verify_together(root / str(step), meeting, hashes=in_full)
        if problems:
            log.warning("damaged checkpoint kept as it is: step=%d problem=%s more=%d", step, problems[0], len(problems) - 1)
        else:
            sound.append(step)
    meeting.lead(lambda: _remove(root, [step for step in sound[keep:] if step != pinned]))


def _remove(root: Path, old: list[int]) -> None:
    for step in old:
        removing = root / f".removing-{step}"
        with disk_errors(removing):
            (root / str(step)).rename(removing)
    sweep(root)


def sweep(root: Path) -> None:
    """Removes what a kill left of a save or a removal."""
    for pattern in (".saving-*", ".removing-*"):
        for leftover in root.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)


def set_aside(path: Path) -> None:
    n = 1
    while (aside := path.with_name(f"{path.name}.damaged-{n}")).exists():
        n += 1
    log.warning("damaged checkpoint set aside: from=%s to=%s", path, aside)
    with disk_errors(aside):
        path.rename(aside)
