"""Served episodes as RLDS without TensorFlow: one TFRecord file an episode, and the JSON beside it that every RLDS tool reads.

    FOLDER/records.py                                for `rtx data prepare served_NAME FOLDER OUT --records FOLDER/records.py`
    FOLDER/served_NAME/robot.json                    embodiment and layout of the robot
    FOLDER/served_NAME/1.0.0/features.json           what the episodes hold
                             dataset_info.json       which files there are; written anew after each episode
                             served_NAME-train.tfrecord-00000, -00001, ...

An episode is whole or absent at every moment; one that dies between its file and the list is overwritten by the next. Where the
contract is another than that of the files there, a new version begins.

    steps    observation {image_ROLE: JPEG, state: float32 [p]}, action float32 [a], action_chunk float32 [k, a],
             language_instruction, stamp_ns, is_first, is_last, is_terminal
    episode  robot, policy, checkpoint, episode, started (UTC), control_hz, cut

A step is a question and the first action of its answer, in the checkpoint's layout, physical units: at the control rate if the
robot asks at each period, at a fraction of it if it plays chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtx.data.protobuf import field, varint
from rtx.data.tfrecord import frame
from rtx.errors import UserError
from rtx.files import atomic, disk_errors, read_json, write_json
from rtx.spec import Contract, to_json

_FEATURES = "tensorflow_datasets.core.features."
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """As it is written: `images` role -> JPEG, `chunk` float32 [k, a] whose first row is the action."""

    images: Mapping[str, bytes]
    state: np.ndarray
    chunk: np.ndarray
    instruction: str
    stamp_ns: int


def dataset_name(robot: str) -> str:
    return "served_" + "".join(letter if letter.isalnum() else "_" for letter in robot.lower())


class RobotSet:
    """The data set of one robot, made when its first episode ends."""

    def __init__(self, folder: Path, contract: Contract, robot: str) -> None:
        self.robot, self.name, self._folder = robot, dataset_name(robot), folder
        self._embodiment, self._layout = contract.embodiments[robot], contract.layouts[robot]
        self.roles = tuple(role for role in contract.roles if role in self._embodiment.roles)
        self._features = _features(self.roles, self._layout.proprio_width, self._layout.action.width, contract.chunk)
        self._version: Path | None = None
        self._num_bytes: list[int] = []  # of each episode's file

    def write(self, steps: Sequence[Step], metadata: Mapping[str, str | float]) -> None:
        """One episode of at least one step. Raises WorldError or OSError where the disk does not take it."""
        version = self._version if self._version is not None else self._open()
        payload = _example(_leaves(steps, metadata))
        with atomic(version / f"{self.name}-train.tfrecord-{len(self._num_bytes):05d}") as file:
            for part in frame(payload):
                file.write(part)
        write_json(version / "dataset_info.json", self._info(version, [*self._num_bytes, len(payload)]))
        self._version = version
        self._num_bytes.append(len(payload))

    def _open(self) -> Path:
        """The newest version if it is of this contract, else a new one."""
        root = self._folder / self.name
        robot = {"embodiment": to_json(self._embodiment), "layout": to_json(self._layout), "roles": list(self.roles)}
        with disk_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            minors = sorted(int(path.name.split(".")[1]) for path in root.glob("1.*.0") if path.name.split(".")[1].isdigit())
            newest = root / f"1.{minors[-1] if minors else 0}.0"
            if (newest / "features.json").exists() and not self._continues(newest, root, robot):
                newest = root / f"1.{minors[-1] + 1}.0"
            newest.mkdir(exist_ok=True)
        if not (newest / "features.json").exists():
            write_json(root / "robot.json", robot)
            write_json(newest / "features.json", self._features)
        if (newest / "dataset_info.json").exists():
            split = read_json(newest / "dataset_info.json")["splits"][0]
            self._num_bytes = [int(split["numBytes"]), *[0] * (len(split["shardLengths"]) - 1)]
        return newest

    def _continues(self, newest: Path, root: Path, robot: Any) -> bool:
        return bool(read_json(newest / "features.json") == self._features and read_json(root / "robot.json") == robot)

    def _info(self, version: Path, num_bytes: Sequence[int]) -> dict[str, Any]:
        split = {
            "name": "train", "filepathTemplate": _TEMPLATE, "shardLengths": ["1"] * len(num_bytes),
            "numBytes": str(sum(num_bytes)),
        }  # fmt: skip
        return {"name": self.name, "version": version.name, "fileFormat": "tfrecord", "splits": [split]}


def open_folder(folder: Path) -> None:
    """Makes it, and the file of records in it. Raises UserError for a file, WorldError where nothing can be written."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; expected a folder to record into")
    with atomic(folder / "records.py") as file:
        file.write(_RECORDS.encode())


