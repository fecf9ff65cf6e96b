"""Questions beside robots in RT-1's training: their rows weigh nothing there, in the loss and in validation, and no NaN."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from rtx.data.prepare import prepare
from rtx.data.web import import_web, web_record
from rtx.images import encode_png
from rtx.models.families import build_model
from rtx.train import imitation, loop
from rtx.train.config import DataSet, TrainConfig
from rtx.train.inputs import open_inputs, train_batches
from rtx.train.metrics import read_metrics
from tests.train.small_run import small_config, write_sets


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("web")
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    lines = []
    for i in range(6):
        (folder / "pictures" / f"{i}.png").write_bytes(encode_png(rng.integers(0, 256, (16, 16, 3), np.uint8)))
        lines.append(json.dumps({"image": f"{i}.png", "prefix": "how many?", "suffix": str(i)}))
    (folder / "train.jsonl").write_text("\n".join(lines))
    source = import_web({"train": folder / "train.jsonl"}, folder / "pictures", folder / "tfds", name="questions")
    prepare(web_record("questions"), source, folder / "questions", num_workers=1)
    sets = (*write_sets(folder / "robots", names=("robot",)), DataSet(prepared=str(folder / "questions")))
    return small_config(sets, num_steps=4, log_every=1, eval_every=2)


def test_a_run_on_robots_and_questions(config: TrainConfig, tmp_path: Path):
    loop.train(config, tmp_path / "run")
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    train = [line for line in lines if line["kind"] == "train"]
    assert len(train) == 4
    assert np.isfinite([[line[key] for key in ("loss", "grad_norm", "accuracy")] for line in train]).all()
    assert all(line["nonfinite"] == 0 for line in train)
    assert list(lines[-1]["sets"]) == ["robot"], "there is nothing to be right about in the others' actions"


def test_rows_without_action_do_not_change_the_loss(config: TrainConfig):
    inputs = open_inputs(config)
    with train_batches(inputs, config) as loader:
        batch = next(loader)
    is_robot = batch.embodiment == 0
    assert 0 < is_robot.sum() < len(is_robot)
    model, rng = build_model(config.model), jax.random.PRNGKey(0)
    variables = jax.jit(model.init)(rng, imitation.place(batch))

    loss = jax.jit(lambda batch: model.loss(variables, batch, rng, train=False)[0])
    other = {name: changed(getattr(batch, name), ~is_robot) for name in ("action", "text", "proprio")}
    images = {role: changed(image, ~is_robot) for role, image in batch.images.items()}
    plain, other_rows = imitation.place(batch), imitation.place(dataclasses.replace(batch, images=images, **other))
    assert float(loss(plain)) > 0
    assert float(loss(plain)) == pytest.approx(float(loss(other_rows)), rel=1e-6)
    nobody = dataclasses.replace(batch, action_mask=np.zeros_like(batch.action_mask))
    assert float(loss(imitation.place(nobody))) == 0.0


def changed(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy[rows] = 7
    return copy
