"""Genuine little RLDS directories for tests, written by an encoder of our own that shares no code with what it tests.

`encode_example` follows the protocol buffer encoding by hand (packed lists, as TensorFlow writes them; unpacked on
request), `write_rlds` frames the records as TFRecord and writes features.json and dataset_info.json the way TFDS does.
"""

import io
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from PIL import Image

Leaf = np.ndarray | Sequence[bytes]  # stacked over steps; strings and images as one bytes a step


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def encode_list(leaf: Leaf, *, packed: bool = True) -> bytes:
    """A Feature message."""
    if not isinstance(leaf, np.ndarray):
        return delimited(1, b"".join(delimited(1, item) for item in leaf))
    if leaf.dtype.kind == "f":
        numbers = [struct.pack("<f", x) for x in leaf.ravel()]
        return delimited(2, delimited(1, b"".join(numbers)) if packed else b"".join(b"\x0d" + n for n in numbers))
    numbers = [varint(int(x)) for x in leaf.ravel()]
    return delimited(3, delimited(1, b"".join(numbers)) if packed else b"".join(b"\x08" + n for n in numbers))


def encode_example(leaves: Mapping[str, Leaf], *, packed: bool = True) -> bytes:
    entries = [
        delimited(1, delimited(1, key.encode()) + delimited(2, encode_list(leaf, packed=packed)))
        for key, leaf in leaves.items()
    ]
    return delimited(1, b"".join(entries))


def masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def encode_record(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + masked(length) + payload + masked(payload)


def jpeg(color: Sequence[int], size: int = 16) -> bytes:
    """One flat colour, so that a test knows what comes out."""
    out = io.BytesIO()
    Image.fromarray(np.broadcast_to(np.array(color, np.uint8), (size, size, 3)).copy()).save(out, "JPEG", quality=95)
    return out.getvalue()


def feature(kind: str, shape: Sequence[int] = (), *, dtype: str = "float32") -> dict[str, Any]:
    """One leaf of features.json: kind "tensor", "image" or "text"."""
    base = "tensorflow_datasets.core.features."
    dimensions = {"dimensions": [str(n) for n in shape]} if shape else {}
    if kind == "text":
        return {"pythonClassName": f"{base}text_feature.Text", "text": {}}
    if kind == "image":
        body = {"shape": dimensions, "dtype": "uint8", "encodingFormat": "jpeg"}
        return {"pythonClassName": f"{base}image_feature.Image", "image": body}
    body = {"shape": dimensions, "dtype": dtype, "encoding": "none"}
    return {"pythonClassName": f"{base}tensor_feature.Tensor", "tensor": body}


def listed(leaf: Mapping[str, Any], length: int = -1) -> dict[str, Any]:
    """A list of `leaf` inside a step or an example; -1: of any length."""
    name = "tensorflow_datasets.core.features.sequence_feature.Sequence"
    return {"pythonClassName": name, "sequence": {"feature": leaf, "length": str(length)}}


def features_json(leaves: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`leaves`: path under the episode ("steps/action", ...) -> `feature(...)`."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, last = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    steps = _features_dict(tree["steps"]) if "steps" in tree else None
    return _features_dict({k: v for k, v in tree.items() if k != "steps"}, steps)


def _features_dict(tree: Mapping[str, Any], steps: Any = None) -> dict[str, Any]:
    children = {k: v if "pythonClassName" in v else _features_dict(v) for k, v in tree.items()}
    if steps is not None:
        name = "tensorflow_datasets.core.features.dataset_feature.Dataset"
        children["steps"] = {"pythonClassName": name, "sequence": {"feature": steps, "length": "-1"}}
    name = "tensorflow_datasets.core.features.features_dict.FeaturesDict"
    return {"pythonClassName": name, "featuresDict": {"features": children}}


def write_rlds(
    root: Path,
    name: str,
    features: Mapping[str, Mapping[str, Any]],
    splits: Mapping[str, Sequence[Sequence[Mapping[str, Leaf]]]],
) -> Path:
    """`splits`: name -> shards -> episodes -> leaves. Returns the version folder."""
    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "features.json").write_text(json.dumps(features_json(features)))
    infos = []
    for split, shards in splits.items():
        for i, episodes in enumerate(shards):
            data = b"".join(encode_record(encode_example(episode)) for episode in episodes)
            (folder / f"{name}-{split}.tfrecord-{i:05d}-of-{len(shards):05d}").write_bytes(data)
        lengths = [str(len(episodes)) for episodes in shards]
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        infos.append({"name": split, "filepathTemplate": template, "shardLengths": lengths, "numBytes": "0"})
    info = {"name": name, "version": "1.0.0", "fileFormat": "tfrecord", "splits": infos}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


WIDOWX_FEATURES = {
    "steps/action": feature("tensor", (7,)),
    "steps/observation/state": feature("tensor", (7,)),
    "steps/observation/image_0": feature("image", (16, 16, 3)),
    "steps/observation/image_1": feature("image", (16, 16, 3)),
    "steps/language_instruction": feature("text"),
    "steps/is_first": feature("tensor", dtype="bool"),
    "steps/is_last": feature("tensor", dtype="bool"),
    "steps/is_terminal": feature("tensor", dtype="bool"),
    "episode_metadata/file_path": feature("text"),
}
"""Of a set in the form of bridge_dataset (and of sim_vx300s)."""


def widowx_episode(rng: np.random.Generator, num_steps: int, *, instruction: str = "put the cup down") -> dict[str, Leaf]:
    """Random motion in the ranges of the real set; the first action is zero, as there. Image colours encode the step."""
    action = rng.uniform(-0.02, 0.02, (num_steps, 7)).astype(np.float32)
    action[:, 6] = rng.uniform(size=num_steps) < 0.5
    action[:1, :6] = 0
    state = rng.uniform([0.2, -0.1, 0.06, -3, -1, -3, 0], [0.35, 0.12, 0.2, 3, 1, 3, 1], (num_steps, 7)).astype(np.float32)
    last = np.arange(num_steps) == num_steps - 1
    return {
        "steps/action": action,
        "steps/observation/state": state,
        "steps/observation/image_0": [jpeg((min(8 * t, 255), 0, 200)) for t in range(num_steps)],
        "steps/observation/image_1": [jpeg((0, min(8 * t, 255), 100)) for t in range(num_steps)],
        "steps/language_instruction": [instruction.encode()] * num_steps,
        "steps/is_first": (np.arange(num_steps) == 0).astype(np.int64),
        "steps/is_last": last.astype(np.int64),
        "steps/is_terminal": last.astype(np.int64),
        "episode_metadata/file_path": [b"episode"],
    }


def write_widowx(
    root: Path, name: str = "bridge_dataset", *, seed: int = 0, shards: Sequence[int] = (3, 4), steps: int = 6
) -> Path:
    """A training split of `sum(shards)` episodes in `len(shards)` files, no validation split."""
    rng = np.random.default_rng(seed)
    episodes = [
        [widowx_episode(rng, steps + (i + j) % 3, instruction=f"task {(i + j) % 4}") for j in range(n)]
        for i, n in enumerate(shards)
    ]
    return write_rlds(root, name, WIDOWX_FEATURES, {"train": episodes})
