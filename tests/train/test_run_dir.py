"""A run folder belongs to one configuration and one process."""

import json

import pytest

from rtx.errors import UserError
from rtx.train.config import DataSet
from rtx.train.overrides import override
from rtx.train.run_dir import claim
from tests.train.small_run import small_config

CONFIG = small_config((DataSet(prepared="a"),))


def test_a_changed_leaf_is_named(tmp_path):
    with claim(tmp_path / "run", CONFIG):
        pass
    with (
        pytest.raises(UserError, match=r"another configuration.*\n  train\.lr: 0\.01 -> 0\.1\nSet these back"),
        claim(tmp_path / "run", override(CONFIG, ["train.lr=0.1"])),
    ):
        pass
    with claim(tmp_path / "run", override(CONFIG, ["run.save_every=7"])):
        assert json.loads((tmp_path / "run" / "config.json").read_text())["run"]["save_every"] == 7


def test_one_process_at_a_time(tmp_path):
    with claim(tmp_path, CONFIG):
        with pytest.raises(UserError, match="another process is training"), claim(tmp_path, CONFIG):
            pass
        assert (tmp_path / "config.json").exists()
    with claim(tmp_path, CONFIG):
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"not a run folder .*holds thesis\.tex"), claim(tmp_path, CONFIG):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UserError, match="is a file"), claim(tmp_path / "thesis.tex", CONFIG):
        pass
