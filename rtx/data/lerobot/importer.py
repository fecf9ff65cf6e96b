"""`import_lerobot`: a LeRobot data set -> an RLDS data set any RLDS tool reads, and a record file to start from.

episode --rows checked, frames decoded, JPEG--> `rtx.data.foreign`: staged, written --> OUT/<name>/1.0.0/
                                                and OUT/record.py, if there is none yet
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtx.data.foreign import Foreign, Recording, put, stored_dtype, write_foreign
from rtx.data.lerobot.meta import LeRobotSet, open_lerobot
from rtx.data.lerobot.names import rlds_paths
from rtx.data.lerobot.read import read_recording
from rtx.data.lerobot.starter import facts_of
from rtx.data.names import checked_name
from rtx.data.starter import record_file, starter_text, write_record
from rtx.data.write import ImageFeature, TensorFeature, TextFeature

_TIME = "timestamp"


def import_lerobot(source: Path, out: Path, *, name: str = "", num_threads: int | None = None) -> Path:
    """Writes `out/<name>/1.0.0` and, unless it exists, the set's `record_file`; returns the former. A finished set is kept.

    `name`: of the RLDS set, by default from the source folder's. Pictures embedded in parquet are kept byte for byte; video
    frames become JPEG of quality 95. Depth maps in videos are left out: lossy depth is none.

    Raises UserError for a folder, version or name that cannot be imported, WorldError naming file, episode and frame where
    rows and pictures do not agree.
    """
    found = open_lerobot(source)
    foreign = foreign_lerobot(found, name)
    out = Path(out).expanduser().absolute()
    target = write_foreign(foreign, out, num_threads=num_threads)
    facts = facts_of(found, name=foreign.name, paths=rlds_paths(found))
    write_record(record_file(out, foreign.name), starter_text(facts))
    return target


def foreign_lerobot(found: LeRobotSet, name: str = "") -> Foreign:
    """The set as `write_foreign` takes it. Raises UserError for a name that cannot be."""
    facts = [(found.root / "meta" / "info.json").read_text(), [(e.index, e.length) for e in found.episodes]]
    episodes = {episode.index: episode for episode in found.episodes}
    return Foreign(
        name=checked_name(name, default=found.root.name),
        root=found.root,
        source=f"{found.root.name}, LeRobot {found.version}, {found.robot}, {found.fps:g} Hz",
        identity=hashlib.sha256(repr(facts).encode()).hexdigest()[:16],
        paths={**rlds_paths(found), _TIME: (_TIME,)},
        splits={split: tuple(i for i in numbers if i in episodes) for split, numbers in found.splits.items()},
        read=lambda index: read_recording(found, episodes[index]),
        features=lambda first: _features(found, first),
    )


def _features(found: LeRobotSet, first: Recording | None) -> Mapping[str, Any]:
    paths = rlds_paths(found)
    steps: dict[str, Any] = {_TIME: TensorFeature()}
    for f in found.numbers:
        kind = TextFeature() if f.dtype == "string" else TensorFeature(shape=f.shape, dtype=stored_dtype(f.dtype))
        put(steps, paths[f.key], kind)
    for f in found.pictures:
        is_png = first is not None and first.pictures[f.key][0][:2] == b"\x89P"
        picture = ImageFeature(height=f.shape[0], width=f.shape[1], encoding="png" if is_png else "jpeg")
        put(steps, paths[f.key], picture)
    return steps
