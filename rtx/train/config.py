"""What a training run is: one frozen tree of values, complete, checked before any file or device is touched.

Experiments are functions that return a `TrainConfig` (see `configs/`). Single values change on the command line
(`rtx.train.overrides`); the resolved tree is written into the run folder and into every checkpoint as JSON.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from rtx.data.filters import NO_FILTERS, Filters
from rtx.embodiment import CAMERA_ROLES, Fit
from rtx.errors import UserError
from rtx.models.families import build_model, model_from_json, model_to_json
from rtx.models.lora import LoRAConfig, rule_problems
from rtx.spec import to_json
from rtx.train import fields, trainable
from rtx.train.parallel.mesh import MeshConfig
from rtx.train.trainable import LRScale, Trainable
from rtx.typed_json import from_json


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One data set of the mixture: prepared already (`prepared`), or a catalogue `record` to prepare from `source` first."""

    prepared: str = ""  # folder written by `rtx data prepare`; with `record`, where to write it ("" = in the user's cache)
    record: str = ""  # name in the catalogue (`rtx data list`)
    source: str = ""  # TFDS folder with the TFRecord shards, or its parent
    weight: float = 1.0  # share of the samples, relative to the other sets
    choose: tuple[str, ...] = ()  # SWITCH=OPTION of the record's unsettled conventions (`rtx data info`)
    hz: float | None = None  # prepared at a lower control rate; none = as recorded

    def problems(self, where: str) -> list[str]:
        found = []
        if not (math.isfinite(self.weight) and self.weight > 0):
            found.append(f"{where}.weight {self.weight} must be above 0")
        if self.source and not self.record:
            found.append(f"{where}.source is given but {where}.record is not: name the catalogue record that describes it")
        if (self.choose or self.hz is not None) and not self.record:
            found.append(f"{where}.choose and .hz need {where}.record: a prepared folder was prepared with its own")
        if bad := [choice for choice in self.choose if "=" not in choice]:
            found.append(f"{where}.choose {', '.join(bad)} must be written SWITCH=OPTION")
        if not (self.prepared or self.record):
            found.append(f"{where} needs either prepared (a prepared folder) or record and source")
        return found


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    sets: tuple[DataSet, ...]
    roles: tuple[str, ...] = ("primary",)
    image_size: tuple[int, int] = (128, 128)  # (height, width) pixels fed to the model
    fit: Fit = "stretch"  # pictures of another shape are squeezed; "pad": their aspect is kept, with black bars
    history: int = 1  # frames
    chunk: int = 1  # actions predicted at once
    batch_size: int = 32  # samples of one step, over all hosts
    seed: int = 0  # of the order of samples
    bounds: Literal["quantiles", "rt1x"] = "quantiles"  # what -1 and 1 mean to the model: each set's q01 and q99, or RT-1-X's
    frame_actions: bool = False  # train on the action of every frame of the history, not on `chunk` ahead
    vocabulary: str = ""  # sentencepiece file of a language model (Gemma's, T5's); "" = pieces made from the mixture's texts
    template: Literal["question", "plan", "thought"] = "question"  # how a robot is asked, and what it says before it acts
    action_words: Literal["given", "integers", "rarest"] = "given"  # ids of actions: model.action_ids, or found by spelling
    sentences: str = ""  # table of sentence vectors of texts whose data set stores none (`rtx.train.instructions`)
    robot_share: float | None = None  # of the samples that are robots', whatever the weights; none = as the weights say
    balance: bool = False  # weights times the number of steps (Octo, OpenVLA) instead of per sample (RT-X)
    filters: Filters = NO_FILTERS  # steps that are not drawn
    cache_bytes: int = 0  # decoded frames kept in memory; 0 = none
    num_threads: int | None = None  # decoding threads; none = as many as there are cores

    def problems(self) -> list[str]:
        found = [line for i, one in enumerate(self.sets) for line in one.problems(f"data.sets.{i}")]
        if not self.sets:
            found.append("data.sets is empty: name at least one data set")
        if unknown := [role for role in self.roles if role not in CAMERA_ROLES]:
            found.append(f"data.roles: {', '.join(unknown)} unknown; roles are {', '.join(CAMERA_ROLES)}")
        if not self.roles or len(set(self.roles)) != len(self.roles):
            found.append(f"data.roles {self.roles} must be distinct and at least one")
        if min(self.image_size) < 8:
            found.append(f"data.image_size {self.image_size} must be at least 8 x 8 pixels")
        found += _below(self, "data", 1, "history", "chunk", "batch_size")
        if self.frame_actions and self.chunk != 1:
            found.append(f"data.chunk {self.chunk} must be 1 with data.frame_actions: one action a frame")
        if self.robot_share is not None and not 0 < self.robot_share < 1:
            found.append(f"data.robot_share {self.robot_share} must be between 0 and 1, or none")
        if self.num_threads is not None and self.num_threads < 1:
            found.append(f"data.num_threads {self.num_threads} must be at least 1, or none")
        return found + _below(self, "data", 0, "seed", "cache_bytes")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random changes of the training images, drawn anew for every sample, camera and operation. 0 = off."""

    shift_px: int = 4  # largest shift in each direction
    crop_scale: tuple[float, float] = (1.0, 1.0)  # area of a random crop, as a share of the picture's; 1,1 = no crop
    crop_ratio: tuple[float, float] = (1.0, 1.0)  # its aspect ratio, in units of the picture's
    pad_px: tuple[int, int] = (0, 0)  # black rows above and below, columns left and right; then a random crop
    uncropped: tuple[str, ...] = ()  # roles whose pictures are not cropped
    brightness: float = 0.2  # factor in 1 - x .. 1 + x
    contrast: float = 0.2  # factor in 1 - x .. 1 + x, about the image's mean
    saturation: float = 0.0  # factor in 1 - x .. 1 + x
    hue: float = 0.05  # turn of the colour circle in -x .. x; 1 = all the way round

    @classmethod
    def octo(cls) -> AugmentConfig:
        """The ranges of Octo's pretraining (its configuration files, 2024)."""
        return cls(
            shift_px=0, crop_scale=(0.8, 1.0), crop_ratio=(0.9, 1.1), uncropped=("wrist",),
            brightness=0.1, contrast=0.1, saturation=0.1, hue=0.05,
        )  # fmt: skip

    @classmethod
    def rt_x(cls) -> AugmentConfig:
        """RT-1-X's, for pictures of 256 x 320: moved by up to 20 rows and 50 columns, no colours (its training notebook)."""
        return cls(shift_px=0, pad_px=(20, 50), brightness=0.0, contrast=0.0, hue=0.0)

    def problems(self) -> list[str]:
        found = _below(self, "train.augment", 0, "shift_px", "brightness", "contrast", "saturation", "hue")
        if not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            found.append(f"train.augment.crop_scale {self.crop_scale} must be two rising numbers above 0 and up to 1")
        if min(self.pad_px) < 0:
            found.append(f"train.augment.pad_px {self.pad_px} must be at least 0")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1] < math.inf:
            found.append(f"train.augment.crop_ratio {self.crop_ratio} must be two rising numbers above 0")
        return found + _above(self, "train.augment", 1, "brightness", "contrast", "saturation", "hue")


