"""Where the episodes lie in HDF5 files and Zarr stores, and what each holds, read from headers.

    one episode a file          action, observations/qpos, observations/images/<camera>       ALOHA, ACT
    many in one file            data/demo_0/actions, data/demo_0/obs/..., mask/train          robomimic, LIBERO
    one after another           data/action, data/img, meta/episode_ends                      diffusion policy's replay buffer
    one group an episode        episode_0/action, ...

Source: the writers of these projects (ACT's record_sim_episodes.py, robomimic's dataset_states_to_obs.py, diffusion policy's
replay_buffer.py), and LIBERO's files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtx.data.episodes.columns import Column, column_of
from rtx.data.episodes.tree import arrays_in, block, groups_in, is_array, opened, text
from rtx.data.robot_keys import DataKeys, split_key
from rtx.errors import UserError, WorldError

ACTIONS = ("action", "actions")
INSTRUCTIONS = (
    "language_instruction", "instruction", "natural_language_instruction", "task_description", "task", "prompt", "language",
)  # fmt: skip
_OBSERVATIONS = ("", "observations/", "observation/", "obs/")


@dataclass(frozen=True, kw_only=True)
class EpisodeAt:
    """One episode: rows `start` to `stop` of the arrays in `group` of `file`. `left_out`: key -> why it is no column.

    `instruction`: "" where only a column or nobody tells it. `channel_order` of its pictures, "" where nothing tells it.
    `hz`: the rate, 0 where nothing tells it.
    """

    file: Path
    group: str
    start: int
    stop: int
    split: str
    columns: Mapping[str, Column]
    left_out: Mapping[str, str]
    instruction: str
    channel_order: str = ""
    hz: float = 0.0

    @property
    def where(self) -> str:
        rows = f", rows {self.start} to {self.stop - 1}" if self.start else ""
        return f"{self.file}{f', {self.group}' if self.group else ''}{rows}"

    @property
    def length(self) -> int:
        return self.stop - self.start


def action_keys(keys: DataKeys, there: Sequence[str]) -> tuple[str, ...]:
    """The keys of the action among those of an episode: the declared ones, or what is called one."""
    if keys.action:
        return tuple(dict.fromkeys(split_key(key)[0] for key in keys.action))
    return tuple(key for key in there if key.split("/")[0] in ACTIONS)


def episodes_in(file: Path, keys: DataKeys) -> list[EpisodeAt]:
    """Every episode of one file, in order. Raises UserError if there is none, WorldError if it does not agree with itself."""
    with opened(file) as root:
        return list(_replay_buffer(file, root, keys) if _is_replay_buffer(root) else _groups(file, root, keys))


def _is_replay_buffer(root: Any) -> bool:
    return "meta/episode_ends" in root and "data" in root and not is_array(root["data"])


def _replay_buffer(file: Path, root: Any, keys: DataKeys) -> Iterator[EpisodeAt]:
    arrays, where = arrays_in(root["data"]), f"{file}, data"
    told_ends = root["meta/episode_ends"]
    ends = block(told_ends, 0, told_ends.shape[0], where=f"{file}, meta/episode_ends")
    total = _length(arrays, keys, where)
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    if not len(ends) or np.any(ends <= starts) or int(ends[-1]) != total:
        raise WorldError(
            f"{file}, meta/episode_ends: got {ends[:5]}..., expected growing numbers up to {total}, one an episode"
        )
    columns, left_out = _columns(arrays, total)
    told = _told(root["meta"], len(ends)) or [_instruction(root["data"], root, {}, 0, keys)] * len(ends)
    for start, stop, instruction in zip(starts.tolist(), ends.tolist(), told, strict=True):
        yield EpisodeAt(
            file=file, group="data", start=start, stop=stop, split="train", columns=columns, left_out=left_out,
            instruction=instruction, channel_order=text(root.attrs.get("channel_order")), hz=_rate(root),
        )  # fmt: skip


def _rate(holder: Any) -> float:
    """Steps a second, by its attributes; 0 if they do not tell."""
    values = [holder.attrs.get(name) for name in ("control_hz", "fps")]
    return next(
        (float(np.asarray(v).reshape(-1)[0]) for v in values if v is not None and np.asarray(v).dtype.kind in "iuf"), 0.0
    )


def _told(meta: Any, count: int) -> list[str]:
    """A text for each episode beside `episode_ends`, if there is one."""
    for name in (n for plain in INSTRUCTIONS for n in (plain, f"{plain}s", f"episode_{plain}")):
        if name in meta and is_array(meta[name]) and tuple(meta[name].shape) == (count,):
            return [text(np.asarray(value)) for value in np.asarray(meta[name][:], object)]
    return []


def _groups(file: Path, root: Any, keys: DataKeys) -> Iterator[EpisodeAt]:
    found = _episode_groups(file, root, keys)
    splits = _splits(root, list(found))
    for path, group in found.items():
        where = f"{file}, {path}" if path else str(file)
        arrays = arrays_in(group)
        length = _length(arrays, keys, where)
        columns, left_out = _columns(arrays, length)
        yield EpisodeAt(
            file=file, group=path, start=0, stop=length, split=splits.get(path, "train"), columns=columns, left_out=left_out,
            instruction=_instruction(group, root, arrays, length, keys),
            channel_order=text(group.attrs.get("channel_order")) or text(root.attrs.get("channel_order")),
            hz=_rate(group) or _rate(root),
        )  # fmt: skip


def _episode_groups(file: Path, root: Any, keys: DataKeys) -> dict[str, Any]:
    if _is_episode(root, keys):
        return {"": root}
    for parent, holder in (("data/", root.get("data")), ("", root)):
        if holder is None or is_array(holder):
            continue
        groups = {f"{parent}{name}": group for name, group in groups_in(holder).items()}
        found = {path: group for path, group in groups.items() if _is_episode(group, keys)}
        if found:
            lacking = [path for path in groups if path not in found and path not in ("mask", "meta")]
            if lacking:
                raise UserError(f"{file}, {lacking[0]}: no {_wanted(keys)} in it, as the {len(found)} others have; take it out")
            return found
    there = ", ".join(list(arrays_in(root))[:20]) or "nothing"
    raise UserError(
        f"{file} holds no episode that rtx recognises: no {_wanted(keys)} at its top, in data/demo_N or in its groups; it "
        f"holds {there}. If the action has another name, write DATA = DataKeys(action=(...), ...) into the robot's file"
    )


def _wanted(keys: DataKeys) -> str:
    return " and ".join(map(repr, action_keys(keys, ()))) or "'action' or 'actions'"


def _is_episode(group: Any, keys: DataKeys) -> bool:
    declared = action_keys(keys, ())
    if declared:
        return all(key in group and is_array(group[key]) for key in declared)
    return any(name in group and (is_array(group[name]) or arrays_in(group[name])) for name in ACTIONS)


def _length(arrays: Mapping[str, Any], keys: DataKeys, where: str) -> int:
    wanted = action_keys(keys, list(arrays))
    lengths = {key: int(arrays[key].shape[0]) if arrays[key].shape else 0 for key in wanted if key in arrays}
    if set(wanted) - set(lengths) or not lengths:
        raise UserError(f"{where}: no {_wanted(keys)}; it holds {', '.join(arrays)}")
    if len(set(lengths.values())) > 1:
        raise WorldError(f"{where}: its actions differ in length: {', '.join(f'{k} {n}' for k, n in lengths.items())}")
    length = next(iter(lengths.values()))
    if not length:
        raise WorldError(f"{where}: an episode without a step; take it out")
    return length


def _columns(arrays: Mapping[str, Any], length: int) -> tuple[dict[str, Column], dict[str, str]]:
    columns: dict[str, Column] = {}
    left_out: dict[str, str] = {}
    for key, array in arrays.items():
        shape = tuple(int(n) for n in array.shape)
        if shape[:1] != (length,):
            left_out[key] = f"shape {list(shape)}, the action has {length} rows"
            continue
        found = column_of(array)
        if isinstance(found, Column):
            columns[key] = found
        else:
            left_out[key] = found
    return columns, left_out


def _splits(root: Any, paths: Sequence[str]) -> dict[str, str]:
    """robomimic's masks, where train and valid share out all episodes."""
    if "mask/train" not in root or "mask/valid" not in root:
        return {}
    named = {f"data/{text(np.asarray(name))}": "train" for name in np.asarray(root["mask/train"][:], object)}
    held_out = {f"data/{text(np.asarray(name))}": "val" for name in np.asarray(root["mask/valid"][:], object)}
    is_partition = not set(named) & set(held_out) and set(named) | set(held_out) == set(paths) and bool(named)
    return {**named, **held_out} if is_partition else {}


