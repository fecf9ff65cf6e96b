"""One recorded demonstration as an HDF5 file that `rtx.data.bring_in`, and everybody who reads ACT's layout, takes.

/action                     float32 [T, a]    native commands, `Embodiment.action`
/observations/state         float64 [T, p]    native states, `Embodiment.proprio`
/observations/images/ROLE   JPEG, one a row   RGB
/stamp_ns, /done            int64, bool [T]   monotonic time of each state; True in the last row
attributes                  language_instruction, robot, control_hz, channel_order
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import UserError
from rtx.files import disk_errors

_NAME = re.compile(r"episode_(\d{6})\.hdf5")


@dataclass(frozen=True, kw_only=True)
class Take:
    """T steps: `action[t]` was done from state t. `pictures[role]` are JPEG, one a step."""

    instruction: str
    states: np.ndarray
    actions: np.ndarray
    stamp_ns: np.ndarray
    pictures: Mapping[str, Sequence[bytes]]

    def __len__(self) -> int:
        return len(self.actions)


def next_number(folder: Path) -> int:
    """Of the next episode in a folder that may hold some."""
    numbers = [int(match[1]) for path in folder.glob("episode_*") if (match := _NAME.fullmatch(path.name))]
    return max(numbers, default=-1) + 1


def write_episode(folder: Path, number: int, take: Take, *, robot: str, control_hz: float) -> Path:
    """The file appears whole or not at all. Raises UserError without h5py, WorldError for a full or read-only disk."""
    h5py = import_h5py()
    path = folder / f"episode_{number:06d}.hdf5"
    part = folder / f".{path.name}.part"
    with disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with h5py.File(part, "w") as file:
                _fill(h5py, file, take)
                file.attrs["language_instruction"], file.attrs["robot"] = take.instruction, robot
                file.attrs["control_hz"], file.attrs["channel_order"] = control_hz, "rgb"
            _sync(part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    return path


def import_h5py() -> Any:
    """Raises UserError naming the extra."""
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"recording episodes needs h5py ({error}); install: pip install 'rtx-robotics[episodes]'") from error
    return h5py


def _fill(h5py: Any, file: Any, take: Take) -> None:
    file["action"] = take.actions.astype(np.float32)
    file["observations/state"] = take.states.astype(np.float64)
    file["stamp_ns"] = take.stamp_ns.astype(np.int64)
    file["done"] = np.arange(len(take)) == len(take) - 1
    for role, encoded in take.pictures.items():
        rows = np.empty(len(encoded), object)
        rows[:] = [np.frombuffer(data, np.uint8) for data in encoded]
        file.create_dataset(f"observations/images/{role}", data=rows, dtype=h5py.vlen_dtype(np.uint8))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
