"""The whole loop at smallest size: trains, validates each set, saves, goes on, and refuses what does not fit."""

import dataclasses
import gzip
import json
import logging
import os
import shutil
import signal

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from rtx.errors import UserError, WorldError
from rtx.models.families import model_from_json
from rtx.train import checkpoint, loop
from rtx.train.config import config_from_json, fingerprint
from rtx.train.metrics import read_metrics
from rtx.train.overrides import override
from rtx.train.preemption import EXIT_PREEMPTED, Preempted
from rtx.train.prefetch import Prefetch
from rtx.train.report import write_report
from rtx.train.starts import read_starts
from tests.checked_html import reaches
from tests.train.small_run import poisoned, small_config, write_sets


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(configuration, run folder) of an uninterrupted run of 8 steps."""
    folder = tmp_path_factory.mktemp("loop")
    config = small_config(write_sets(folder / "data"))
    loop.train(config, folder / "run", profile=2)
    return config, folder / "run"


def test_a_run_leaves_a_policy_that_opens(finished):
    config, run = finished
    opened = checkpoint.open_checkpoint(run)
    assert opened.step == 8
    assert list(opened.contract.embodiments) == ["first", "second"]
    assert opened.data_state["next_sample"] == 8 * 4
    assert config_from_json(opened.config) == config
    assert model_from_json(opened.model).config == config.model
    assert checkpoint.steps(run / "checkpoints") == [8, 6]
    assert "second" in checkpoint.info_text(opened)


def test_metrics_of_a_run(finished):
    _, run = finished
    lines = read_metrics(run / "metrics.jsonl")
    assert [(line["step"], line["kind"]) for line in lines] == [
        (2, "train"), (4, "train"), (4, "val"), (6, "train"), (8, "train"), (8, "val"),
    ]  # fmt: skip
    train, val = lines[-2], lines[-1]
    assert {"loss", "accuracy", "samples_per_s", "step_s", "data_wait", "lr", "grad_norm", "nonfinite"} <= set(train)
    assert train["flops_per_s"] > 0
    assert "mfu" not in train, "nobody knows what this CPU can do"
    for name, values in train["sets"].items():
        assert name in ("first", "second")
        assert {"loss", "accuracy"} <= set(values)
    assert list(val["sets"]) == ["first", "second"]
    assert np.isfinite([val["sets"][name][metric] for name in val["sets"] for metric in ("loss", "accuracy")]).all()


def test_profile_traces_the_steps_after_the_warm_up(finished):
    _, run = finished
    (path,) = run.glob("profile/plugins/profile/*/perfetto_trace.json.gz")
    with gzip.open(path) as file:
        names = [event.get("name", "") for event in json.load(file)["traceEvents"]]
    assert sum(name == "train" for name in names) == 2


def test_a_profile_that_does_not_fit_is_told(finished, tmp_path):
    config, _ = finished
    with pytest.raises(UserError, match=r"--profile 6 needs 9 steps, 8 are left"):
        loop.train(config, tmp_path / "run", profile=6)


def test_its_page_can_be_drawn(finished):
    _, run = finished
    page = write_report(run).read_text()
    assert reaches(page) == []
    for words in ("8 of 8", "Operations a second", "second: actions right", "sound", "Contract"):
        assert words in page


def test_each_start_is_noted(finished):
    config, run = finished
    (start,) = read_starts(run)
    assert start["step"] == 0
    assert start["fingerprint"] == fingerprint(config)
    assert start["versions"]["jax"] == jax.__version__
    assert [row["name"] for row in start["sets"]] == ["first", "second"]


def test_the_same_call_again_says_what_it_is_and_has_nothing_to_do(finished, caplog):
    config, run = finished
    before = (run / "checkpoints" / "8" / "manifest.json").stat()
    with caplog.at_level(logging.INFO):
        assert loop.train(config, run) == run / "checkpoints" / "8"
    for part in (
        "versions: rtx=", "devices: platform=", "config: fingerprint=", "name=second share=0.6667 episodes=3",
        "instructions: texts=5 read_as=words",
        "parameters: count=", "start: step=8 of 8 resumed", "nothing to do",
    ):  # fmt: skip
        assert part in caplog.text
    assert (run / "checkpoints" / "8" / "manifest.json").stat() == before


def read_params(run, step):
    return checkpoint.open_checkpoint(run, step).variables["params"]


def test_sigterm_saves_exits_75_and_the_same_call_ends_alike(finished, tmp_path):
    """The signal comes with the fifth step's batch, after which nothing is due to be saved: a real save."""
    config, run = finished
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, save_every=100))
    take, calls = Prefetch.take, []

    def stopping(self):
        calls.append(None)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(self)

    Prefetch.take = stopping
    try:
        with pytest.raises(Preempted) as caught:
            loop.train(config, tmp_path / "run")
    finally:
        Prefetch.take = take
    assert caught.value.code == EXIT_PREEMPTED == 75
    assert checkpoint.steps(tmp_path / "run" / "checkpoints") == [5]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    loop.train(config, tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, read_params(tmp_path / "run", 8), read_params(run, 8))


