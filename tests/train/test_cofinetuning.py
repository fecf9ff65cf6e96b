"""A vision-language-action model learns questions first, then robots beside them: one tokenizer, one mixture, both figures."""

import dataclasses
import json
import logging
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from rtx.data.prepare import prepare
from rtx.data.web import import_web, web_record
from rtx.errors import UserError
from rtx.images import encode_png
from rtx.models.families import build_model, model_from_json
from rtx.models.vla.language import VLATokenizer
from rtx.train import imitation, loop, pytree
from rtx.train.checkpoint import open_checkpoint
from rtx.train.config import AugmentConfig, DataConfig, DataSet, OptimizationConfig, RunConfig, TrainConfig
from rtx.train.inputs import open_inputs, train_batches
from rtx.train.metrics import read_metrics
from rtx.train.start import starting_variables
from tests.data.tiny_sets import save_manifest, tiny_set
from tests.models.vla import tiny_vla
from tests.train.small_run import write_sets

MODEL = tiny_vla.paligemma(text_length=48, answer_length=16)
MODEL = dataclasses.replace(MODEL, language=dataclasses.replace(MODEL.language, vocab=160))


def web_set(folder: Path) -> DataSet:
    rng, lines = np.random.default_rng(0), {"train": [], "val": []}
    (folder / "pictures").mkdir(parents=True)
    for i in range(8):
        (folder / "pictures" / f"{i}.png").write_bytes(encode_png(rng.integers(0, 256, (16, 16, 3), np.uint8)))
        example = {"image": f"{i}.png", "prefix": "how many blocks are there on the table?", "suffix": f"there are {i % 3}"}
        lines["val" if i > 5 else "train"].append(json.dumps(example))
    for split, texts in lines.items():
        (folder / f"{split}.jsonl").write_text("\n".join(texts))
    source = import_web({s: folder / f"{s}.jsonl" for s in lines}, folder / "pictures", folder / "tfds", name="questions")
    prepare(web_record("questions"), source, folder / "questions", num_workers=1)
    return DataSet(prepared=str(folder / "questions"), weight=3.0)


def config_of(*sets: DataSet, **train) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(sets=sets, image_size=(16, 16), batch_size=4, robot_share=0.5 if len(sets) > 1 else None),
        model=MODEL,
        train=OptimizationConfig(num_steps=2, warmup_steps=0, augment=AugmentConfig(shift_px=1), **train),
        run=RunConfig(log_every=1, save_every=2, eval_every=2, eval_samples=2 if len(sets) > 1 else 0),
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, TrainConfig]:
    """A run on questions alone, the run on both that began there, and the latter's configuration."""
    folder = tmp_path_factory.mktemp("cofinetuning")
    web, robot = web_set(folder), write_sets(folder / "robots", names=("robot",))[0]
    loop.train(config_of(web), folder / "first")
    config = config_of(robot, web, groups=2, start=str(folder / "first"))
    loop.train(config, folder / "second")
    return folder / "first", folder / "second", config


def test_actions_and_answers_are_told_side_by_side(runs):
    lines = read_metrics(runs[1] / "metrics.jsonl")
    train, val = lines[0], lines[-1]
    assert (train["kind"], val["kind"]) == ("train", "val")
    for line in (train, val):
        assert {"accuracy", "l1", "accuracy_text"} <= set(line)
        assert "accuracy" in line["sets"]["robot"]
        assert "accuracy_text" not in line["sets"]["robot"], "it says nothing but actions"
        assert "accuracy" not in line["sets"]["questions"]
        assert 0 <= line["sets"]["questions"]["accuracy_text"] <= 1
        assert line["sets"]["robot"]["loss"] > 0
        assert line["sets"]["questions"]["loss"] > 0
    assert 0 <= val["sets"]["questions"]["exact_match"] <= 1
    assert "exact_match" not in val["sets"]["robot"]
    assert train["nonfinite"] == 0
    assert np.isfinite([train["loss"], val["loss"], val["sets"]["questions"]["loss"]]).all()


def test_it_begins_with_the_parameters_and_the_tokenizer_of_the_other(runs):
    first, second = open_checkpoint(runs[0]), open_checkpoint(runs[1])
    assert second.tokenizer == first.tokenizer
    assert "robot" in second.contract.embodiments
    before, after = (c.variables["params"]["llm"]["embedder"]["input_embedding"] for c in (first, second))
    assert 0 < np.abs(after - before).max() < 0.01, "two steps away from it, not a draw away"
    alone = open_inputs(dataclasses.replace(runs[2], train=dataclasses.replace(runs[2].train, start="")))
    assert alone.tokenizer.to_json() != first.tokenizer
    thinking = dataclasses.replace(runs[2], data=dataclasses.replace(runs[2].data, template="plan"))
    assert open_inputs(thinking, origin=runs[0]).tokenizer.model == VLATokenizer.from_json(first.tokenizer).model


def test_a_resumed_run_does_not_need_where_it_began(runs, tmp_path: Path):
    first, second, config = runs
    shutil.move(first, tmp_path / "elsewhere")
    try:
        assert loop.train(config, second) == second / "checkpoints" / "2"
        with pytest.raises(UserError, match="no such folder"):
            loop.train(config, tmp_path / "new")
    finally:
        shutil.move(tmp_path / "elsewhere", first)


