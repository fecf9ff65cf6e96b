"""Configurations: validated whole, changed by typed leaves, written to JSON and read back, loaded from the user's file."""

import dataclasses
import json

import pytest

from rtx.errors import UserError
from rtx.train import fields
from rtx.train.config import (
    FREE,
    DataConfig,
    DataSet,
    OptimizationConfig,
    RunConfig,
    TrainConfig,
    changed_leaves,
    config_from_json,
    config_to_json,
    fingerprint,
)
from rtx.train.overrides import load_config, override
from tests.train.small_run import MODEL, small_config

CONFIG = small_config((DataSet(prepared="a"), DataSet(record="bridge_dataset", source="/data", weight=0.5)))


def test_all_problems_at_once():
    with pytest.raises(UserError) as caught:
        TrainConfig(
            data=DataConfig(sets=(DataSet(weight=-1.0),), roles=("head",), batch_size=0, image_size=(4, 64)),
            model=MODEL,
            train=OptimizationConfig(lr=-1.0, warmup_steps=2000, clip_norm=0.0, ema=1.0, betas=(0.9, 1.0)),
            run=RunConfig(keep=1, log_every=0),
        )
    for part in (
        "sets.0.weight", "sets.0 needs", "roles: head", "batch_size 0", "image_size", "train.lr", "warmup_steps", "clip_norm",
        "train.ema", "betas", "run.keep 1 must be at least 2", "run.log_every",
    ):  # fmt: skip
        assert part in str(caught.value)


def test_model_shape_follows_the_data():
    assert MODEL.history == 1
    assert (CONFIG.model.roles, CONFIG.model.history, CONFIG.model.chunk) == (("primary",), 2, 2)
    with pytest.raises(UserError, match=r"follows from the data; set data\.history"):
        override(CONFIG, ["model.history=3"])


def test_json_round_trip():
    text = json.dumps(config_to_json(CONFIG))
    assert config_from_json(json.loads(text)) == CONFIG


def test_json_with_a_foreign_key_or_value():
    data = config_to_json(CONFIG)
    with pytest.raises(UserError, match=r"unknown key in train 'warmup_step'; did you mean 'warmup_steps'"):
        config_from_json({**data, "train": {**data["train"], "warmup_step": 1}})
    with pytest.raises(UserError, match=r"train\.num_steps: got 'many', expected a whole number"):
        config_from_json({**data, "train": {**data["train"], "num_steps": "many"}})
    with pytest.raises(UserError, match="lacks data, train, run"):
        config_from_json({"model": data["model"]})