def test_data_that_moved_go_on_and_data_that_changed_do_not(finished, tmp_path):
    config, run = finished
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "8")
    moved = dataclasses.replace(config, data=dataclasses.replace(config.data, sets=write_sets(tmp_path / "moved")))
    loop.train(moved, tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, read_params(tmp_path / "run", 8), read_params(run, 8))
    other = write_sets(tmp_path / "other", names=("first", "third"))
    changed = dataclasses.replace(config, data=dataclasses.replace(config.data, sets=other))
    with pytest.raises(UserError, match=r"the data are not those .*contract and tokenizer differ"):
        loop.train(changed, tmp_path / "run")


def test_data_sets_in_another_order_are_another_run(finished, tmp_path):
    """Their position is what the model was told; paths and equal weights alone would not show it."""
    config, _ = finished
    sets = tuple(dataclasses.replace(one, weight=1.0) for one in config.data.sets)
    config = override(dataclasses.replace(config, data=dataclasses.replace(config.data, sets=sets)), ["run.eval_samples=0"])
    loop.train(config, tmp_path / "run")
    swapped = dataclasses.replace(config, data=dataclasses.replace(config.data, sets=sets[::-1]))
    with pytest.raises(UserError, match=r"contract differ"):
        loop.train(swapped, tmp_path / "run")


def test_a_save_that_fails_midway_is_loud_and_training_goes_on(finished, tmp_path, caplog):
    """The disk is full at the first save and not at the second."""
    config, _ = finished
    run = tmp_path / "run"
    config = override(config, ["run.eval_samples=0"])
    finalize, failures = ocp.PyTreeCheckpointHandler.finalize, []

    def failing(handler, path):
        if not failures:
            failures.append(path)
            raise OSError(28, "No space left on device")
        finalize(handler, path)

    ocp.PyTreeCheckpointHandler.finalize = failing
    try:
        loop.train(config, run)
    finally:
        ocp.PyTreeCheckpointHandler.finalize = finalize
    assert "checkpoint not saved, the previous one is intact: step=3 cannot write" in caplog.text
    assert "the disk is full" in caplog.text
    assert checkpoint.steps(run / "checkpoints") == [8, 6]
    assert [line["event"] for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "event"] == ["save failed"]


def test_too_many_updates_that_are_not_finite_stop_the_run(finished, tmp_path, caplog):
    config, _ = finished
    config = override(config, ["train.max_nonfinite=3", "run.eval_samples=0"])
    with (
        poisoned(*range(8, 100)),
        pytest.raises(WorldError, match=r"stopped at step 5: 3 updates in a row .* samples 16\.\.19"),
    ):
        loop.train(config, tmp_path / "run")
    assert "step=3" in caplog.text
    assert "samples=8..11" in caplog.text
    assert checkpoint.open_checkpoint(tmp_path / "run").step == 3


def test_what_a_new_user_gets_wrong(finished, tmp_path):
    config, _ = finished
    with pytest.raises(UserError, match="no prepared data set"):
        loop.train(override(config, [f"data.sets.0.prepared={tmp_path}"]), tmp_path / "a")
    with pytest.raises(UserError, match=r"camera role 'wrist'"):
        loop.train(override(config, ["data.roles=wrist"]), tmp_path / "b")
    with pytest.raises(UserError, match=r"max_embodiments 1 is less than the 2 data sets"):
        loop.train(override(config, ["model.max_embodiments=1"]), tmp_path / "c")
    with pytest.raises(UserError, match=r"data\.sets\.0\.source is not set.*--set data\.sets\.0\.source=FOLDER"):
        loop.train(override(config, ["data.sets.0.record=bridge_dataset", "data.sets.0.prepared="]), tmp_path / "d")
    with pytest.raises(UserError, match="no data set has held-out"):
        loop.train(_without_val(config, tmp_path), tmp_path / "e")


def _without_val(config, tmp_path):
    from rtx.files import read_json, write_json

    sets = write_sets(tmp_path / "no_val")
    for one in sets:
        manifest = read_json(tmp_path / "no_val" / one.prepared.split("/")[-1] / "manifest.json")
        manifest["splits"]["val"] = {"num_episodes": 0, "num_steps": 0}
        write_json(tmp_path / "no_val" / one.prepared.split("/")[-1] / "manifest.json", manifest)
        np.save(tmp_path / "no_val" / one.prepared.split("/")[-1] / "val" / "episode_start.npy", np.zeros(1, np.int64))
    return dataclasses.replace(config, data=dataclasses.replace(config.data, sets=sets))
