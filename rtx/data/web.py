"""Captions and questions about pictures: PaliGemma-style JSONL and a folder of pictures -> a TFDS folder -> the mixture.

    {"image": "cat.jpg", "prefix": "caption en", "suffix": "a cat on a mat"}     one line of the JSONL an example
         |  threads, shard by shard, each picture decoded once to prove it
         v
    OUT/<name>/1.0.0/<name>-train.tfrecord-00000-of-00003   bytes of the pictures unchanged
         |  `web_record(name)` and the ordinary `prepare`
         v
    samples with `text` = prefix, `target` = suffix and no action

TensorFlow is neither needed nor imported. Killed anywhere, the same command carries on with the shards that are missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rtx import progress
from rtx.data.record import NO_ACTION, DatasetRecord, ImageKey
from rtx.data.tfds_folder import ShardCount, shard_path, write_description, write_shard
from rtx.errors import UserError, WorldError
from rtx.files import atomic, disk_errors, read_json, write_json
from rtx.images import decode
from rtx.robots.no_robot import NO_ROBOT

VERSION = "1.0.0"
LEFT_OUT = "left_out.json"
_FEATURES: Mapping[str, Literal["image", "text"]] = {"image": "image", "name": "text", "prefix": "text", "suffix": "text"}
_ANSWERS = ("suffix", "caption", "text")  # what the text to answer is called
_EXAMPLES_PER_SHARD = 2048
_MAX_LISTED = 20
_RECORD_FILE = '''"""The record of {name}, for `rtx data prepare {name} SOURCE PREPARED --records THIS_FILE`."""

from rtx.data.web import web_record

RECORD = web_record("{name}")
'''


@dataclass(frozen=True, kw_only=True)
class WebExample:
    """One line, read. `where` names it in errors."""

    where: str
    image: str
    prefix: str
    suffix: str


@dataclass(frozen=True, kw_only=True)
class _Shard:
    split: str
    index: int
    count: int
    examples: Sequence[WebExample]


def web_record(
    name: str,
    *,
    image: str = "image",
    question: str = "prefix",
    answer: str = "suffix",
    val_split: str = "val",
    title: str = "",
) -> DatasetRecord:
    """The record of what `import_web` wrote, or, with its own keys, of any TFDS set of pictures, questions and answers.

    `answer` may be a list of strings, of which the most frequent is learned; `question=""` for captions without one.
    """
    return DatasetRecord(
        name=name,
        embodiment=NO_ROBOT,
        images={"primary": ImageKey(path=image)},
        instructions=(question,) if question else (),
        targets=(answer,),
        keys={},
        standardize=None,
        layout=NO_ACTION,
        entries="examples",
        val_split=val_split,
        title=title or "pictures with questions or captions",
    )


def import_web(
    annotations: Mapping[str, Path], images: Path, out: Path, *, name: str, strict: bool = True, num_threads: int | None = None
) -> Path:
    """Writes `out/<name>/1.0.0` and returns it; does nothing if it is there with the same annotations. Beside it,
    `out/<name>/record.py` is what `rtx data prepare NAME OUT PREPARED --records FILE` wants.

    `annotations`: split ("train", "val") -> JSONL. A line has "image" (below the folder `images`), "suffix" (or "caption")
    and perhaps "prefix". `strict`: missing or broken pictures and lines are named, and nothing is made; else they are left
    out, counted, and listed in left_out.json.

    Raises UserError for arguments that cannot work, WorldError for data that cannot be used.
    """
    _check_request(annotations, images, name)
    target = Path(out).expanduser().absolute() / name / VERSION
    texts = {split: _read(path) for split, path in annotations.items()}
    request = {"strict": strict, "annotations": {s: hashlib.sha256(t.encode()).hexdigest() for s, t in texts.items()}}
    if _is_finished(target, request):
        return target
    staging = target.with_name(f".{VERSION}.importing")
    _begin(staging, request)
    problems: list[str] = []
    examples = {split: _examples(text, annotations[split], problems) for split, text in texts.items()}
    shards = [shard for split, found in examples.items() for shard in _cut(split, found)]
    counts = _write_all(shards, staging, name, Path(images), problems, strict, num_threads or os.cpu_count() or 1)
    splits = {split: counts.get(split, []) for split in annotations}
    _check_splits(splits, problems)
    write_json(staging / LEFT_OUT, {"count": len(problems), "reasons": problems})
    description = f"Pictures from {Path(images).name} with texts from {', '.join(path.name for path in annotations.values())}."
    write_description(
        staging,
        name=name,
        version=VERSION,
        features=_FEATURES,
        splits=splits,
        description=description,
    )
    for path in staging.glob("*.shard.json"):
        path.unlink()
    with atomic(target.with_name("record.py")) as file:
        file.write(_RECORD_FILE.format(name=name).encode())
    os.rename(staging, target)
    return target


def left_out(folder: Path) -> tuple[int, tuple[str, ...]]:
    """How many examples `import_web(..., strict=False)` left out of `folder`, and why."""
    data = read_json(folder / LEFT_OUT)
    return data["count"], tuple(data["reasons"])


def _check_request(annotations: Mapping[str, Path], images: Path, name: str) -> None:
    problems = []
    if "train" not in annotations:
        problems.append(f"annotations {sorted(annotations)}: expected at least 'train'")
    problems += [f"no such file: {path}" for path in annotations.values() if not path.is_file()]
    if not Path(images).is_dir():
        problems.append(f"no such folder of pictures: {images}")
    if not name.replace("_", "a").isalnum() or not name[:1].isalpha() or name != name.lower() or not name.isascii():
        problems.append(f"name {name!r}: expected lower-case letters, digits and underscores, a letter first")
    if problems:
        raise UserError("web data: " + "; ".join(problems))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise WorldError(f"{path} is not UTF-8 text ({error})") from error


def _is_finished(target: Path, request: Mapping[str, Any]) -> bool:
    if not target.exists():
        return False
    if read_json(target / "request.json") != request:
        raise UserError(f"{target} was made of other annotations; delete it, or choose another name or folder")
    return True


def _begin(staging: Path, request: Mapping[str, Any]) -> None:
    """Keeps what an interrupted run of the same request left, and nothing else."""
    with disk_errors(staging):
        known = staging / "request.json"
        if staging.exists() and not (known.exists() and read_json(known) == request):
            shutil.rmtree(staging)
        staging.mkdir(parents=True, exist_ok=True)
        write_json(known, request)


def _examples(text: str, path: Path, problems: list[str]) -> list[WebExample]:
    """The usable lines; the others go to `problems`."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path.name}, line {number}"
            try:
                found.append(_example(json.loads(line), where))
            except (ValueError, AttributeError, TypeError) as error:
                problems.append(f"{where}: {error}")
    return found


