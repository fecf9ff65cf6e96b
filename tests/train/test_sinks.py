"""TensorBoard and W&B get what metrics.jsonl holds, once each step, through resumes; read back with their own libraries."""

import json
import logging
import subprocess
import sys

import pytest

from rtx.errors import UserError
from rtx.train import sinks
from rtx.train.config import DataSet, fingerprint
from rtx.train.metrics import read_metrics
from rtx.train.overrides import override
from tests.train.small_run import small_config

READER = """
import json, sys, types
sys.modules["tensorboard.compat.notf"] = types.ModuleType("notf")  # its own way to do without TensorFlow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = EventAccumulator(sys.argv[1]).Reload()
print(json.dumps({tag: [[e.step, e.value, e.wall_time] for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}))
assert "tensorflow" not in sys.modules
"""


def config(*settings):
    return override(small_config((DataSet(prepared="unused"),)), settings)


def write(run, *steps, start=0, settings=("run.tensorboard=true",)):
    with sinks.open_metrics(run, config(*settings), step=start) as metrics:
        for step in steps:
            metrics.write(step=step, kind="train", loss=1.0 / step, lr=float("nan"), sets={"a": {"accuracy": step / 100}})
        metrics.write(step=steps[-1], kind="val", loss=2.0, sets={"a": {"loss": 2.0}})
        metrics.write(step=steps[-1], kind="event", event="save failed", reason="x")


def from_tensorboard(run):
    done = subprocess.run([sys.executable, "-c", READER, str(run / "tensorboard")], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_tensorboard_reads_every_step_once_after_a_resume(tmp_path):
    write(tmp_path, 10, 20, 30)
    write(tmp_path, 30, 40, start=20)
    found = from_tensorboard(tmp_path)
    assert set(found) == {"train/loss", "train_accuracy/a", "val/loss", "val_loss/a"}
    assert [(step, pytest.approx(value)) for step, value, _ in found["train/loss"]] == [(s, 1 / s) for s in (10, 20, 30, 40)]
    assert [(step, pytest.approx(value)) for step, value, _ in found["train_accuracy/a"]][-1] == (40, 0.4)
    assert [step for step, _, _ in found["val/loss"]] == [40]
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if line["kind"] == "train"]
    assert [wall for _, _, wall in found["train/loss"]] == [line["wall_s"] for line in lines]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_switched_on_late_it_has_the_past(tmp_path):
    write(tmp_path, 10, settings=())
    assert not (tmp_path / "tensorboard").exists()
    write(tmp_path, 20, start=10)
    assert [step for step, _, _ in from_tensorboard(tmp_path)["train/loss"]] == [10, 20]


WANDB_READER = """
import json, struct, sys
from pathlib import Path
from wandb.proto import wandb_internal_pb2

def records(data, block=32768):  # LevelDB's log format behind a header of seven bytes
    at, whole = 7, b""
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield whole
            whole = b""

rows, run = [], None
for data in records(Path(sys.argv[1]).read_bytes()):
    record = wandb_internal_pb2.Record.FromString(data)
    if record.WhichOneof("record_type") == "run":
        run = record.run
    if record.WhichOneof("record_type") == "history":
        rows.append({(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item})
print(json.dumps({"project": run.project, "id": run.run_id, "rows": rows}))
"""


def from_wandb(run):
    (path,) = run.glob("wandb/offline-run-*/run-*.wandb")
    done = subprocess.run([sys.executable, "-c", WANDB_READER, str(path)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def write_with_wandb(run, starts, **environment):
    """In a process of its own, as runs are: W&B keeps a server process and threads. Returns what it said."""
    program = (
        f"from tests.train.test_sinks import write; from pathlib import Path; run = Path({str(run)!r})\n"
        f"for start, steps in {starts}: write(run, *steps, start=start, settings=['run.wandb=arms'])"
    )
    here = {"HOME": str(run / "home"), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", program], check=True, env=here | environment, capture_output=True, text=True)
    return done.stderr


def test_wandb_without_a_login_is_a_folder_with_every_step_once(tmp_path):
    write_with_wandb(tmp_path, ((0, (10, 20, 30)), (20, (30, 40))))
    found = from_wandb(tmp_path)
    assert found["project"] == "arms"
    assert found["id"] == (tmp_path / "wandb" / "rtx-id").read_text()
    rows = {row["_step"]: row for row in found["rows"]}
    assert len(rows) == len(found["rows"])
    assert sorted(rows) == [10, 20, 30, 40]
    assert rows[40]["train/loss"] == pytest.approx(1 / 40, rel=1e-5)
    assert rows[40]["val_loss/a"] == 2.0
    assert rows[10]["train_accuracy/a"] == 0.1


@pytest.mark.slow  # W&B tries for as long as it was told, and does not hurry
def test_wandb_without_a_connection_goes_on_in_a_folder(tmp_path):
    server = {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_INIT_TIMEOUT": "3"}
    said = write_with_wandb(tmp_path, ((0, (10, 20)),), **server)
    assert said.count("wandb: no connection") == 1
    assert sorted(row["_step"] for row in from_wandb(tmp_path)["rows"]) == [10, 20]


def test_a_missing_package_is_told_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install rtx-robotics\[wandb\]"):
        sinks.open_metrics(tmp_path, config("run.wandb=arms"), step=0)


def test_a_sink_that_fails_is_loud_once_and_stops_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sinks.event_file, "scalars", lambda *_, **__: 1 / 0)
    with caplog.at_level(logging.ERROR):
        write(tmp_path, 10, 20, 30)
    assert caplog.text.count("tensorboard switched off until the next start, training goes on: ZeroDivisionError") == 1
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [(line["step"], line["kind"]) for line in lines][:4] == [(10, "train"), (10, "event"), (20, "train"), (30, "train")]
    assert lines[1]["event"] == "sink failed"


def test_a_folder_that_cannot_be_written_leaves_the_sink_out(tmp_path, caplog):
    (tmp_path / "tensorboard").write_text("a file is in the way")
    write(tmp_path, 10)
    assert "tensorboard switched off" in caplog.text
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 3


def test_where_figures_go_does_not_make_another_run():
    assert fingerprint(config("run.tensorboard=true", "run.wandb=arms")) == fingerprint(config())
