"""`prepare`: RLDS shards once through, in parallel, into columns that training reads at random. Images stay where they are.

    shard 0 --prepare_shard--> part 0 --+                +--> train/*.npy, val/*.npy   step table, byte index of images
    shard 1 --prepare_shard--> part 1 --+--merge in order+--> languages.json
    ...        (worker processes,       +                +--> manifest.json            statistics, checksums; written last
                or a Ray cluster)

Shards may lie in a bucket (gs://, s3://, http://); they are read once, front to back. What is written needs a disk.

Killed anywhere, the same command goes on: parts already written are taken up if shard and record are unchanged, and without
a manifest nothing downstream opens the folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from rtx import progress
from rtx.data.cluster import run_on_cluster
from rtx.data.features import Source, open_source
from rtx.data.merge import merge
from rtx.data.pool import run_in_processes
from rtx.data.prepared import FORMAT, MANIFEST, PreparedSet
from rtx.data.record import DatasetRecord, RecordRef
from rtx.data.shard import FileIdentity, PartMeta, ShardTask, finished, pack_path, prepare_shard
from rtx.data.storage import Location, Stat, Url, location, stats
from rtx.errors import UserError, WorldError, unknown_name
from rtx.files import disk_errors, read_json, write_json

HELD_OUT = 0.05  # of the training episodes, where the source has no validation split
_PARTS = "parts"
_MANY = 8  # shards whose bytes are summed side by side


def prepare(
    record: DatasetRecord,
    source: str | Location,
    out: str | Path,
    *,
    splits: Sequence[str] | None = None,
    num_workers: int | None = None,
    cluster: str = "",
    resume: bool = True,
    quarantine: bool = False,
    max_quarantined: float = 0.001,
) -> PreparedSet:
    """Prepares `source` (TFDS version folder, data set folder or root) into the folder `out`, which becomes the prepared set.

    `source` may be gs://, s3:// or http://. `splits`: of the source, default all. `num_workers`: processes, default one per
    core; 1 works in this process. `cluster`: shards go to that Ray cluster instead ("auto", "HOST:PORT", "ray://HOST:PORT"),
    all of whose machines see `out` and the source under the same paths.
    `quarantine` counts and lists damaged episodes instead of stopping, up to the share `max_quarantined` of all; to find them
    all it decodes every picture, which otherwise `rtx data verify` and the loader do.
    Does nothing if `out` is up to date, and only notes the new place if the same shards moved. Raises UserError for a
    wrong source, record or folder, before data is read; WorldError naming file, byte and episode for damaged data.
    """
    if num_workers is not None and (num_workers < 1 or cluster):
        wanted = "pass one of the two" if cluster else "pass at least 1"
        raise UserError(f"num_workers is {num_workers}{' and a cluster is given' if cluster else ''}; {wanted}")
    out = _folder(out)
    found = open_source(source, record.name)
    record.validate(found.features, where=str(found.directory))
    record.check_name(found.name, where=str(found.directory))
    chosen = _chosen_splits(found, record, splits)
    _check_folder(out)
    tasks = _tasks(record, found, chosen, out / _PARTS, quarantine=quarantine)
    now = _checked_shards(found, tasks)
    request = {"fingerprint": record.fingerprint(), "splits": chosen, "quarantine": quarantine}
    if resume and (ready := _up_to_date(out, request, tasks, now, found)):
        counts = ready.counts.values()
        reasons = [reason for count in counts for reason in count["reasons"]]
        _check_quarantine(tasks, sum(count["quarantined"] for count in counts), reasons, max_quarantined)
        _remove_parts(out)  # a kill after the manifest leaves them
        return ready
    _make_folder(out)
    with disk_errors(out):
        for unfinished in out.rglob(".*.part"):  # of a killed run: `rtx.files.atomic`
            unfinished.unlink(missing_ok=True)
        (out / MANIFEST).unlink(missing_ok=True)  # from here on the folder is under construction
        if not resume:
            _remove_parts(out)
    metas = _run_all(tasks, now, title=f"prepare {record.name}", num_workers=num_workers, cluster=cluster)
    reasons = [reason for meta in metas for reason in meta.reasons]
    _check_quarantine(tasks, sum(meta.quarantined for meta in metas), reasons, max_quarantined)
    merge(record, found, tasks, metas, out, request=request)
    _remove_parts(out)
    return PreparedSet.open(out)


def held_out(name: str, num_episodes: int) -> Bool[np.ndarray, " e"]:
    """Which training episodes become validation: about 5 %, each decided by a hash of (name, number) alone.

    So a set that grows keeps its decisions. Of two or more episodes at least one is held out (that with the smallest hash).
    """
    digests = [hashlib.sha256(f"{name}/{i}".encode()).digest()[:8] for i in range(num_episodes)]
    values = np.frombuffer(b"".join(digests), ">u8").astype(np.float64) / 2.0**64
    chosen = values < HELD_OUT
    if num_episodes > 1 and not chosen.any():
        chosen[np.argmin(values)] = True
    return chosen


def _chosen_splits(source: Source, record: DatasetRecord, splits: Sequence[str] | None) -> list[str]:
    for name in [record.train_split, *(splits or ())]:
        if name not in source.splits:
            raise unknown_name(f"split of {source.directory}", name, source.splits)
    chosen = list(source.splits) if splits is None else [s for s in source.splits if s in splits]
    if record.train_split not in chosen:
        raise UserError(f"splits {chosen} leave out {record.train_split!r}, which statistics are computed from; add it")
    return chosen


def _folder(out: str | Path) -> Path:
    place = location(out)
    if isinstance(place, Url):
        raise UserError(
            f"{place}: the prepared set is mapped into memory, so it goes to a folder of a disk; its source may be there"
        )
    return place


def _checked_shards(source: Source, tasks: Sequence[ShardTask]) -> list[Stat]:
    """The stat of every task's shard, all of which must be there."""
    found = stats([task.path for task in tasks])
    missing = [task.path for task, now in zip(tasks, found, strict=True) if now is None]
    if missing:
        raise WorldError(
            f"{source.directory}: {len(missing)} shards that dataset_info.json lists are not there, the first is "
            f"{missing[0].name}; fetch them, or pass the splits that are complete"
        )
    return [now for now in found if now is not None]


