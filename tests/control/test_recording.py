"""What a drive keeps of its pictures: whole episodes that the doctor reads, within its bounds, and never a wait."""

import threading

import numpy as np
import pytest

from rtx.control import recording as module
from rtx.control.loop import DriveLog
from rtx.control.recording import Recording, contract_of
from rtx.data import catalogue
from rtx.doctor.recording import load_episodes
from rtx.embodiment import CANONICAL
from rtx.images import encode_jpeg
from rtx.robots.sim_arms import SIM_ARMS
from rtx.serve.messages import hello
from tests.control.test_loop import SeeingArm, driven
from tests.control.witness import PointArm
from tests.small_policy import contract as served_contract

ROBOT = "sim_panda"


def made(folder, **options):
    served = served_contract()
    said = hello(served, policy="p", fingerprint="f")
    contract = contract_of(said, ROBOT, SIM_ARMS[ROBOT], CANONICAL, served.statistics[ROBOT])
    about = {"policy": "p", "checkpoint": "f"}
    return Recording(folder, contract, ROBOT, instruction="push", about=about, **options)


def frame(t, *, side=32):
    """A picture, a state and an action that tell when they were."""
    images = {role: np.full((side, side, 3), 10 * t % 250, np.uint8) for role in ("primary", "wrist")}
    return images, np.full(10, t, np.float32), np.full(8, t / 100, np.float32), 10**9 + t * 200_000_000


def episodes(folder):
    return load_episodes(folder / "served_sim_panda", catalogue.find("served_sim_panda", folder / "records.py"), most=100)


def test_the_doctor_reads_what_a_drive_has_kept(tmp_path):
    kept = made(tmp_path)
    for t in range(7):
        kept.add(*frame(t))
        if t == 4:
            kept.cut("somebody stopped it")
    kept.close()
    first, second = episodes(tmp_path)
    assert (len(first), len(second), kept.lost) == (5, 2, 0)
    np.testing.assert_array_equal(first.proprio[:, 0], range(5))
    np.testing.assert_allclose(first.action[:, 0], np.arange(5) / 100)
    np.testing.assert_array_equal(np.diff(first.stamp_ns), 200_000_000)
    assert np.abs(second.picture("wrist", 1).astype(int) - 60).max() <= 2
    assert set(first.instructions) == {"push"}
    assert first.is_served


def test_a_second_drive_goes_on_in_the_same_folder(tmp_path):
    for _ in range(2):
        kept = made(tmp_path)
        kept.add(*frame(1))
        kept.close()
    assert len(episodes(tmp_path)) == 2


def test_it_stays_within_its_bytes_and_says_so(tmp_path):
    one = 2 * len(encode_jpeg(frame(0)[0]["wrist"]))
    kept = made(tmp_path, max_bytes=3 * one)
    for t in range(6):
        kept.add(frame(0)[0], *frame(t)[1:])
    kept.close()
    assert len(episodes(tmp_path)[0]) == 3
    assert (kept.lost, "as many bytes as it may" in kept.why) == (3, True)


def test_a_slow_disk_costs_steps_and_no_time(tmp_path, monkeypatch):
    """The writer is stuck at its first picture: what does not fit the queue is lost at once."""
    going_on = threading.Event()

    def stuck(image):
        assert going_on.wait(60)
        return encode_jpeg(image)

    monkeypatch.setattr(module, "encode_jpeg", stuck)
    monkeypatch.setattr(module, "_MAX_WAITING_BYTES", 4 * 2 * 32 * 32 * 3)
    kept = made(tmp_path)
    for t in range(10):
        kept.add(*frame(t))  # would hang here
    going_on.set()
    kept.close()
    assert 5 <= kept.lost <= 6  # four waited, and one may have been taken already
    assert "slower than the robot" in kept.why
    assert len(episodes(tmp_path)[0]) == 10 - kept.lost


def test_a_full_disk_costs_an_episode_and_the_drive_goes_on(tmp_path, monkeypatch):
    kept = made(tmp_path)
    (tmp_path / "served_sim_panda").write_text("in the way")
    kept.add(*frame(0))
    kept.close()
    assert kept.lost == 1


def test_long_episodes_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MAX_EPISODE_STEPS", 3)
    kept = made(tmp_path)
    for t in range(7):
        kept.add(*frame(t))
    kept.close()
    assert [len(episode) for episode in episodes(tmp_path)] == [3, 3, 1]


@pytest.mark.parametrize("seeing", [True, False])
def test_a_drive_hands_over_what_it_sent(tmp_path, seeing):
    kept = made(tmp_path)
    log = DriveLog(tmp_path, recording=kept)
    report, _ = driven("receding", 0.0, seconds=2.0, make_arm=SeeingArm if seeing else PointArm, log=log)
    assert report.executed == 10
    if seeing:
        assert len(episodes(tmp_path)[0]) == 10
    else:
        assert (kept.lost, kept.why) == (10, "no picture of primary, wrist")
