"""Our data for programs that are built on TensorFlow: batches as a `tf.data.Dataset`, trajectories as a `dlimp.DLataset`.

    Loader       --as_tf_dataset--> batches, in the loader's own order, state and resuming included
    PreparedSet  --as_dlimp-------> standardized trajectories with encoded pictures, in the keys Octo and OpenVLA use

TensorFlow is imported when one of these is called, and only then; never in a process that renders.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rtx.data.frames import Frames, ShardFiles
from rtx.data.loader import Loader
from rtx.data.prepared import PreparedSet, PreparedSplit
from rtx.errors import UserError
from rtx.images import encode_png
from rtx.spec import Batch

_DLIMP = (
    "as_dlimp needs dlimp, which is not on the package index and asks for an old TensorFlow; beside a new one: "
    "pip install --no-deps git+https://github.com/kvablack/dlimp"
)


def as_tf_dataset(loader: Loader) -> Any:
    """A `tf.data.Dataset` of the loader's batches, without end: dictionaries of tensors keyed as `rtx.spec.Batch`.

    It goes on where the loader is, and advances it: `loader.state()` after n batches were taken is n further, plus what
    tf.data has fetched ahead by a `prefetch` of your own. Close the loader when done. Raises UserError without TensorFlow.
    """
    tf = _import_tensorflow()
    before = loader.state()
    first = as_tree(next(loader))  # for its shapes; it comes again
    loader.restore(before)
    signature = tf.nest.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), first)

    def batches() -> Iterator[dict[str, Any]]:
        yield from map(as_tree, loader)

    return tf.data.Dataset.from_generator(batches, output_signature=signature)


def as_tree(batch: Batch) -> dict[str, Any]:
    """The batch as nested dictionaries; without `target` where the mixture has no questions."""
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return {name: dict(v) if isinstance(v, Mapping) else v for name, v in values.items() if v is not None}


def as_dlimp(prepared: PreparedSet, split: str = "train") -> Any:
    """A `dlimp.DLataset` of the split's trajectories, once through, in order; `[T, ...]` each:

    observation/image_<role> (encoded, "" where absent), observation/proprio, task/language_instruction, action, dataset_name,
    _len, _traj_index, _frame_index. Action and proprio are in the set's layout, in physical units; pictures are the bytes of
    the files, but for BGR and raw arrays: they become PNG in RGB. Raises UserError without dlimp or TensorFlow.
    """
    tf = _import_tensorflow()
    try:
        import dlimp
    except ImportError as error:
        raise UserError(f"{_DLIMP} ({error})") from error
    part, layout = prepared.split(split), prepared.layout

    def column(dtype: Any, *shape: int) -> Any:
        return tf.TensorSpec((None, *shape), dtype)

    signature = {
        "observation": {
            **{f"image_{role}": column(tf.string) for role in prepared.roles},
            "proprio": column(tf.float32, layout.proprio_width),
        },
        "task": {"language_instruction": column(tf.string)},
        "action": column(tf.float32, layout.action.width),
        "dataset_name": column(tf.string),
        **{name: column(tf.int64) for name in ("_len", "_traj_index", "_frame_index")},
    }
    dataset = tf.data.Dataset.from_generator(lambda: _trajectories(prepared, part), output_signature=signature)
    # As dlimp makes its own of what tf.data gives; it has no public function for a data set from elsewhere.
    dataset.__class__ = type("DLataset", (dlimp.DLataset, type(dataset)), {})
    dataset.is_flattened = False
    return dataset


def _trajectories(prepared: PreparedSet, part: PreparedSplit) -> Iterator[dict[str, Any]]:
    files = ShardFiles()
    label = f"data set {prepared.name!r}, split {part.name!r}"
    cameras = {role: Frames(part, role, size=None, files=files, label=label) for role in prepared.roles}
    try:
        for episode in range(part.num_episodes):
            first, end = (int(part.episode_start[i]) for i in (episode, episode + 1))
            rows, num_steps = np.arange(first, end), end - first
            pictures = {
                f"image_{role}": _encoded(frames, rows, as_they_are=_are_files(part, role)) for role, frames in cameras.items()
            }
            said = [_first_said(prepared, ids) for ids in part.language_id[first:end].tolist()]
            yield {
                "observation": {**pictures, "proprio": np.asarray(part.proprio[first:end])},
                "task": {"language_instruction": np.array(said, object)},
                "action": np.asarray(part.action[first:end]),
                "dataset_name": np.full(num_steps, prepared.name.encode(), object),
                "_len": np.full(num_steps, num_steps, np.int64),
                "_traj_index": np.full(num_steps, episode, np.int64),
                "_frame_index": np.arange(num_steps),
            }
    finally:
        files.close()


def _encoded(frames: Frames, rows: np.ndarray, *, as_they_are: bool) -> np.ndarray:
    pictures = np.full(len(rows), b"", object)
    there = np.flatnonzero(frames.present(rows))
    if as_they_are:
        for i, data in frames.encoded(rows[there]):
            pictures[there[i]] = bytes(data)
    else:
        for i, picture in frames.decoded(rows[there]):
            pictures[there[i]] = encode_png(picture)
    return pictures


def _are_files(part: PreparedSplit, role: str) -> bool:
    """Whether the stored bytes are pictures that any decoder shows right: no raw arrays, and RGB."""
    index = part.image(role)
    return index.pixels.encoding == "picture" and index.channel_order == "rgb"


def _first_said(prepared: PreparedSet, ids: list[int]) -> bytes:
    return next((text for i in ids if (text := prepared.languages[i])), "").encode()


def _import_tensorflow() -> Any:
    if "mujoco" in sys.modules:
        raise RuntimeError("a process that renders must not import TensorFlow: they crash each other; use another process")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before the import: it announces the CPU's features on stderr
    try:
        import tensorflow as tf
    except ImportError as error:
        raise UserError(f"tf.data needs TensorFlow ({error}); install it: pip install 'rtx-robotics[write]'") from error
    return tf
