"""Whether a checkpoint is whole: its manifest names every file with its size and sha256.

A manifest is written last, so a numbered folder that does not match its own is damage: passed over, named, never deleted.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from rtx.errors import UserError, WorldError
from rtx.files import read_json
from rtx.train.checkpoint.meeting import Meeting
from rtx.train.checkpoint.side import SIDE_NAMES

log = logging.getLogger(__name__)

FORMAT = "rtx-checkpoint-1"
MANIFEST = "manifest.json"
_BLOCK_BYTES = 1 << 22
_THREADS = 4  # sha256 leaves the interpreter free: one thread does 1 to 2 GB/s

T = TypeVar("T")


def steps(root: Path) -> list[int]:
    """Steps of the numbered folders in `root`, newest first, sound or not."""
    if not root.is_dir():
        return []
    return sorted((int(entry.name) for entry in root.iterdir() if entry.name.isdecimal()), reverse=True)


def verify(folder: Path, *, hashes: bool = True, part: tuple[int, int] = (0, 1)) -> list[str]:
    """What is wrong with a checkpoint folder, one line a file; empty if nothing. `hashes=False` compares sizes only;
    `part` (index, count) hashes that share of the files."""
    path = folder / MANIFEST
    try:
        manifest = read_json(path)
        files = manifest["files"]
        if manifest["format"] != FORMAT:
            return [f"{path}: format {manifest['format']!r}, expected {FORMAT!r}"]
        if folder.name.isdecimal() and int(folder.name) != manifest["step"]:
            return [f"{path}: of step {manifest['step']}, in a folder of another"]
        if not all(f"{name}.json" in files for name in SIDE_NAMES):
            return [f"{path}: does not list all of {', '.join(SIDE_NAMES)}"]
        if found := [line for name, entry in files.items() if (line := _size_problem(folder / name, entry))]:
            return found
        mine = share({name: entry["bytes"] for name, entry in files.items()}, part) if hashes else []
        return [line for line in threaded(lambda name: _hash_problem(folder / name, files[name]), mine) if line]
    except UserError:
        return [f"{path}: missing"]
    except (WorldError, KeyError, TypeError, UnicodeDecodeError):
        return [f"{path}: not a manifest"]


def _size_problem(path: Path, entry: Mapping[str, Any]) -> str | None:
    if not path.is_file():
        return f"{path}: missing"
    if (size := path.stat().st_size) != entry["bytes"]:
        return f"{path}: {size} bytes, expected {entry['bytes']}"
    return None


def _hash_problem(path: Path, entry: Mapping[str, Any]) -> str | None:
    try:
        same = sha256(path) == entry["sha256"]
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
    return None if same else f"{path}: contents differ from the manifest's sha256"


def share(sizes: Mapping[str, int], part: tuple[int, int]) -> list[str]:
    """The files process `index` of `count` reads: every count-th from the biggest down, so that all read about as much."""
    index, count = part
    return sorted(sizes, key=lambda name: (-sizes[name], name))[index::count]


def threaded(work: Callable[[str], T], names: Iterable[str]) -> list[T]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, names))


def sha256(path: Path, *, sync: bool = False) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
        if sync:  # Orbax does not: after a power cut the manifest must not be the only file on the disk
            os.fsync(file.fileno())
    return digest.hexdigest()


def verify_together(folder: Path, meeting: Meeting, *, hashes: bool = True) -> list[str]:
    """`verify` with the work shared between the processes; all of them get the same answer."""
    told = meeting.all_tell(lambda: verify(folder, hashes=hashes, part=(meeting.index, meeting.size)))
    return list(dict.fromkeys(line for lines in told for line in lines))


def newest_sound(root: Path, meeting: Meeting) -> Path | None:
    """The newest checkpoint that verifies, the same in all processes; names the damaged ones it passes over. None if there
    is no numbered folder.

    Raises WorldError if there are checkpoints and all are damaged.
    """
    damage = []
    for step in meeting.all_tell(lambda: steps(root))[0]:
        problems = verify_together(root / str(step), meeting)
        if not problems:
            return root / str(step)
        damage.append(problems[0])
        log.warning("damaged checkpoint passed over: step=%d problem=%s more=%d", step, problems[0], len(problems) - 1)
    if damage:
        raise WorldError(
            f"every checkpoint in {root} is damaged: {'; '.join(damage)}. Restore one from a copy, or start a new run folder"
        )
    return None