def _leaves(steps: Sequence[Step], metadata: Mapping[str, str | float]) -> dict[str, np.ndarray | list[bytes]]:
    last = np.arange(len(steps)) == len(steps) - 1
    leaves: dict[str, np.ndarray | list[bytes]] = {
        "steps/observation/state": np.stack([step.state for step in steps]),
        "steps/action": np.stack([step.chunk[0] for step in steps]),
        "steps/action_chunk": np.stack([step.chunk for step in steps]),
        "steps/language_instruction": [step.instruction.encode() for step in steps],
        "steps/stamp_ns": np.array([step.stamp_ns for step in steps]),
        "steps/is_first": (np.arange(len(steps)) == 0).astype(np.int64),
        "steps/is_last": last.astype(np.int64),
        "steps/is_terminal": np.zeros(len(steps), np.int64),  # a server does not know whether the task was done
    }
    for role in steps[0].images:
        leaves[f"steps/observation/image_{role}"] = [step.images[role] for step in steps]
    for key, value in metadata.items():
        leaves[f"episode_metadata/{key}"] = [value.encode()] if isinstance(value, str) else np.array([value], np.float32)
    return leaves


def _example(leaves: Mapping[str, np.ndarray | list[bytes]]) -> bytes:
    """A tf.train.Example."""
    return field(1, b"".join(field(1, field(1, key.encode()) + field(2, _list(leaf))) for key, leaf in leaves.items()))


def _list(leaf: np.ndarray | list[bytes]) -> bytes:
    if isinstance(leaf, list):
        return field(1, b"".join(field(1, item) for item in leaf))
    if leaf.dtype.kind == "f":
        return field(2, field(1, np.ascontiguousarray(leaf, "<f4").tobytes()))
    return field(3, field(1, b"".join(varint(int(value)) for value in leaf.ravel())))


def _features(roles: Sequence[str], proprio: int, action: int, chunk: int) -> dict[str, Any]:
    observation = {f"image_{role}": _image() for role in roles} | {"state": _tensor("float32", proprio)}
    steps = {
        "observation": _dict(observation),
        "action": _tensor("float32", action),
        "action_chunk": _tensor("float32", chunk, action),
        "language_instruction": _text(),
        "stamp_ns": _tensor("int64"),
        **{flag: _tensor("bool") for flag in ("is_first", "is_last", "is_terminal")},
    }
    texts = {key: _text() for key in ("robot", "policy", "checkpoint", "episode", "started", "cut")}
    sequence = {"feature": _dict(steps), "length": "-1"}
    whole = {
        "steps": {"pythonClassName": f"{_FEATURES}dataset_feature.Dataset", "sequence": sequence},
        "episode_metadata": _dict(texts | {"control_hz": _tensor("float32")}),
    }
    return _dict(whole)


def _dict(features: Mapping[str, Any]) -> dict[str, Any]:
    return {"pythonClassName": f"{_FEATURES}features_dict.FeaturesDict", "featuresDict": {"features": dict(features)}}


def _tensor(dtype: str, *shape: int) -> dict[str, Any]:
    dimensions = {"dimensions": [str(n) for n in shape]} if shape else {}
    kind = "tensor_feature.Tensor" if shape else "scalar.Scalar"
    body = {"shape": dimensions, "dtype": dtype, "encoding": "none"}
    return {"pythonClassName": f"{_FEATURES}{kind}", "tensor": body}


def _text() -> dict[str, Any]:
    return {"pythonClassName": f"{_FEATURES}text_feature.Text", "text": {}}


def _image() -> dict[str, Any]:
    shape = {"dimensions": ["-1", "-1", "3"]}  # robots send what their cameras give
    body = {"shape": shape, "dtype": "uint8", "encodingFormat": "jpeg"}
    return {"pythonClassName": f"{_FEATURES}image_feature.Image", "image": body}


_RECORDS = '''"""What `rtx serve --record` wrote into this folder, as data sets for the next fine-tune.

    rtx data prepare served_NAME THIS_FOLDER PREPARED --records THIS_FOLDER/records.py
"""

import json
from pathlib import Path

from rtx.data.record import DatasetRecord, ImageKey
from rtx.embodiment import Embodiment, Layout
from rtx.typed_json import from_json


def standardize(trajectory):
    return {**trajectory, "proprio": trajectory["observation"]["state"]}  # recorded in the layout already


def record(path):
    said = json.loads(path.read_text())
    embodiment = from_json(Embodiment, said["embodiment"] | {"cameras": cameras(said)}, str(path))
    layout = from_json(Layout, said["layout"], str(path))
    return DatasetRecord(
        name=path.parent.name,
        embodiment=embodiment,
        images={role: ImageKey(path=f"observation/image_{role}") for role in said["roles"]},
        instructions=("language_instruction",),
        keys={"action": (layout.action.width,), "observation/state": (layout.proprio_width,)},
        standardize=standardize,
        layout=layout,
        title="recorded while serving",
        notes=("the actions are a policy's own; which of them were good is for its user to say",),
    )


def cameras(said):
    return [camera for camera in said["embodiment"]["cameras"] if camera["role"] in said["roles"]]


for found in sorted(Path(__file__).parent.glob("*/robot.json")):
    globals()[found.parent.name] = record(found)
'''
