"""`bring_in`: a robot's demonstrations in whatever form they were recorded -> a prepared set to train on."""

from __future__ import annotations

from pathlib import Path

from rtx.data.prepare import prepare
from rtx.data.prepared import MANIFEST, PreparedSet
from rtx.data.record import DatasetRecord
from rtx.embodiment import Embodiment
from rtx.errors import UserError


def bring_in(
    path: Path, robot: Embodiment, out: Path, *, record: DatasetRecord | None = None, num_workers: int = 2
) -> PreparedSet:
    """The demonstrations at `path`, prepared under `out`. A second call does nothing; killed, the same call carries on.

    `path`: a prepared set or an RLDS folder. `record`: what its numbers mean.

    Raises UserError naming what is missing.
    """
    path, out = Path(path).expanduser().absolute(), Path(out).expanduser().absolute()
    if (path / MANIFEST).is_file():
        return PreparedSet.open(path)
    if record is None:
        raise UserError(f"{path}: pass the DatasetRecord of these demonstrations of {robot.name!r}")
    return prepare(record, path, out / record.name, num_workers=num_workers)
