"""What was seen and sent comes back: by rtx's own loader's way, and by tensorflow-datasets; and no disk stops a server."""

import itertools
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from rtx.data.features import open_source
from rtx.data.prepare import prepare
from rtx.data.record import load_records
from rtx.errors import UserError
from rtx.images import decode
from rtx.serve import recorder as recording
from rtx.serve.messages import Request
from rtx.serve.metrics import Metrics
from rtx.serve.recorder import Recorder
from rtx.serve.server import Options
from tests.serve.robots import robot_at
from tests.small_policy import contract, echo_policy, observation


@pytest.fixture(scope="module")
def policy():
    return echo_policy()


def recorder(folder, **changes):
    settings = {"policy": "runs/one", "checkpoint": "f00d", "metrics": Metrics()} | changes
    return Recorder(folder, contract(), **settings)


def play(subject, policy, *, line="robot", steps=4, robot="sim_panda", episode=None, **changes):
    """`steps` questions; returns what was answered."""
    answers = []
    for step in range(steps):
        seen = observation(robot=robot, level=20 * step, stamp_ns=step, state=0.1 * step, **changes)
        answers.append(policy.act(seen, robot=robot))
        subject.add(line, Request(id=step, robot=robot, observation=seen, episode=episode), answers[-1])
    return answers


def count(metrics, name):
    return metrics.registry.get_sample_value(name)


def test_what_a_robot_did_comes_back_through_rtx_data_prepare(serving, policy, tmp_path):
    with serving(policy, options=Options(record=tmp_path / "served")) as server:
        for episode, steps in (("a", 4), ("b", 3)):
            with robot_at(server) as client:
                for step in range(steps):
                    seen = observation(level=40 * step, state=0.1 * step)
                    told = {"robot": "sim_panda", "instruction": "push the red cube", "episode": episode}
                    client.act(images=seen.images, proprio=seen.proprio, **told)
    record = load_records(tmp_path / "served" / "records.py")["served_sim_panda"]
    prepared = prepare(record, tmp_path / "served", tmp_path / "prepared", num_workers=1)
    assert sum(split["num_steps"] for split in prepared.splits.values()) == 7
    assert sum(split["num_episodes"] for split in prepared.splits.values()) == 2


def test_steps_are_what_was_seen_and_sent(policy, tmp_path):
    metrics = Metrics()
    subject = recorder(tmp_path, metrics=metrics)
    answers = play(subject, policy, episode=7)
    subject.end("robot")
    subject.close()
    assert (count(metrics, "rtx_recorded_episodes_total"), count(metrics, "rtx_recorded_steps_total")) == (1, 4)
    told = read_with_tfds(tmp_path / "served_sim_panda" / "1.0.0", tmp_path)
    assert len(told) == 1
    steps, metadata = told[0]["steps"], told[0]["metadata"]
    assert metadata == {
        "robot": "sim_panda", "policy": "runs/one", "checkpoint": "f00d", "episode": "7", "cut": "", "control_hz": 5.0,
        "started": metadata["started"],
    }  # fmt: skip
    for step, (found, answer) in enumerate(zip(steps, answers, strict=True)):
        np.testing.assert_allclose(found["action"], answer.actions[0], rtol=1e-6)
        np.testing.assert_allclose(found["action_chunk"], answer.actions, rtol=1e-6)
        np.testing.assert_allclose(found["state"], np.full(10, 0.1 * step), rtol=1e-6)
        assert (found["instruction"], found["stamp_ns"]) == ("push the red cube", step)
        assert (found["is_first"], found["is_last"], found["is_terminal"]) == (step == 0, step == 3, False)
        np.testing.assert_allclose(found["means"], [20 * step, 20 * step + 20], atol=1.5)  # JPEG of flat grey


READ = """
import json, sys
import numpy as np
import tensorflow_datasets as tfds

def told(step):
    seen = step["observation"]
    return {
        "action": step["action"].tolist(), "action_chunk": step["action_chunk"].tolist(), "state": seen["state"].tolist(),
        "instruction": step["language_instruction"].decode(), "stamp_ns": int(step["stamp_ns"]),
        **{flag: bool(step[flag]) for flag in ("is_first", "is_last", "is_terminal")},
        "means": [float(seen[key].mean()) for key in ("image_primary", "image_wrist")],
    }

found = []
for episode in tfds.as_numpy(tfds.builder_from_directory(sys.argv[1]).as_dataset(split="train")):
    metadata = {k: v.decode() if isinstance(v, bytes) else float(v) for k, v in episode["episode_metadata"].items()}
    found.append({"steps": [told(step) for step in episode["steps"]], "metadata": metadata})
print("FOUND" + json.dumps(found))
"""


