"""Where fine-tuning gets its samples: the new robot's demonstrations, and a share of what the checkpoint was trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rtx.data import catalogue
from rtx.data.bring_in import Declared, bring_in, declared_in
from rtx.data.features import open_source
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.prepared import MANIFEST, PreparedSet
from rtx.data.record import DatasetRecord
from rtx.embodiment import Embodiment
from rtx.errors import UserError
from rtx.finetune.base import Base
from rtx.finetune.fit import check_robot
from rtx.robots import catalogue as robots
from rtx.robots.user_file import is_user_file
from rtx.train.config import DataSet


def demonstrations(
    robot: str | Embodiment, path: Path, out: Path, *, instruction: str = "", num_workers: int = 2
) -> PreparedSet:
    """The prepared set of the robot's demonstrations at `path`, under `out` if it had to be made.

    `robot`: a user's file may say what the numbers mean, beside ROBOT (`rtx.data.bring_in.declared_in`). An RLDS set of the
    catalogue's counts as this robot's own if the robot is commanded, measured and filmed as the catalogue's is.
    Raises UserError where the data are of another robot.
    """
    known = robot_of(robot)
    said = declared_in(Path(robot)) if isinstance(robot, str) and is_user_file(robot) else Declared()
    prepared = bring_in(
        path, known, out, record=said.record or _of_catalogue(known, path), keys=said.keys, instruction=instruction,
        num_workers=num_workers,
    )  # fmt: skip
    check_robot(known, prepared)
    if not prepared.is_robot:
        raise UserError(f"{prepared.path} holds no actions: fine-tuning a robot needs demonstrations")
    return prepared


def robot_of(robot: str | Embodiment) -> Embodiment:
    """Of a name, a user's file, or the robot itself."""
    return robot if isinstance(robot, Embodiment) else robots.find(robot)


def _of_catalogue(robot: Embodiment, path: Path) -> DatasetRecord | None:
    """Of an RLDS folder whose name the catalogue knows; None where something else lies at `path`."""
    if (path / MANIFEST).is_file():
        return None
    try:
        name = open_source(path, "").name
    except UserError:
        return None
    known = catalogue.RECORDS.get(name)
    if known is None:
        return None
    own = dataclasses.replace(robot, name=known.embodiment.name)
    alike = [getattr(own, part) == getattr(known.embodiment, part) for part in ("action", "proprio", "control_hz", "roles")]
    if not all(alike):
        return None  # bring_in says in what they differ
    return dataclasses.replace(known, name=robot.name, embodiment=robot, other_names=(*known.other_names, known.name))


def kept_sets(base: Base, share: float, new: PreparedSet) -> tuple[DataSet, ...]:
    """The checkpoint's data sets with `share` of the samples, in their old proportions, and the new one with the rest.

    Raises UserError where they are gone.
    """
    mine = DataSet(prepared=str(new.path), weight=1.0)
    if not share:
        return (mine,)
    if not 0 < share < 1:
        raise UserError(f"--keep {share}: the share of samples of the old robots, above 0 and below 1")
    opened = _opened(base)
    if any(one.name == new.name for one in opened):
        raise UserError(
            f"--keep: the checkpoint was trained on a data set called {new.name!r} already; name the robot otherwise"
        )
    entries = tuple(MixtureEntry(prepared=p, weight=one.weight) for p, one in zip(opened, base.sets, strict=True))
    data = base.config.data
    shares = Mixture(entries=entries, balance=data.balance, robot_share=data.robot_share).shares()
    kept = [
        dataclasses.replace(one, prepared=str(p.path), record="", source="", choose=(), hz=None, weight=share * part)
        for p, one, part in zip(opened, base.sets, shares, strict=True)
    ]
    return (*kept, dataclasses.replace(mine, weight=1 - share))


def _opened(base: Base) -> list[PreparedSet]:
    if not base.sets:
        raise UserError(
            "--keep: these weights were converted, so rtx does not know what they were trained on; leave --keep out"
        )
    found, gone = [], []
    for one in base.sets:
        try:
            prepared = PreparedSet.open(Path(one.prepared))
            prepared.split("train")  # its pictures too
            found.append(prepared)
        except UserError as error:
            gone.append(f"{one.prepared or one.record}: {error}")
    if gone:
        raise UserError(
            f"--keep: {len(gone)} of the {len(base.sets)} data sets of {base.path} cannot be read any more:\n  "
            + "\n  ".join(gone) + "\nPut them back (relative paths count from here, as in that run), or leave --keep out"
        )  # fmt: skip
    return found
