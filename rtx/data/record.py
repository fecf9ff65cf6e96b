"""What rtx must know about a data set to read it: which keys hold what, and the function that makes it canonical.

A record is plain data plus one function; a user's own data set is one Python file that builds a `DatasetRecord` and is
named on the command line (`load_records`). Records are checked against the data set's own feature description before
a single episode is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rtx.data.features import STEPS, FeatureSpec
from rtx.data.fingerprint import USER_MODULE, source_of
from rtx.data.pixels import pixel_format
from rtx.embodiment import CAMERA_ROLES, CANONICAL, Embodiment, Layout
from rtx.errors import UserError, unknown_name
from rtx.images import ChannelOrder
from rtx.python_file import run_file
from rtx.spec import to_json

NO_ACTION = CANONICAL.without(*(field.name for field in CANONICAL.action.fields), "proprio")
"""The layout of a data set that knows neither action nor proprio: pictures and texts."""

_TEXT_NUMBERS = ("int32", "int64", "uint8")  # integers that spell a text, as in language_table

Trajectory = dict[str, Any]
"""One episode, dlimp's way: nested dictionaries of arrays stacked over steps, and `_len`, `_traj_index`, `_frame_index`
[T] each; strings are object arrays of bytes. Images are absent: what happens to steps is read off `_frame_index`."""


@dataclass(frozen=True, kw_only=True)
class ImageKey:
    """Where a camera's encoded images are, under `steps/`, and how the file orders their channels."""

    path: str
    channel_order: ChannelOrder = "rgb"


@dataclass(frozen=True, kw_only=True)
class DepthKey:
    """Where a camera's depth maps are, under `steps/`, and what one unit of the stored number is in metres."""

    path: str
    metres_per_unit: float = 1.0

    def __post_init__(self) -> None:
        if not self.metres_per_unit > 0:
            raise UserError(f"depth {self.path!r}: metres_per_unit {self.metres_per_unit} must be positive")


