"""`bring_in`: a robot's demonstrations in whatever form they were recorded -> a prepared set to train on.

    a prepared set ------------------------------------------------------------> opened
    RLDS -------------------------------------------------------+--record--> OUT/prepared/<robot>/
    LeRobot v2.1, v3 --+                                        |
    HDF5, Zarr --------+--imported--> OUT/rlds/<robot>/1.0.0 ---+

The record, from the first of these that there is: the caller's (the user's file may define one), record.py beside the data,
the catalogue's for a set of that name, one derived from the robot's own fields (`rtx.data.robot_record`).
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rtx.data.catalogue import RECORDS
from rtx.data.episodes.importer import foreign_episodes, open_episodes
from rtx.data.episodes.tree import files_of
from rtx.data.features import FeatureSpec, Source, open_source
from rtx.data.fingerprint import USER_MODULE
from rtx.data.foreign import VERSION, Foreign, is_current, specs_of, write_foreign
from rtx.data.lerobot.importer import foreign_lerobot
from rtx.data.lerobot.meta import open_lerobot
from rtx.data.names import identifier
from rtx.data.prepare import prepare
from rtx.data.prepared import MANIFEST, PreparedSet
from rtx.data.record import DatasetRecord, load_records
from rtx.data.robot_keys import DataKeys, find_keys, joined_paths
from rtx.data.robot_record import record_of_found
from rtx.embodiment import Embodiment, Layout
from rtx.errors import UserError, unknown_name
from rtx.images import ChannelOrder
from rtx.python_file import run_file
from rtx.robots.adapter import Adapter

DataForm = Literal["prepared", "rlds", "lerobot", "hdf5", "zarr"]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a robot's file says of its data, beside ROBOT: a record, or where its numbers lie."""

    record: DatasetRecord | None = None
    keys: DataKeys | None = None


def declared_in(file: Path) -> Declared:
    """Runs the user's file. Raises UserError naming the line if it fails, or if it defines several of a kind."""
    path = Path(file).expanduser().absolute()
    found = list(vars(run_file(path, USER_MODULE)).values())
    records = [dataclasses.replace(value, file=str(path)) for value in found if isinstance(value, DatasetRecord)]
    keys = [value for value in found if isinstance(value, DataKeys)]
    if len(records) > 1 or len(keys) > 1:
        raise UserError(
            f"{path} defines {len(records)} DatasetRecord and {len(keys)} DataKeys; leave one for this robot's data"
        )
    return Declared(record=records[0] if records else None, keys=keys[0] if keys else None)


def form_of(path: Path) -> DataForm:
    """What lies at `path`. Raises UserError that tells the forms there are, if it is none of them."""
    if (path / MANIFEST).is_file():
        return "prepared"
    if (path / "meta" / "info.json").is_file():
        return "lerobot"
    if _is_rlds(path):
        return "rlds"
    hdf5, zarr = files_of(path, "hdf5"), files_of(path, "zarr")
    if hdf5 and zarr:
        raise UserError(f"{path} holds HDF5 files ({hdf5[0].name}) and Zarr stores ({zarr[0].name}); pass one of the two")
    if hdf5 or zarr:
        return "hdf5" if hdf5 else "zarr"
    there = ", ".join(sorted(p.name for p in path.iterdir())[:8]) if path.is_dir() else ""
    raise UserError(
        f"{path} {'holds ' + (there or 'nothing') if path.exists() else 'does not exist'}; expected a prepared set "
        f"({MANIFEST}), RLDS (features.json), a LeRobot set (meta/info.json), or HDF5 files or Zarr stores of episodes"
    )


def bring_in(
    path: Path,
    robot: Embodiment,
    out: Path,
    *,
    record: DatasetRecord | None = None,
    keys: DataKeys | None = None,
    instruction: str = "",
    layout: Layout | None = None,
    num_workers: int = 2,
) -> PreparedSet:
    """The demonstrations at `path`, prepared under `out`. A second call does nothing; killed, the same call carries on.

    `record`: what the numbers mean, where the robot's fields do not say it. `keys`: where they lie, where names and widths do
    not tell it. `instruction`: of every episode, for files without one. `layout`: of the vectors a policy is to see; by
    default the robot's (`robot_record.known_layout`). Without a record of its own the set is called what the robot is called.

    Raises UserError naming what is missing and the line to write, WorldError for damaged files.
    """
    path, out = Path(path).expanduser().absolute(), Path(out).expanduser().absolute()
    form = form_of(path)
    if form == "prepared":
        return _opened(path, robot)
    keys = keys or DataKeys()
    if form == "rlds":
        source = open_source(path)
        record = record or _beside(path, source.name, form) or _of_catalogue(source, robot)
        record = record or _derived(robot, source.features, keys, name=source.name, where=str(path), layout=layout)
        return prepare(_for_robot(record, robot), source.directory, _place(out, record), num_workers=num_workers)
    foreign, ends, order = _foreign(path, form, robot, keys, instruction)
    record = record or _beside(path, foreign.name, form)
    if record is None:  # before anything is imported: what cannot be decided is said at once
        keys, paths = dataclasses.replace(keys, channel_order=order), joined_paths(foreign.paths)
        record = _derived(
            robot, specs_of(foreign), keys, name=foreign.name, where=str(path), layout=layout, paths=paths, ends=ends
        )
    record = _for_robot(dataclasses.replace(record, other_names=(*record.other_names, foreign.name)), robot)
    return prepare(record, _imported(foreign, out / "rlds", num_workers), _place(out, record), num_workers=num_workers)


def _place(out: Path, record: DatasetRecord) -> Path:
    return out / "prepared" / record.name


def _is_rlds(path: Path) -> bool:
    try:
        open_source(path)
    except UserError:
        return False
    return True