Schedule = Literal["cosine", "constant", "rsqrt"]


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    num_steps: int = 1000
    lr: float = 3e-4  # peak of AdamW's learning rate
    schedule: Schedule = "cosine"  # of the rate after the warm-up: "constant", or "rsqrt", falling as 1 / sqrt(step)
    warmup_steps: int = 50  # linear from 0
    final_lr: float = 0.0  # share of `lr` at the end of the cosine
    weight_decay: float = 1e-4  # on matrices and kernels only, not on biases and scales
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8  # of AdamW
    clip_norm: float | None = 1.0  # of the gradient; none = no clipping
    ema: float | None = None  # decay of averaged parameters; none = not kept. They are evaluated and served when kept
    start: str = ""  # checkpoint whose parameters and tokenizer the run begins with; "" = fresh ones
    start_without: tuple[str, ...] = ()  # rules of parameters that are made anew though `start` has them: another head or robot
    keep_robots: bool = False  # those of `start` keep their places and statistics in the contract; new ones come after them
    freeze: tuple[str, ...] = ()  # rules (regular expressions searched in paths) of parameters that stay as they are
    lora: LoRAConfig = field(default_factory=LoRAConfig)  # small factors trained in the place of the kernels its rules name
    lr_scale: LRScale = ()  # (rule, factor of `lr`), the first that matches; see `rtx.train.trainable`
    groups: int = 1  # parts of a batch, by length of text, that are computed one after the other, each with its own width
    accumulate: int = 1  # micro-batches of a batch, computed one after the other in the memory of one; one update
    max_nonfinite: int = 20  # updates skipped in a row before the run stops
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def problems(self) -> list[str]:
        found = _below(self, "train", 1, "num_steps", "groups", "accumulate", "max_nonfinite")
        found += _below(self, "train", 0, "warmup_steps", "final_lr", "weight_decay") + _above(self, "train", 1, "final_lr")
        if not 0 < self.lr < 10:
            found.append(f"train.lr {self.lr} must be above 0 and below 10")
        if self.schedule not in get_args(Schedule):
            found.append(f"train.schedule {self.schedule!r} must be one of {', '.join(get_args(Schedule))}")
        if self.schedule != "cosine" and self.final_lr:
            found.append(f"train.final_lr {self.final_lr} is of the cosine; with train.schedule={self.schedule} it must be 0")
        if self.schedule == "rsqrt" and self.warmup_steps < 1:
            found.append("train.warmup_steps must be at least 1 with train.schedule=rsqrt: the rate is lr sqrt(warm-up / step)")
        if self.warmup_steps >= self.num_steps:
            found.append(f"train.warmup_steps {self.warmup_steps} must be below train.num_steps {self.num_steps}")
        if not all(0 <= beta < 1 for beta in self.betas):
            found.append(f"train.betas {self.betas} must be in [0, 1)")
        if not self.eps > 0:
            found.append(f"train.eps {self.eps} must be above 0")
        if self.clip_norm is not None and not self.clip_norm > 0:
            found.append(f"train.clip_norm {self.clip_norm} must be above 0, or none")
        if self.ema is not None and not 0 < self.ema < 1:
            found.append(f"train.ema {self.ema} must be between 0 and 1, or none")
        found += rule_problems("train.start_without", self.start_without)
        if self.start_without and not self.start:
            found.append("train.start_without says what not to take from train.start, which is not set")
        if self.keep_robots and not self.start:
            found.append("train.keep_robots keeps the robots of train.start, which is not set")
        found += trainable.problems(self.freeze, self.lora, self.lr_scale)
        return found + self.augment.problems()

    @property
    def num_parts(self) -> int:
        """Into so many a batch is cut before the model sees it."""
        return self.groups * self.accumulate

    @property
    def parts(self) -> Trainable:
        """What is trained."""
        return Trainable(freeze=self.freeze, lora=self.lora, lr_scale=self.lr_scale)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    seed: int = 0  # of the first parameters, dropout and augmentation
    log_every: int = 10  # steps
    eval_every: int = 500  # steps; 0 = only at the end
    eval_samples: int = 256  # held-out samples of each data set, evenly spaced; 0 = no validation
    save_every: int = 500  # steps; the last step is always saved
    keep: int = 2  # checkpoints kept
    patience: int = 0  # validations without a better one after which the run stops, keeping the best; 0 = goes on to the end
    watch: str = ""  # data set whose held-out episodes say which is better; "" = all of them
    tensorboard: bool = False  # curves for TensorBoard too, in the run folder
    wandb: str = ""  # project of Weights & Biases to report to; offline without a login; "" = none
    mesh: MeshConfig = field(default_factory=MeshConfig)  # how the devices share the work

    def problems(self) -> list[str]:
        found = _below(self, "run", 1, "log_every", "save_every") + _below(self, "run", 0, "seed", "eval_every", "eval_samples")
        found += _below(self, "run", 0, "patience")
        if self.patience and not (self.eval_samples and self.eval_every and self.eval_every % self.save_every == 0):
            found.append(
                f"run.patience needs validation, and a checkpoint of each: run.eval_every {self.eval_every} must be a multiple "
                f"of run.save_every {self.save_every}, and run.eval_samples above 0"
            )
        return found + _below(self, "run", 2, "keep") + self.mesh.problems("run.mesh")