@dataclass(frozen=True, kw_only=True)
class Switch:
    """A question about a data set that its sources answer differently, and the answers one can choose from.

    `standardize` gets the chosen option as a keyword argument of this name.
    """

    name: str
    question: str
    options: Mapping[str, str]  # option -> what it means and who says so
    default: str
    evidence: str = ""  # why the default is the default

    def __post_init__(self) -> None:
        if self.default not in self.options:
            raise UserError(f"switch {self.name!r}: the default {self.default!r} is none of its options {list(self.options)}")


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """One data set. All paths are relative to `steps/`; what is not there may be a path outside the steps, repeated over them.

    `entries`: what one entry of the files is, an episode or (captions, VQA in TFDS form) a single example without `steps/`:
    then paths are relative to the entry itself, and each entry becomes an episode of one step.
    `keys`: the arrays `standardize` reads and their shape per step; only these (and the instructions) are decoded.
    `standardize`: dlimp's convention. Takes a `Trajectory` with those keys and one keyword argument per switch, returns one
    with "action" [T', a] and "proprio" [T', p] in the record's `layout`; steps it drops it cuts from every stacked array alike.
    None for a set without action (its `layout` is then `NO_ACTION`): every step is kept.
    `instructions`: keys of the instruction; of several, one that is not empty is drawn for each sample. A string (UTF-8), or
    integers that spell one (code points or UTF-8, padded with 0), or a list of strings (see `targets`).
    `sentence_vector`: key of the first instruction's sentence vector, of sets that store one (`rtx.data.sentences`); copies
    that lack it are prepared without.
    `targets`: keys of the text to answer, of sets with questions; of a robot's set, what it is to think before it acts. Of a
    list of answers the most frequent is taken, of equally frequent ones the first.
    `depth`: camera role -> depth map, along its viewing direction; they are loaded on request only.
    `metadata`: keys outside the steps, full path, repeated over steps under "traj_metadata".
    `keep`: False filters an episode out (counted), before it is standardized.
    """

    name: str
    embodiment: Embodiment
    images: Mapping[str, ImageKey]  # role -> key
    instructions: tuple[str, ...]
    keys: Mapping[str, tuple[int | None, ...]]
    standardize: Callable[..., Trajectory] | None
    layout: Layout = CANONICAL
    entries: Literal["episodes", "examples"] = "episodes"
    sentence_vector: str = ""
    targets: tuple[str, ...] = ()
    depth: Mapping[str, DepthKey] = field(default_factory=dict)
    metadata: tuple[str, ...] = ()
    keep: Callable[[Trajectory], bool] | None = None
    switches: tuple[Switch, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)  # switch -> option; set by `choose`
    stride: int = 1  # of so many steps, standardized, one is kept (`rtx.data.resample`); set by `at_hz`
    train_split: str = "train"
    val_split: str = "val"  # if the source lacks it, 5 % of the training episodes are held out
    title: str = ""
    license: str = ""
    notes: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()  # what copies of the set call themselves in dataset_info.json
    file: str = field(default="", compare=False)  # the user's file it came from; set by `load_records`

    def __post_init__(self) -> None:
        problems = [
            f"camera role {r!r} is unknown (roles: {', '.join(CAMERA_ROLES)})"
            for r in dict.fromkeys([*self.images, *self.depth])
            if r not in CAMERA_ROLES
        ]
        if not self.name.replace("_", "").replace("-", "").isalnum():
            problems.append("the name must be made of letters, digits, _ and -")
        if set(self.images) != set(self.embodiment.roles):
            problems.append(
                f"it has images of {sorted(self.images)}, its embodiment has cameras {sorted(self.embodiment.roles)}; "
                "list the same in both: serving asks the robot for every camera of its embodiment"
            )
        if self.standardize is None and (any(self.layout.action_mask) or any(self.layout.proprio_mask)):
            problems.append("without a standardize function nothing is known of actions; pass layout=NO_ACTION")
        problems += [str(problem) for problem in _choice_problems(self)]
        if problems:
            raise UserError(f"record {self.name!r}: " + "; ".join(problems))

    def choose(self, choices: Mapping[str, str]) -> DatasetRecord:
        """The record with these switches set. Raises UserError for a switch or an option that it does not have."""
        return dataclasses.replace(self, choices={**self.choices, **choices})

    def at_hz(self, hz: float) -> DatasetRecord:
        """The record with every n-th step only, n such that its rate comes nearest `hz`; never faster than recorded."""
        if not hz > 0:
            raise UserError(f"record {self.name!r}: a rate of {hz} Hz; expected a positive number")
        stride = max(1, round(self.embodiment.control_hz / hz))
        slow = dataclasses.replace(self.embodiment, control_hz=self.embodiment.control_hz / stride)
        return dataclasses.replace(self, stride=self.stride * stride, embodiment=slow)

    def options(self) -> dict[str, str]:
        """Every switch at its chosen or default option: the keyword arguments of `standardize`."""
        return {switch.name: self.choices.get(switch.name, switch.default) for switch in self.switches}

    def unsettled(self) -> tuple[Switch, ...]:
        """Switches that nobody has set: what is assumed."""
        return tuple(switch for switch in self.switches if switch.name not in self.choices)

    def full_path(self, path: str) -> str:
        """The key in the Example of what lies in a step at `path`."""
        return f"{STEPS}/{path}" if self.entries == "episodes" else path

    def find(self, features: Mapping[str, FeatureSpec], path: str) -> FeatureSpec | None:
        """The leaf `path` means: in the steps, else outside them."""
        return features.get(self.full_path(path)) or features.get(path)

    def vector_spec(self, features: Mapping[str, FeatureSpec]) -> FeatureSpec | None:
        """Of the sentence vector; None where the record names none or this copy of the set has none."""
        return features.get(self.full_path(self.sentence_vector)) if self.sentence_vector else None

    def validate(self, features: Mapping[str, FeatureSpec], *, where: str) -> None:
        """Raises one UserError with everything in which the record and the data set's features disagree."""
        has_steps = any(spec.in_steps for spec in features.values())
        if has_steps != (self.entries == "episodes"):
            raise UserError(
                f"data set at {where}: the record {self.name!r} is for {self.entries}, but it has "
                f"{'steps' if has_steps else 'no steps/, so it is not an RLDS data set'}; it has {', '.join(features)}"
            )
        checks = [_pixel_problem(self, features, f"camera {role!r}", key.path) for role, key in self.images.items()]
        checks += [_pixel_problem(self, features, f"depth {role!r}", key.path) for role, key in self.depth.items()]
        checks += [_key_problem(self, features, path, shape) for path, shape in self.keys.items()]
        checks += [_text_problem(self, features, path, "instruction") for path in self.instructions]
        checks += [_text_problem(self, features, path, "target") for path in self.targets]
        checks += [_vector_problem(self, features)]
        checks += [
            f"no key {path!r} outside the steps" for path in self.metadata if path not in features or features[path].in_steps
        ]
        problems = [text for text in checks if text]
        if problems:
            keys = "\n  ".join(sorted(str(spec) for spec in features.values()))
            raise UserError(
                f"data set at {where} does not fit the record {self.name!r}:\n  - " + "\n  - ".join(problems)
                + f"\nIt has these keys:\n  {keys}\n"
                "Use the data set the record was written for, or write a record of your own with these keys."
            )  # fmt: skip

    def check_name(self, name: str, *, where: str) -> None:
        """Raises UserError for data of another name: equal keys do not mean equal units (sim_vx300s has Bridge's)."""
        if name not in (self.name, *self.other_names):
            raise UserError(
                f"the data set at {where} calls itself {name!r}, this record is for {self.name!r}; pass the record for that "
                "set, or one of your own with other_names=(...,) if it is a copy under another name"
            )

    def fingerprint(self) -> str:
        """Changes whenever what prepare would write changes: fields, and the source of every function of ours it runs."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("standardize", "keep", "file", "notes", "title", "license", "other_names", "switches", "choices"):
            del plain[name]
        plain["options"] = self.options()
        text = json.dumps(to_json(plain), sort_keys=True)
        text += "".join(source_of(function) for function in (self.standardize, self.keep) if function)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def depth_column(role: str) -> str:
    """What the columns of a camera's depth are called, among those of the cameras."""
    return f"depth_{role}"