def _opened(path: Path, robot: Embodiment) -> PreparedSet:
    prepared = PreparedSet.open(path)
    if differences := _differences(prepared.embodiment, robot):
        raise UserError(
            f"{path} was prepared for the robot {prepared.embodiment.name!r}, which is not {robot.name!r}: "
            f"{'; '.join(differences)}; pass what it was prepared from, or the robot it is of"
        )
    return prepared


def _foreign(
    path: Path, form: DataForm, robot: Embodiment, keys: DataKeys, instruction: str
) -> tuple[Foreign, bool, ChannelOrder | Literal[""]]:
    """The set to import, whether it says which episodes ended themselves, and the channel order it says it has."""
    name = identifier(robot.name)
    if form == "lerobot":
        found = open_lerobot(path)
        _check_rate(found.fps, robot, f"{path}/meta/info.json")
        return foreign_lerobot(found, name), any(f.key == "next.done" for f in found.numbers), keys.channel_order or "rgb"
    episodes = open_episodes(path, "hdf5" if form == "hdf5" else "zarr", keys=keys, instruction=instruction)
    for episode in episodes.episodes:
        _check_rate(episode.hz, robot, episode.where)
    return foreign_episodes(episodes, name), episodes.ends, episodes.channel_order or ""


def _check_rate(hz: float, robot: Embodiment, where: str) -> None:
    if hz and abs(hz - robot.control_hz) > 0.01 * hz:
        raise UserError(
            f"{where}: recorded at {hz:g} Hz, the robot {robot.name!r} has control_hz={robot.control_hz:g}; an action is what "
            f"happens in one period, so write control_hz={hz:g} into its file (`rtx drive --hz` runs the arm at another rate)"
        )


def _imported(foreign: Foreign, out: Path, num_threads: int) -> Path:
    """The finished set; made again if the source is another one than it was made from."""
    target = out / foreign.name / VERSION
    if target.exists() and not is_current(foreign, target):
        print(f"{foreign.root} has changed since it was imported: importing it again", file=sys.stderr)
        shutil.rmtree(target)
    return write_foreign(foreign, out, num_threads=num_threads)


def _beside(path: Path, name: str, form: DataForm) -> DatasetRecord | None:
    """Of the record.py in the folder of the data, or in the folder that holds the RLDS set."""
    folder = path if path.is_dir() else path.parent
    above = 0 if form != "rlds" else 2 if (folder / "features.json").is_file() else 1
    places = [folder, *list(folder.parents)[:above]]
    file = next((place / "record.py" for place in places if (place / "record.py").is_file()), None)
    if file is None:
        return None
    records = load_records(file)
    fitting = [record for record in records.values() if name in (record.name, *record.other_names)]
    if not fitting and len(records) > 1:
        raise unknown_name(f"record in {file}", name, records)
    return fitting[0] if fitting else next(iter(records.values()))


def _of_catalogue(source: Source, robot: Embodiment) -> DatasetRecord | None:
    record = RECORDS.get(source.name)
    if record is None:
        return None
    if differences := _differences(record.embodiment, robot):
        raise UserError(
            f"{source.directory} is the catalogue's {source.name!r}, of the robot {record.embodiment.name!r}, which is not "
            f"{robot.name!r}: {'; '.join(differences)}; if it is a set of your own under that name, write record.py beside the "
            "data with RECORD = DatasetRecord(...)"
        )
    return dataclasses.replace(record, name=identifier(robot.name), other_names=(*record.other_names, record.name))


def _derived(
    robot: Embodiment, features: Mapping[str, FeatureSpec], keys: DataKeys, *, name: str, where: str, layout: Layout | None,
    paths: Mapping[str, str] | None = None, ends: bool = False,
) -> DatasetRecord:  # fmt: skip
    """From the robot's own fields. `paths`: the source's keys -> those of the RLDS set, where they differ."""
    found = find_keys(robot, features, keys, where=where, paths=paths or {})
    try:
        record = record_of_found(
            robot, found, name=identifier(robot.name), channel_order=keys.channel_order or None, ends=ends, layout=layout
        )
    except UserError as error:
        raise UserError(f"{error}\nWrite RECORD = DatasetRecord(...) into record.py beside the data (docs/data.md)") from error
    return dataclasses.replace(record, other_names=(name,))


def _for_robot(record: DatasetRecord, robot: Embodiment) -> DatasetRecord:
    """The record as one of this robot. Raises UserError where it is another robot's."""
    if record.embodiment == robot:
        return record
    if set(record.images) != set(robot.roles):
        raise UserError(
            f"the record {record.name!r} has cameras {sorted(record.images)}, the robot {robot.name!r} has "
            f"{sorted(robot.roles)}; name the same in both"
        )
    if _differences(record.embodiment, robot):
        try:
            Adapter(robot, record.layout)
        except UserError as error:
            place = f" ({record.file})" if record.file else ""
            raise UserError(
                f"the record {record.name!r}{place} is not one of the robot {robot.name!r}: {error}. "
                "Mend it, or remove it: without one, names and widths of the robot's fields decide"
            ) from error
    at_its_rate = dataclasses.replace(robot, control_hz=record.embodiment.control_hz)
    return dataclasses.replace(record, embodiment=at_its_rate)


def _differences(one: Embodiment, other: Embodiment) -> list[str]:
    """In what makes their numbers and pictures other ones."""
    pairs = {
        "action": (one.action.fields, other.action.fields),
        "state": (one.proprio, other.proprio),
        "cameras": (sorted(one.roles), sorted(other.roles)),
    }
    return [f"its {what} is {a}, not {b}" for what, (a, b) in pairs.items() if a != b]