FROM_DATA = ("roles", "history", "chunk", "image_size")
"""Names of model fields that repeat a field of `DataConfig`: one source, so that they cannot disagree."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """`model` is the config of one of the model families. Its `FROM_DATA` fields are taken from `data`, whatever they held."""

    data: DataConfig
    model: Any
    train: OptimizationConfig = field(default_factory=OptimizationConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        problems = self.data.problems() + self.train.problems() + self.run.problems()
        if self.train.num_parts >= 1 and self.data.batch_size % self.train.num_parts:
            problems.append(
                f"data.batch_size {self.data.batch_size} must be a multiple of train.groups {self.train.groups} x "
                f"train.accumulate {self.train.accumulate}"
            )
        try:
            shared = {name: getattr(self.data, name) for name in FROM_DATA if hasattr(self.model, name)}
            object.__setattr__(self, "model", dataclasses.replace(self.model, **shared))
            build_model(self.model)
        except UserError as error:
            problems.append(f"model: {error}")
        if problems:
            raise UserError("the configuration cannot be used:\n" + "\n".join(f"  {line}" for line in problems))


def config_to_json(config: TrainConfig) -> dict[str, Any]:
    """The resolved configuration; the model as `{"family", "config"}`."""
    return {
        "data": to_json(config.data),
        "model": model_to_json(build_model(config.model)),
        "train": to_json(config.train),
        "run": to_json(config.run),
    }


def config_from_json(data: Mapping[str, Any]) -> TrainConfig:
    """Inverse of `config_to_json`. Raises UserError for a key or value that does not fit."""
    missing = [name for name in ("data", "model", "train", "run") if name not in data]
    if missing:
        raise UserError(f"this is not a training configuration: it lacks {', '.join(missing)}")
    return TrainConfig(
        data=from_json(DataConfig, data["data"], "data"),
        model=model_from_json(data["model"]).config,
        train=from_json(OptimizationConfig, data["train"], "train"),
        run=from_json(RunConfig, data["run"], "run"),
    )


def fingerprint(config: TrainConfig) -> str:
    """Sixteen hexadecimal digits that change with any value that changes the result (see `FREE`)."""
    kept = {path: value for path, value in fields.leaves(config_to_json(config)).items() if not _is_free(path)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


FREE = (
    "run.log_every", "run.eval_every", "run.eval_samples", "run.save_every", "run.keep", "run.tensorboard",
    "run.wandb", "run.patience", "run.watch",
    "run.mesh.data", "run.mesh.fsdp", "run.mesh.tensor", "data.cache_bytes", "data.num_threads",
    "data.sets.*.prepared", "data.sets.*.source", "data.sentences", "data.vocabulary",
)  # fmt: skip
"""Leaves that may change when a run is resumed: the parameters that come out do not depend on them (where data lie is
free because what they hold is checked by the loader's fingerprint and the tokenizer's)."""


def _is_free(path: str) -> bool:
    wild = ".".join("*" if part.isdecimal() else part for part in path.split("."))
    return wild in FREE


def changed_leaves(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`path: old -> new` of the leaves of two configurations (as JSON) that differ and are not free."""
    before, after = fields.leaves(old), fields.leaves(new)
    return [
        f"{path}: {_shown(before, path)} -> {_shown(after, path)}"
        for path in dict.fromkeys([*before, *after])
        if not _is_free(path) and _shown(before, path) != _shown(after, path)
    ]


def _shown(values: Mapping[str, Any], path: str) -> str:
    return repr(values[path]) if path in values else "(absent)"


def _below(value: Any, where: str, low: int, *names: str) -> list[str]:
    return [
        f"{where}.{name} {getattr(value, name)} must be at least {low}" for name in names if not getattr(value, name) >= low
    ]


def _above(value: Any, where: str, high: int, *names: str) -> list[str]:
    return [f"{where}.{name} {getattr(value, name)} must be at most {high}" for name in names if getattr(value, name) > high]
