"""The whole of `rtx finetune` at smallest size: a base learns a robot, keeps the old ones to the bit, goes on after a stop."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from rtx.data.prepared import PreparedSet
from rtx.errors import UserError
from rtx.files import read_json
from rtx.finetune import finetune
from rtx.finetune.text import closing
from rtx.serve.policy import load_policy
from rtx.train import checkpoint, loop
from rtx.train.config import config_from_json
from tests.checked_html import reaches
from tests.finetune.made import mine
from tests.train.small_run import small_config, write_sets


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(base run, prepared demonstrations, fine-tuned run with a share of the old data)."""
    folder = tmp_path_factory.mktemp("finetune")
    loop.train(small_config(write_sets(folder / "data"), num_steps=3), folder / "base")
    data = mine(folder)
    out = finetune(folder / "base", data.embodiment, data.path, folder / "run", keep=0.4, steps=4)
    return folder / "base", data, out


def test_the_old_robots_are_the_same_to_the_bit(made):
    base, _, out = made
    old, new = load_policy(base).contract, load_policy(out).contract
    assert list(new.embodiments) == ["first", "second", "my_robot"]
    for name in old.embodiments:
        assert new.statistics[name] == old.statistics[name]
        assert new.embodiments[name] == old.embodiments[name]
        for kind in ("action_normalizer", "proprio_normalizer"):
            mine, theirs = getattr(new, kind)(name), getattr(old, kind)(name)
            for part in ("offset", "scale", "constant"):
                np.testing.assert_array_equal(getattr(mine, part), getattr(theirs, part))


def test_it_acts_as_every_robot(made):
    *_, out = made
    policy = load_policy(out)
    for robot in ("first", "second", "my_robot"):
        seen = dataclasses.replace(policy._inputs.blank(robot), instruction=f"do {robot}")
        assert np.isfinite(policy.act(seen, robot=robot).actions).all()


def test_the_new_robots_statistics_are_its_own(made):
    _, data, out = made
    assert checkpoint.open_checkpoint(out).contract.statistics["my_robot"] == data.statistics


def test_new_words_are_added_behind_those_the_base_knows(made):
    base, _, out = made
    old, new = (checkpoint.read_tokenizer(run)["vocabulary"] for run in (base, out))
    assert new[: len(old)] == old
    assert "robot" in new or "my" in new


def test_errors_are_in_the_robots_units_beside_a_yardstick(made):
    *_, out = made
    errors = read_json(out / "errors.json")
    assert errors["names"][:3] == ["delta_pos.0", "delta_pos.1", "delta_pos.2"]
    assert errors["units"][0] == "m"
    assert errors["num_samples"] == 14
    recorded = np.asarray(PreparedSet.open(made[1].path).split("val").action)
    mean = recorded.mean(0)  # training and held-out episodes are the same here
    np.testing.assert_allclose(errors["always_mean"], np.abs(recorded - mean).mean(0), rtol=1e-4)
    page = (out / "report.html").read_text()
    assert not reaches(page)
    for words in (
        "Open-loop error of each dimension",
        "delta_rot.2 (rad)",
        "Robots of the checkpoint",
        "full: 3 demonstrations",
    ):
        assert words in page
    assert "rtx serve" in closing(out, "my_robot.py")


def test_the_same_command_has_nothing_left_to_do_and_another_is_refused(made):
    base, data, out = made
    before = (out / "train" / "metrics.jsonl").read_bytes()
    assert finetune(base, data.embodiment, data.path, out, keep=0.4, steps=4) == out
    assert (out / "train" / "metrics.jsonl").read_bytes() == before
    with pytest.raises(UserError, match=r"asked for otherwise \(steps: 4 -> 5\)"):
        finetune(base, data.embodiment, data.path, out, keep=0.4, steps=5)


def test_a_kill_after_the_training_costs_nothing_but_what_was_not_written(made, tmp_path):
    base, data, out = made
    shutil.copytree(out, tmp_path / "run")
    for lost in ("checkpoints", "errors.json", "report.html"):
        path = tmp_path / "run" / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    finetune(base, data.embodiment, data.path, tmp_path / "run", keep=0.4, steps=4)
    assert read_json(tmp_path / "run" / "errors.json") == read_json(out / "errors.json")


def test_what_is_kept_is_the_best_and_no_optimizer(made):
    *_, out = made
    lines = [json.loads(line) for line in (out / "train" / "metrics.jsonl").read_text().splitlines()]
    errors = {line["step"]: line["sets"]["my_robot"]["l1"] for line in lines if line["kind"] == "val"}
    assert set(lines[-1]["sets"]) <= {"first", "second", "my_robot"}
    assert checkpoint.steps(out / "checkpoints") == [min(errors, key=lambda step: (errors[step], step))]
    assert config_from_json(checkpoint.open_checkpoint(out).config).train.keep_robots


def test_a_folder_of_something_else_is_left_alone(made, tmp_path):
    base, data, _ = made
    (tmp_path / "thesis.tex").write_text("!")
    with pytest.raises(UserError, match="holds no fine-tuning"):
        finetune(base, data.embodiment, data.path, tmp_path)
