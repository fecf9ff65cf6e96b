"""Metrics: means merge as if they had been one, the file reads as if nothing had been interrupted."""

import json
import math
import threading

import pytest

from rtx.train.metrics import Mean, MetricsFile, merge_means, read_metrics


def test_means_merge_by_weight():
    parts = [Mean(total=3.0, weight=1.0), Mean(total=10.0, weight=4.0), Mean()]
    assert parts[0].merge(parts[1]).merge(parts[2]).value == 13 / 5
    assert math.isnan(Mean().value)
    assert merge_means({"a": parts[0]}, {"b": parts[1]}) == {"a": parts[0], "b": parts[1]}


def write(path, *steps, start=0):
    with MetricsFile(path, step=start) as file:
        for step in steps:
            file.write(step=step, kind="train", loss=1.0 / step)


def test_a_resume_forgets_what_comes_after_its_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, 10, 20, 30)
    write(path, 30, 40, start=20)
    assert [line["step"] for line in read_metrics(path)] == [10, 20, 30, 40]


@pytest.mark.parametrize("rest", [b'{"step": 40, "ki', b"\0\0\0\n", b'{"kind": "train"}\n', b"[1]\n"])
def test_a_line_cut_by_a_kill_goes(tmp_path, rest):
    path = tmp_path / "metrics.jsonl"
    write(path, 10, 20)
    whole = path.read_bytes()
    path.write_bytes(whole + rest)
    write(path, start=50)
    assert path.read_bytes() == whole


def test_values_are_plain_json(tmp_path):
    with MetricsFile(tmp_path / "m.jsonl", step=0) as file:
        file.write(step=1, kind="val", loss=float("nan"), rate=1 / 3, sets={"a": {"loss": float("inf")}}, count=3)
    line = (tmp_path / "m.jsonl").read_text()
    data = json.loads(line)
    assert data.pop("wall_s") > 1.7e9, "seconds since 1970"
    assert data == {
        "step": 1,
        "kind": "val",
        "loss": None,
        "rate": 0.333333,
        "sets": {"a": {"loss": None}},
        "count": 3,
    }


def test_a_full_disk_loses_the_line_and_says_so(caplog):
    from pathlib import Path

    with open("/dev/full", "ab", buffering=0) as full:
        file = MetricsFile.__new__(MetricsFile)
        file.path, file._end, file._lock, file._sinks = Path("/dev/full"), 0, threading.Lock(), []

        class Refusing:
            """/dev/full refuses bytes but cannot be cut."""

            write = full.write

            def truncate(self, length):
                assert length == 0

        file._file = Refusing()
        file.write(step=7, kind="train", loss=1.0)
    assert "metrics line lost: step=7" in caplog.text
    assert "disk is full" in caplog.text