SETTINGS = {
    "train.lr=1e-4": ("train.lr", 1e-4),
    "train.num_steps=50": ("train.num_steps", 50),
    "train.clip_norm=none": ("train.clip_norm", None),
    "train.clip_norm=2": ("train.clip_norm", 2.0),
    "train.betas=0.8,0.95": ("train.betas", (0.8, 0.95)),
    "train.augment.shift_px=0": ("train.augment.shift_px", 0),
    "data.image_size=32,48": ("data.image_size", (32, 48)),
    "data.roles=primary,wrist": ("data.roles", ("primary", "wrist")),
    "data.sets.1.source=/other place": ("data.sets.1.source", "/other place"),
    "data.sets.0.weight=3": ("data.sets.0.weight", 3.0),
    "model.share_cameras=true": ("model.share_cameras", True),
    "model.decode=argmax": ("model.decode", "argmax"),
    "model.num_bins=64": ("model.num_bins", 64),
    "run.eval_every=0": ("run.eval_every", 0),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_override_changes_this_leaf_alone(setting):
    path, value = SETTINGS[setting]
    before, after = fields.leaves(CONFIG), fields.leaves(override(CONFIG, [setting]))
    assert after[path] == value
    assert type(after[path]) is type(value)
    followers = {path.replace("data.", "model.", 1)} if path.startswith("data.") else set()
    assert {p for p in after if after[p] != before[p]} - followers == {path}


WRONG = {
    "train.lr=fast": "expected a number",
    "train.num_steps=1.5": "expected a whole number",
    "train.lrr=1": "did you mean 'train.lr'",
    "trian.lr=1": "did you mean 'train.lr'",
    "lr=1": "unknown key 'lr'",
    "train=1": "unknown key 'train'",
    "train.lr": "expected path=value",
    "train.augment=none": "is a group",
    "train.lr.x=1": "train.lr is a value",
    "data.sets.2.weight=1": "unknown key 'data.sets.2.weight'; did you mean 'data.sets.1.weight' or 'data.sets.0.weight'",
    "data.sets.0=x": "is a group",
    "data.image_size=32": "expected 2 values separated by commas",
    "train.betas=0.9,x": "expected 2 values separated by commas, each a number",
    "model.share_cameras=yes": "expected true or false",
    "model.decode=sample": "expected one of argmax, expectation",
    "train.ema=maybe": "expected a number or none",
}


@pytest.mark.parametrize("setting", WRONG)
def test_wrong_overrides_say_what_is_expected(setting):
    with pytest.raises(UserError) as caught:
        override(CONFIG, [setting])
    assert WRONG[setting] in str(caught.value)


def test_two_settings_may_be_valid_only_together():
    with pytest.raises(UserError, match="multiple of text_heads"):
        override(CONFIG, ["model.text_heads=3"])
    assert override(CONFIG, ["model.text_heads=3", "model.text_width=9"]).model.text_width == 9
    with pytest.raises(UserError, match="warmup_steps"):
        override(CONFIG, ["train.num_steps=2"])
    assert override(CONFIG, ["train.num_steps=2", "train.warmup_steps=0"]).train.num_steps == 2


def test_free_leaves_change_neither_fingerprint_nor_the_right_to_resume():
    free = override(CONFIG, ["run.keep=5", "data.sets.0.prepared=elsewhere", "data.cache_bytes=1000", "data.num_threads=3"])
    assert fingerprint(free) == fingerprint(CONFIG)
    assert changed_leaves(config_to_json(CONFIG), config_to_json(free)) == []
    other = override(CONFIG, ["train.lr=1e-4", "data.sets.1.weight=2"])
    assert fingerprint(other) != fingerprint(CONFIG)
    changes = changed_leaves(config_to_json(CONFIG), config_to_json(other))
    assert changes == ["data.sets.1.weight: 0.5 -> 2.0", "train.lr: 0.01 -> 0.0001"]
    known = {".".join("*" if part.isdecimal() else part for part in path.split(".")) for path in fields.leaves(CONFIG)}
    assert set(FREE) <= known


def test_a_new_data_set_is_a_change():
    more = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, sets=(*CONFIG.data.sets, DataSet(prepared="c"))))
    assert "data.sets.2.weight: (absent) -> 1.0" in changed_leaves(config_to_json(CONFIG), config_to_json(more))


FILE = """
from __future__ import annotations
from dataclasses import dataclass
from rtx.train.config import DataConfig, DataSet, TrainConfig
from rtx.models.rt1.config import tiny

@dataclass
class Mine:
    steps: int = 3

def one() -> TrainConfig:
    return TrainConfig(data=DataConfig(sets=(DataSet(prepared="x"),)), model=tiny())

def helper(a) -> TrainConfig: ...
def _private() -> TrainConfig: ...
"""


def test_a_file_of_the_user(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    assert load_config(str(file), ["train.lr=2e-3"]).train.lr == 2e-3
    assert load_config(f"{file}:one").data.sets[0].prepared == "x"
    with pytest.raises(UserError, match=r"unknown configuration in .*'oen'; did you mean 'one'"):
        load_config(f"{file}:oen")
    file.write_text(FILE + "def two() -> TrainConfig:\n    return 7\n")
    with pytest.raises(UserError, match=r"holds 2 configurations; choose one of .*mine\.py:one, .*mine\.py:two"):
        load_config(str(file))
    with pytest.raises(UserError, match="returned int"):
        load_config(f"{file}:two")


def test_a_file_of_the_user_that_fails(tmp_path):
    file = tmp_path / "mine.py"
    with pytest.raises(UserError, match="no such configuration file"):
        load_config(str(file))
    file.write_text("x = 1\n")
    with pytest.raises(UserError, match="holds no configuration"):
        load_config(str(file))
    file.write_text("x = 1\nx = y\n")
    with pytest.raises(UserError, match="line 2: NameError"):
        load_config(str(file))
    file.write_text("def f(:\n")
    with pytest.raises(UserError, match="line 1: SyntaxError"):
        load_config(str(file))


def test_the_experiments_in_configs_load():
    from pathlib import Path

    configs = Path(__file__).resolve().parents[2] / "configs"
    config = load_config(f"{configs / 'tiny.py'}:bridge", ["data.sets.0.source=/somewhere"])
    assert config.data.sets == (DataSet(record="bridge_dataset", source="/somewhere"),)