def test_parameters_are_taken_by_name_and_all_that_do_not_fit_are_named(runs, caplog: pytest.LogCaptureFixture):
    wanted, start = pytree.flatten(open_checkpoint(runs[0]).variables), OptimizationConfig(start=str(runs[0]))
    with caplog.at_level(logging.INFO):
        given = starting_variables(start, {**wanted, "params/action_head/kernel": np.zeros((2, 3), np.float32)})
    assert set(given) == set(wanted), "what the checkpoint lacks is left to the model"
    assert f"taken={len(wanted)} left=0 initialised=1 (params/action_head/kernel)" in caplog.text
    del wanted["params/llm/embedder/input_embedding"]
    wanted["params/llm/final_norm/scale"] = wanted["params/img/head/bias"] = np.zeros(3, np.float32)
    with pytest.raises(UserError) as error:
        starting_variables(start, wanted)
    assert str(error.value).splitlines()[1:] == [
        "  params/llm/embedder/input_embedding: the new model has none",
        "  params/img/head/bias: [16], the new model has [3]",
        "  params/llm/final_norm/scale: [16], the new model has [3]",
    ]


def inputs_of(config: TrainConfig, *, model=MODEL, **data):
    return open_inputs(dataclasses.replace(config, model=model, data=dataclasses.replace(config.data, **data), train=FRESH))


FRESH = OptimizationConfig()


def test_the_model_learns_from_data_and_tokenizer_what_its_config_leaves_open(runs):
    model = dataclasses.replace(MODEL, bins="quantile", proprio_dims=1)
    inputs = inputs_of(runs[2], model=model, template="plan", action_words="rarest")
    tokenizer = inputs.tokenizer
    assert isinstance(tokenizer, VLATokenizer)
    assert (inputs.model.plan, inputs.model.plan_end) == (True, tokenizer.plan_end)
    assert len(set(inputs.model.action_ids)) == MODEL.num_bins
    assert set(inputs.model.action_ids) <= set(range(tokenizer.size)) - tokenizer.special_ids
    assert inputs.model.plan_lasting == (), "a plan is kept as a whole"
    thinking = inputs_of(runs[2], model=dataclasses.replace(MODEL, answer_length=64), template="thought")
    assert thinking.tokenizer.decode(np.array([thinking.model.plan_lasting])) == ["MOVE REASONING:"]
    assert (len(inputs.model.bin_values), inputs.model.action_dims, inputs.model.proprio_dims) == (8, 8, 10)
    assert inputs.tokenizers.plans is not None
    assert model_from_json(open_checkpoint(runs[1]).model).config.terminate == 7


def test_what_the_data_part_says_is_done(runs, tmp_path: Path):
    plain = inputs_of(runs[2])
    assert plain.mixture.robots() == 0.5, "although questions weigh three times as much"
    assert inputs_of(runs[2], robot_share=None).mixture.robots() == 0.25
    assert plain.tokenizer.size <= MODEL.language.vocab - MODEL.num_bins, "the last ids are those of actions"
    assert (plain.model.plan, plain.tokenizers.plans) == (False, None)
    pieces = inputs_of(runs[2], action_words="integers")
    assert [pieces.tokenizer.pieces[i].strip("\N{LOWER ONE EIGHTH BLOCK}") for i in pieces.model.action_ids] == list("01234567")
    other = VLATokenizer.from_texts(["another language"], size=100, text_length=32, answer_length=8)
    (tmp_path / "spiece.model").write_bytes(other.model)
    brought = inputs_of(runs[2], vocabulary=str(tmp_path / "spiece.model")).tokenizer
    assert (brought.model, brought.text_length, brought.answer_length) == (other.model, 48, 16)
    small = dataclasses.replace(MODEL, language=dataclasses.replace(MODEL.language, vocab=40))
    with pytest.raises(UserError, match=r"vocab 40 is less than the tokenizer's \d+ pieces"):
        inputs_of(runs[2], model=small, vocabulary=str(tmp_path / "spiece.model"))


def test_plans_of_robots_are_learned_before_their_actions(runs, tmp_path: Path):
    planned = tiny_set(tmp_path / "planned", name="planned", roles=("primary",))
    steps = planned.splits["train"]["num_steps"]
    np.save(tmp_path / "planned" / "train" / "target_id.npy", (np.arange(steps) % 2).astype(np.int32)[:, None])
    save_manifest(dataclasses.replace(planned, targets=("plan",)))
    sets = (DataSet(prepared=str(tmp_path / "planned")), runs[2].data.sets[1])
    config = dataclasses.replace(runs[2], run=dataclasses.replace(runs[2].run, eval_samples=0))
    model = dataclasses.replace(MODEL, text_length=64, answer_length=32)
    inputs = inputs_of(config, model=model, sets=sets, template="plan")
    with train_batches(inputs, dataclasses.replace(config, data=dataclasses.replace(config.data, sets=sets))) as loader:
        batch = next(loader)
    is_robot = batch.action_mask.any((1, 2))
    assert is_robot.sum() == 2
    said = inputs.tokenizer.decode(batch.target)
    assert {said[row] for row in np.flatnonzero(is_robot)} <= {"Plan: do planned. Action:", "Plan: undo planned. Action:"}
    assert all(said[row].startswith("there are") for row in np.flatnonzero(~is_robot))
    network, quickly = (
        build_model(inputs.model),
        {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {},
    )

    def loss(batch):
        variables = network.init(jax.random.key(0), batch)
        return network.loss(variables, batch, jax.random.key(1), train=False)[1]

    metrics = jax.jit(loss, compiler_options=quickly)(imitation.place(batch))
    plan_and_end = (batch.target[is_robot] != 0).sum(1) + 1
    known = batch.action_mask[is_robot].sum((1, 2))
    np.testing.assert_array_equal(metrics["tokens"][is_robot], plan_and_end + known)
    assert np.isfinite(metrics["accuracy_text"]).all()
    assert np.isfinite(metrics["accuracy"]).tolist() == is_robot.tolist()
