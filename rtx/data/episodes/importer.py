"""HDF5 files or Zarr stores of episodes -> an RLDS data set any RLDS tool reads, and a record file to start from.

    files --headers--> episodes, and the columns that all of them have
                          --`rtx.data.foreign`: staged, written--> OUT/<name>/1.0.0/, and OUT/record.py, if there is none

Everything numeric, every picture and text that all episodes share is imported, so that a change of the robot's file needs no
second import. What is left out is told with its reason (`EpisodeSet.left_out`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.data.episodes.columns import Column
from rtx.data.episodes.find import EpisodeAt, action_keys, episodes_in, instruction_column
from rtx.data.episodes.read import ENDS, read_episode_at
from rtx.data.episodes.tree import Form, files_of, identity_of
from rtx.data.foreign import Foreign, Recording, put, specs_of, stored_dtype, write_foreign
from rtx.data.names import camera_roles, checked_name, identifier
from rtx.data.robot_keys import DataKeys, find_keys, joined_paths, split_key
from rtx.data.robot_record import record_of_found, record_text
from rtx.data.starter import Facts, numbered, record_file, starter_text, write_record
from rtx.data.write import ImageFeature, TensorFeature, TextFeature
from rtx.embodiment import Embodiment
from rtx.errors import UserError
from rtx.images import ChannelOrder

_OBSERVATIONS = ("obs", "observation", "observations")
_AGAIN = "next_obs"  # robomimic's: the observations once more, a step later


@dataclass(frozen=True, kw_only=True)
class EpisodeSet:
    """The episodes at `root`, and what they have in common. `left_out`: key -> why it is not imported."""

    root: Path
    form: Form
    files: tuple[Path, ...]
    episodes: tuple[EpisodeAt, ...]
    columns: Mapping[str, Column]
    left_out: Mapping[str, str]
    keys: DataKeys
    instruction: str

    @property
    def paths(self) -> dict[str, tuple[str, ...]]:
        """Key -> where it lies under `steps/`. Raises UserError for two keys that become one."""
        actions = action_keys(self.keys, list(self.columns))
        short = {key: _path(key, actions, short=True) for key in self.columns}
        found = {
            key: path if list(short.values()).count(path) == 1 else _path(key, actions, short=False)
            for key, path in short.items()
        }
        for key, path in found.items():
            if others := [other for other in found if other != key and found[other] == path]:
                raise UserError(f"{self.root}: the keys {key!r} and {others[0]!r} both become {'/'.join(path)}; rename one")
        return found

    @property
    def channel_order(self) -> ChannelOrder | None:
        """What the files, or the declared keys, say; None: nothing. Raises UserError for files that differ."""
        if self.keys.channel_order:
            return self.keys.channel_order
        told = sorted({episode.channel_order for episode in self.episodes})
        if told not in ([""], ["rgb"], ["bgr"]):
            raise UserError(f"{self.root}: its files have channel_order {told}; expected rgb or bgr, in all the same")
        return "rgb" if told == ["rgb"] else "bgr" if told == ["bgr"] else None

    @property
    def ends(self) -> bool:
        """Whether its files say which episodes ended themselves."""
        return any(key.split("/")[-1] in ENDS and c.kind == "numbers" for key, c in self.columns.items())


def open_episodes(root: Path, form: Form, *, keys: DataKeys | None = None, instruction: str = "") -> EpisodeSet:
    """Reads the headers of every file. `instruction`: for all episodes, instead of what they say themselves.

    Raises UserError naming file and key for what does not fit, WorldError for damaged files.
    """
    root, keys = Path(root).expanduser().absolute(), keys or DataKeys()
    files = files_of(root, form)
    if not files:
        kinds = ".h5 or .hdf5 file" if form == "hdf5" else "Zarr store (.zgroup, zarr.json or .zarr.zip)"
        there = "does not exist" if not root.exists() else f"holds no {kinds}"
        raise UserError(f"{root} {there}; pass a {'file' if form == 'hdf5' else 'store'} or a folder of them")
    episodes = [episode for file in files for episode in episodes_in(file, keys)]
    columns, left_out = _shared(episodes, keys)
    _check_instructions(episodes, instruction, instruction_column(columns, keys))
    return EpisodeSet(
        root=root, form=form, files=tuple(files), episodes=tuple(episodes), columns=columns, left_out=left_out, keys=keys,
        instruction=instruction,
    )  # fmt: skip


def import_episodes(
    source: Path,
    out: Path,
    form: Form,
    *,
    name: str = "",
    robot: Embodiment | None = None,
    robot_name: str = "",
    keys: DataKeys | None = None,
    instruction: str = "",
    num_threads: int | None = None,
) -> tuple[Path, EpisodeSet]:
    """Writes `out/<name>/1.0.0` and, unless it exists, the set's `record_file`. Returns the former, and what was found.

    `robot`: whose numbers these are: the record then is in its fields, which `robot_name` finds again (a name, or the path of
    its file). Without one the record is a starter whose assumptions are to be checked. `keys`, `instruction`: `open_episodes`.

    Raises UserError and WorldError naming file, key and row for what does not fit; a finished set is kept.
    """
    found = open_episodes(source, form, keys=keys, instruction=instruction)
    foreign = foreign_episodes(found, name)
    text = starter_text(_facts(found, foreign)) if robot is None else _record_text(found, foreign, robot, robot_name)
    out = Path(out).expanduser().absolute()
    target = write_foreign(foreign, out, num_threads=num_threads)
    write_record(record_file(out, foreign.name), text)
    return target, found


def foreign_episodes(found: EpisodeSet, name: str = "") -> Foreign:
    """The set as `write_foreign` takes it. Raises UserError for a name that cannot be."""
    spoken = "" if found.instruction else instruction_column(found.columns, found.keys)
    columns = {key: column for key, column in found.columns.items() if key != spoken}
    paths = {key: path for key, path in found.paths.items() if key in columns}
    facts = (identity_of(found.root, found.files), found.instruction, sorted(paths.items()), spoken)
    splits = {e.split: tuple(i for i, other in enumerate(found.episodes) if other.split == e.split) for e in found.episodes}

    def read(number: int) -> Recording:
        at = found.episodes[number]
        return read_episode_at(at, columns, instruction=found.instruction or at.instruction, spoken=spoken)

    return Foreign(
        name=checked_name(name, default=_plain_name(found.root)),
        root=found.root,
        source=f"{found.root.name}, {found.form.upper() if found.form == 'hdf5' else 'Zarr'}",
        identity=hashlib.sha256(repr(facts).encode()).hexdigest()[:16],
        paths=paths,
        splits=splits,
        read=read,
        features=lambda _: _features(columns, paths),
    )


def left_out_text(found: EpisodeSet) -> list[str]:
    """A line for every key that was not imported."""
    return [f"  left out: {key} ({why})" for key, why in found.left_out.items()]


def _plain_name(root: Path) -> str:
    return root.name.removesuffix(".zip").rpartition(".")[0] or root.name


def _path(key: str, actions: Sequence[str], *, short: bool) -> tuple[str, ...]:
    """observations/images/cam_high --> observation/cam_high; what lies deeper is joined by underscores."""
    parts = [identifier(part) for part in key.split("/")]
    if key in actions:
        return ("action",) if len(actions) == 1 else ("action", parts[-1] if short else "_".join(parts))
    inner = parts[1:] if parts[0] in _OBSERVATIONS and len(parts) > 1 else parts
    return ("observation", "_".join(inner[1:] if short and inner[0] == "images" and len(inner) > 1 else inner))


def _shared(episodes: Sequence[EpisodeAt], keys: DataKeys) -> tuple[dict[str, Column], dict[str, str]]:
    """The columns of all episodes, and why others are none. Raises UserError for one that was asked for."""
    first = episodes[0]
    columns = {key: column for key, column in first.columns.items() if key.split("/")[0] != _AGAIN}
    left_out = {f"{_AGAIN}/...": "the observations once more"} if len(columns) < len(first.columns) else {}
    wanted = {*action_keys(keys, list(first.columns)), *_declared(keys)}
    for episode in episodes:
        for key in sorted({*columns, *wanted, *episode.columns, *episode.left_out}):
            why = "" if key.split("/")[0] == _AGAIN else _why_not(episode, key, first)
            if why and key in wanted:
                raise UserError(f"{episode.where}: {key}: {why}")
            if why:
                columns.pop(key, None)
                left_out.setdefault(key, f"{episode.file.name}: {why}" if len(episodes) > 1 else why)
    return columns, left_out


def _declared(keys: DataKeys) -> set[str]:
    return {split_key(key)[0] for key in (*keys.state, *keys.images.values())}


def _why_not(episode: EpisodeAt, key: str, first: EpisodeAt) -> str:
    if key in episode.left_out:
        return episode.left_out[key]
    if key not in episode.columns:
        return f"not in this episode; it has {', '.join(episode.columns)}"
    if key not in first.columns:
        return f"not in {first.where}"
    if episode.columns[key] != first.columns[key]:
        return f"{episode.columns[key]}, expected {first.columns[key]} as in {first.where}"
    return ""


def _check_instructions(episodes: Sequence[EpisodeAt], instruction: str, spoken: str) -> None:
    silent = [episode for episode in episodes if not (instruction or episode.instruction or spoken)]
    if silent:
        raise UserError(
            f"{silent[0].where}: no instruction, and {len(silent) - 1} more episodes without one; name one for all with "
            "--instruction TEXT, or write it into the files as the attribute language_instruction"
        )


def _features(columns: Mapping[str, Column], paths: Mapping[str, tuple[str, ...]]) -> Mapping[str, Any]:
    steps: dict[str, Any] = {"observation": {}}
    for key, column in columns.items():
        feature: Any = TextFeature()
        if column.kind == "numbers":
            feature = TensorFeature(shape=column.shape, dtype=stored_dtype(column.dtype))
        elif column.kind in ("raw", "encoded"):
            height, width, _ = column.shape
            feature = ImageFeature(height=height, width=width, encoding="png" if column.dtype == "png" else "jpeg")
        put(steps, paths[key], feature)
    return steps


def _record_text(found: EpisodeSet, foreign: Foreign, robot: Embodiment, robot_name: str) -> str:
    """Raises UserError for a robot of which no record can be made."""
    paths, order = joined_paths(foreign.paths), found.channel_order
    lying = find_keys(robot, specs_of(foreign), found.keys, where=str(found.root), paths=paths)
    record_of_found(robot, lying, name=foreign.name, channel_order=order, ends=found.ends, layout=None)
    return record_text(lying, robot_name, name=foreign.name, channel_order=order, ends=found.ends)


def _facts(found: EpisodeSet, foreign: Foreign) -> Facts:
    """What can be said without the robot: names are numbered, the rate is a guess to be checked."""
    floats = {
        "/".join(path): found.columns[key].shape
        for key, path in foreign.paths.items()
        if found.columns[key].kind == "numbers" and found.columns[key].dtype.startswith("float")
    }
    vectors = {path: numbered(path.replace("/", "_"), shape[0]) for path, shape in floats.items() if len(shape) == 1}
    pictures = {"/".join(foreign.paths[k]): c.shape[:2] for k, c in found.columns.items() if c.kind in ("raw", "encoded")}
    roles = camera_roles(list(pictures))
    notes = [f"not used, no camera role left: {path}" for path in pictures if path not in roles.values()]
    return Facts(
        name=foreign.name,
        robot=foreign.name,
        hz=10.0,
        form=foreign.source,
        action=[(path, names) for path, names in vectors.items() if path.split("/")[0] == "action"],
        state=[(path, names) for path, names in vectors.items() if path.split("/")[0] == "observation"],
        cameras=[(role, path, pictures[path]) for role, path in roles.items()],
        notes=[*notes, "the files do not say the control rate: 10 Hz is a placeholder, CHECK control_hz"],
    )