def _example(data: Any, where: str) -> WebExample:
    answer = next((key for key in _ANSWERS if key in data), None)
    values = {"image": data.get("image"), "prefix": data.get("prefix", ""), "suffix": data.get(answer) if answer else None}
    for key, value in values.items():
        if not isinstance(value, str) or (not value and key != "prefix"):
            raise ValueError(f"{key!r} is {value!r}, expected a text; the line has {', '.join(map(str, data))}")
    if Path(values["image"]).is_absolute() or ".." in Path(values["image"]).parts:
        raise ValueError(f"picture {values['image']!r} lies outside the folder of pictures")
    return WebExample(where=where, **values)


def _cut(split: str, examples: Sequence[WebExample]) -> list[_Shard]:
    starts = range(0, len(examples), _EXAMPLES_PER_SHARD)
    return [
        _Shard(split=split, index=i, count=len(starts), examples=examples[start : start + _EXAMPLES_PER_SHARD])
        for i, start in enumerate(starts)
    ]


def _write_all(
    shards: Sequence[_Shard], staging: Path, name: str, images: Path, problems: list[str], strict: bool, num_threads: int
) -> dict[str, list[ShardCount]]:
    counts: dict[str, list[ShardCount]] = {}
    total = sum(len(shard.examples) for shard in shards)
    pool = ThreadPoolExecutor(num_threads)  # reading and decoding leave the interpreter free
    try:
        with progress.bar(f"import {name}", total) as advance:
            results = pool.map(lambda shard: _write_one(shard, staging, name, images), shards)
            for shard, (count, broken) in zip(shards, results, strict=True):
                counts.setdefault(shard.split, []).append(count)
                problems += broken
                advance(len(shard.examples), note=f"{len(problems)} unusable" if problems else "")
    finally:
        pool.shutdown(cancel_futures=True)
    if strict and problems:
        raise _refused(problems)
    return counts


def _write_one(shard: _Shard, staging: Path, name: str, images: Path) -> tuple[ShardCount, list[str]]:
    """Or what an earlier run found out about it. Beside a shard lies what was left out of it, written after it."""
    path = shard_path(staging, name, shard.split, shard.index, shard.count)
    note = path.with_name(path.name + ".shard.json")
    if note.exists() and path.exists():
        data = read_json(note)
        return ShardCount(**data["count"]), data["broken"]
    broken: list[str] = []
    count = write_shard(path, _payloads(shard.examples, images, broken))
    if not broken:  # pictures that were broken may have been mended when this is tried again
        write_json(note, {"count": asdict(count), "broken": broken})
    return count, broken


def _payloads(examples: Sequence[WebExample], images: Path, broken: list[str]) -> Iterator[dict[str, bytes]]:
    for example in examples:
        try:
            data = (images / example.image).read_bytes()
            if not data:
                raise WorldError("the file is empty")
            decode(data)
        except (OSError, WorldError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            broken.append(f"{example.where}: {images / example.image}: {reason}")
            continue
        texts = {"name": example.image, "prefix": example.prefix, "suffix": example.suffix}
        yield {"image": data, **{key: text.encode() for key, text in texts.items()}}


def _refused(problems: Sequence[str]) -> WorldError:
    listed = "\n  ".join(problems[:_MAX_LISTED])
    more = f"\n  ... {len(problems) - _MAX_LISTED} more" if len(problems) > _MAX_LISTED else ""
    return WorldError(
        f"{len(problems)} examples cannot be used:\n  {listed}{more}\n"
        "mend them (only JPEG and PNG pictures can be read), or import with strict=False, which leaves them out and lists them"
    )


def _check_splits(splits: Mapping[str, Sequence[ShardCount]], problems: Sequence[str]) -> None:
    empty = [split for split, shards in splits.items() if not sum(shard.num_examples for shard in shards)]
    if empty:
        why = f"; {len(problems)} were left out, the first: {problems[0]}" if problems else ""
        raise WorldError(f"no usable example in {', '.join(empty)}{why}")