def _instruction(group: Any, root: Any, arrays: Mapping[str, Any], length: int, keys: DataKeys) -> str:
    """Of the whole episode: an attribute or a single text, of the episode or of the file. Per step: `instruction_column`."""
    declared = keys.instruction
    if declared.startswith("@"):
        return text(group.attrs.get(declared[1:])) or text(root.attrs.get(declared[1:]))
    if declared:
        return _single(arrays.get(declared.lstrip("/")), length)
    for name in INSTRUCTIONS:
        found = text(group.attrs.get(name)) or next(
            (told for at in _OBSERVATIONS if (told := _single(arrays.get(at + name), length))), ""
        )
        if found:
            return found
    holders = [root, *([root["data"]] if "data" in root and not is_array(root["data"]) else [])]
    found = next((told for holder in holders for name in INSTRUCTIONS if (told := text(holder.attrs.get(name)))), "")
    return found or next((told for holder in holders if (told := _of_libero(holder))), "")


def instruction_column(columns: Mapping[str, Column], keys: DataKeys) -> str:
    """The key of the column of texts that tells the instruction of each step, "" if there is none."""
    declared = keys.instruction.lstrip("/")
    names = [declared] if declared else [at + name for name in INSTRUCTIONS for at in _OBSERVATIONS]
    return next((name for name in names if name in columns and columns[name].kind == "texts"), "")


def _single(array: Any, length: int) -> str:
    """A dataset of one text; one of as many as there are steps is a column."""
    if array is None or tuple(array.shape) not in ((), (1,)) or (length == 1 and array.shape):
        return ""
    value = array[()] if array.shape == () else np.asarray(array[:], object)[0]
    return text(np.asarray(value, object))


def _of_libero(holder: Any) -> str:
    told = text(holder.attrs.get("problem_info"))
    try:
        found = json.loads(told) if told else {}
    except json.JSONDecodeError:
        return ""
    return text(found.get("language_instruction")) if isinstance(found, dict) else ""