def pixel_columns(images: Mapping[str, Any], depth: Mapping[str, Any]) -> dict[str, Any]:
    """Colour and depth of a set, or of an episode, by the names of their columns."""
    return {**images, **{depth_column(role): value for role, value in depth.items()}}


def load_records(path: Path) -> dict[str, DatasetRecord]:
    """Runs a user's Python file, which the user named, and returns the records it defines, by name. Raises UserError.

    Worker processes run the file again by its path, so it needs no package around it.
    """
    path = Path(path).expanduser().absolute()
    if not path.is_file():
        raise UserError(f"no Python file at {path}; a file of records is a .py that builds rtx.data.DatasetRecord objects")
    module = run_file(path, USER_MODULE)
    found = [dataclasses.replace(v, file=str(path)) for v in vars(module).values() if isinstance(v, DatasetRecord)]
    if not found:
        raise UserError(f"{path} defines no DatasetRecord at its top level; e.g. RECORD = DatasetRecord(name=..., ...)")
    return {record.name: record for record in found}


@dataclass(frozen=True)
class RecordRef:
    """A record as it travels to another process: a user's file is run again there, other records are importable."""

    name: str
    file: str
    record: DatasetRecord | None

    @classmethod
    def of(cls, record: DatasetRecord) -> RecordRef:
        return cls(record.name, record.file, None if record.file else record)

    def load(self) -> DatasetRecord:
        if self.record is not None:
            return self.record
        return load_records(Path(self.file))[self.name]


def _choice_problems(record: DatasetRecord) -> list[UserError]:
    switches = {switch.name: switch for switch in record.switches}
    unknown = [unknown_name("switch", name, switches) for name in record.choices if name not in switches]
    wrong = [
        unknown_name(f"option of switch {name!r}", option, switches[name].options)
        for name, option in record.choices.items()
        if name in switches and option not in switches[name].options
    ]
    return unknown + wrong


def _pixel_problem(record: DatasetRecord, features: Mapping[str, FeatureSpec], what: str, path: str) -> str:
    spec = features.get(record.full_path(path))
    if spec is None:
        there = [_relative(s) for s in features.values() if pixel_format(s) is not None]
        return f"{what}: {unknown_name('image key', path, there)}"
    found = pixel_format(spec)
    if found is None:
        return f"{what}: {path} is no image but {spec}"
    if what.startswith("depth"):
        return "" if found.is_depth else f"{what}: {path} has several numbers a pixel, it is {spec}"
    return "" if found.is_colour else f"{what}: {path} is no colour picture but {spec}; a depth map belongs into `depth`"


def _key_problem(record: DatasetRecord, features: Mapping[str, FeatureSpec], path: str, shape: tuple[int | None, ...]) -> str:
    spec = features.get(record.full_path(path))
    if spec is None:
        there = [_relative(s) for s in features.values() if s.kind != "image" and s.in_steps == (record.entries == "episodes")]
        return str(unknown_name("key", path, there))
    if spec.kind in ("image", "other") or spec.shape != shape:
        return f"key {path}: expected shape {list(shape)}, the data set has {spec}"
    return ""


def _vector_problem(record: DatasetRecord, features: Mapping[str, FeatureSpec]) -> str:
    spec = record.vector_spec(features)
    if spec is None:
        return ""
    if not spec.dtype.startswith("float") or len(spec.shape) != 1 or spec.shape[0] is None or not record.instructions:
        return f"sentence vector {record.sentence_vector}: expected numbers [d] beside an instruction, the data set has {spec}"
    return ""


def _text_problem(record: DatasetRecord, features: Mapping[str, FeatureSpec], path: str, role: str) -> str:
    spec = record.find(features, path)
    if spec is None:
        there = [_relative(s) for s in features.values() if s.dtype == "string"]
        return f"{role}: {unknown_name('key', path, there)}"
    spells = spec.dtype in _TEXT_NUMBERS and len(spec.shape) == 1
    return "" if spec.dtype == "string" or spells else f"{role}: {path} is not a string but {spec}"


def _relative(spec: FeatureSpec) -> str:
    return spec.path.removeprefix(f"{STEPS}/")