def _check_folder(out: Path) -> None:
    """Refuses to write into somebody else's folder."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; pass a folder for the prepared set")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).exists() and not (out / _PARTS).exists():
        raise UserError(f"{out} is not empty and holds no prepared set; pass a new or empty folder")


def _tasks(record: DatasetRecord, source: Source, splits: Sequence[str], parts: Path, *, quarantine: bool) -> list[ShardTask]:
    """One per shard, in the order they are merged in."""
    ref, fingerprint, tasks = RecordRef.of(record), record.fingerprint(), []
    for split in splits:
        num_episodes = source.num_episodes(split)
        holds_out = split == record.train_split and record.val_split not in source.splits
        chosen = held_out(record.name, num_episodes) if holds_out else np.zeros(num_episodes, bool)
        first, shards = 0, source.splits[split]
        for i, shard in enumerate(shards):
            here = chosen[first : first + shard.num_episodes]
            depends = f"{FORMAT} {fingerprint} {split} {first} {here.tolist()} {quarantine}"
            tasks.append(
                ShardTask(
                    ref=ref, features=source.features, split=split, path=shard.path, first_episode=first, heldout=here,
                    part=parts / f"{split}-{i:05d}-of-{len(shards):05d}.npz", quarantine=quarantine,
                    pack=pack_path(parts.parent, split, i, len(shards)) if source.file_format == "array_record" else None,
                    key=hashlib.sha256(depends.encode()).hexdigest()[:16],
                )
            )  # fmt: skip
            first += shard.num_episodes
    return tasks


def _make_folder(out: Path) -> None:
    try:
        with disk_errors(out):
            out.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"cannot make the folder {out}: {error.strerror}; choose another place for the prepared set") from error


def _remove_parts(out: Path) -> None:
    shutil.rmtree(out / _PARTS, ignore_errors=True)


def _up_to_date(
    out: Path, request: dict[str, Any], tasks: Sequence[ShardTask], now: Sequence[Stat], source: Source
) -> PreparedSet | None:
    """The set in `out`, if it was made from these very bytes. Bytes are read again only where time or version differ."""
    if not (out / MANIFEST).exists():
        return None
    manifest = read_json(out / MANIFEST)
    if manifest.get("format") != FORMAT or manifest.get("request") != request:
        return None
    entries = {source.directory / entry["file"]: FileIdentity(**entry["identity"]) for entry in manifest["shards"]}
    if list(entries) != [task.path for task in tasks]:
        return None
    with ThreadPoolExecutor(_MANY) as pool:  # where bytes must be read again, from a bucket above all
        same = list(pool.map(lambda entry, stat: entry[1].unchanged(entry[0], stat), entries.items(), now))
    if not all(same) or not all(task.pack.is_file() for task in tasks if task.pack is not None):
        return None
    shards = [
        entry | {"identity": entry["identity"] | asdict(stat)} for entry, stat in zip(manifest["shards"], now, strict=True)
    ]
    news = {"source": str(source.directory), "shards": shards}
    if manifest | news != manifest:  # moved or touched: noted, so that the next look is a quick one
        write_json(out / MANIFEST, manifest | news)
    return PreparedSet.open(out)


def _run_all(
    tasks: Sequence[ShardTask], now: Sequence[Stat], *, title: str, num_workers: int | None, cluster: str
) -> list[PartMeta]:
    """The heads of all parts, in order: taken up where an earlier run finished them, made otherwise."""
    metas: list[PartMeta | None] = [finished(task, stat) for task, stat in zip(tasks, now, strict=True)]
    open_tasks = [i for i, meta in enumerate(metas) if meta is None]
    total = sum(task.num_episodes for task in tasks)
    done = total - sum(tasks[i].num_episodes for i in open_tasks)
    workers = min(num_workers or _num_cores(), len(open_tasks))
    with progress.bar(title, total, done=done) as advance:
        todo = [tasks[i] for i in open_tasks]
        if cluster and todo:
            results = run_on_cluster(todo, address=cluster, advance=advance)
        elif workers > 1:
            results = run_in_processes(todo, num_workers=workers, advance=advance)
        else:
            results = ((i, prepare_shard(task, lambda: advance(1))) for i, task in enumerate(todo))
        for position, meta in results:
            metas[open_tasks[position]] = meta
    assert all(meta is not None for meta in metas)
    return [meta for meta in metas if meta is not None]


def _num_cores() -> int:
    """Those this process may use, where the system can tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_quarantine(tasks: Sequence[ShardTask], damaged: int, reasons: Sequence[str], limit: float) -> None:
    total = sum(task.num_episodes for task in tasks)
    if damaged > limit * total:
        raise WorldError(
            f"{tasks[0].ref.name}: {damaged} of {total} episodes are damaged, more than the allowed share {limit:g}; "
            "the first:\n  " + "\n  ".join(reasons[:5]) + "\nfetch the files again, or raise max_quarantined"
        )