def read_with_tfds(version, folder):
    script = folder / "read.py"
    script.write_text(READ)
    done = subprocess.run([sys.executable, str(script), str(version)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.partition("FOUND")[2])


def test_another_episode_robot_or_connection_begins_a_new_one(policy, tmp_path):
    metrics = Metrics()
    subject = recorder(tmp_path, metrics=metrics)
    play(subject, policy, episode=1)
    play(subject, policy, episode=2)
    play(subject, policy, episode=2, robot="sim_iiwa")
    play(subject, policy, line="another")
    subject.close()
    assert count(metrics, "rtx_recorded_episodes_total") == 4
    assert open_source(str(tmp_path), "served_sim_panda").num_episodes("train") == 3
    assert open_source(str(tmp_path), "served_sim_iiwa").num_episodes("train") == 1


def test_the_next_server_goes_on_and_another_contract_begins_a_version(policy, tmp_path):
    for _ in range(2):
        subject = recorder(tmp_path)
        play(subject, policy)
        subject.close()
    assert open_source(str(tmp_path), "served_sim_panda").num_episodes("train") == 2
    other = Recorder(tmp_path, contract(chunk=5), policy="two", checkpoint="beef", metrics=Metrics())
    play(other, echo_policy(chunk=5))
    other.close()
    newest = open_source(str(tmp_path), "served_sim_panda")
    assert (newest.version, newest.num_episodes("train")) == ("1.1.0", 1)


def test_long_episodes_are_cut(policy, tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "_MAX_EPISODE_STEPS", 3)
    metrics = Metrics()
    subject = recorder(tmp_path, metrics=metrics)
    play(subject, policy, steps=7)
    subject.close()
    assert count(metrics, "rtx_recorded_episodes_total") == 3
    assert count(metrics, "rtx_recorded_steps_total") == 7


def test_a_robot_that_falls_silent_has_ended_its_episode(policy, tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "_LOOK_S", 0.001)
    metrics, times, written = Metrics(), itertools.count(step=100), threading.Event()  # each look at the clock takes 100 s
    metrics.recorded_steps.inc = lambda steps: written.set()
    subject = recorder(tmp_path, metrics=metrics, clock=lambda: float(next(times)))
    play(subject, policy, steps=1)
    assert written.wait(20)
    subject.close()


def test_a_lost_frame_is_black(policy, tmp_path):
    subject = recorder(tmp_path)
    seen = observation(level=200)
    seen.image_mask["wrist"][:] = False
    subject.add("line", Request(id=0, robot="sim_panda", observation=seen), policy.act(seen, robot="sim_panda"))
    subject.close()
    (file,) = (tmp_path / "served_sim_panda" / "1.0.0").glob("*tfrecord*")
    data = file.read_bytes()
    pictures = [decode(data[at:]) for at in range(len(data)) if data[at : at + 3] == b"\xff\xd8\xff"]
    assert sorted(int(picture.mean()) for picture in pictures) == [0, 200]


def test_a_disk_that_takes_nothing_stops_no_server(serving, policy, tmp_path, caplog):
    folder = tmp_path / "served"
    with serving(policy, options=Options(record=folder)) as server:
        (folder / "served_sim_panda").write_text("a file where a folder should be")
        with robot_at(server) as client:
            for episode in range(3):
                seen = observation()
                client.act(images=seen.images, proprio=seen.proprio, instruction="push", robot="sim_panda", episode=episode)
        metrics = server.metrics
    assert count(metrics, "rtx_record_lost_steps_total") == 3
    assert caplog.text.count("recording: lost_steps=1; serving goes on") == 3


def test_a_disk_slower_than_the_robots_costs_steps_and_says_so(policy, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(recording, "_MAX_WAITING_BYTES", 100)
    metrics = Metrics()
    subject = recorder(tmp_path, metrics=metrics)
    play(subject, policy, steps=2)
    subject.close()
    assert count(metrics, "rtx_record_lost_steps_total") == 2
    assert "the disk is slower than the robots" in caplog.text


def test_where_nothing_can_be_recorded_is_said_before_anything_is_served(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        recorder(tmp_path / "file")


def test_the_servers_process_has_no_tensorflow():
    code = "import rtx.serve.server, rtx.serve.recorder, sys; print(sorted({'tensorflow', 'jax'} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
