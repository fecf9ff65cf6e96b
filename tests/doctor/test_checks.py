"""What is seen without asking: each check finds what it is for, and is silent on the recording as it is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rtx.doctor import checks
from rtx.images import encode_png
from tests.doctor import planted
from tests.doctor.known_world import contract, recording

ROBOT = "sim_panda"


@pytest.fixture(name="episodes", scope="module")
def _episodes():
    return recording(5, num_episodes=6)


def changed(episodes, **changes):
    return [dataclasses.replace(episode, **{k: f(episode) for k, f in changes.items()}) for episode in episodes]


def test_a_sound_recording_passes_them_all(episodes):
    own = checks.action_ranges(episodes, contract(), ROBOT), checks.state_ranges(episodes, contract(), ROBOT)
    found = [
        *checks.check_cameras(episodes, contract(), ROBOT), *checks.check_rate(episodes, contract(), ROBOT),
        *checks.check_gripper(episodes, contract(), ROBOT), *checks.check_motion(episodes, contract(), ROBOT),
        *checks.check_words(episodes, {"reach the disc": []}), *checks.check_ranges(own[1], "the state"),
        *checks.check_round_trip(np.full(20, 30.0), contract(), ROBOT),
    ]  # fmt: skip
    assert found == []


def test_a_camera_that_drops_frames_is_named(episodes):
    lost = changed(episodes, encoded=lambda e: {**e.encoded, "wrist": (b"",) * len(e)})
    assert (
        checks.check_cameras(lost, contract(), ROBOT)[0].finding == "the camera 'wrist' gave no picture in 100% of the frames"
    )


@pytest.mark.parametrize(
    ("size", "words"), [((20, 40), "another shape"), ((10, 10), "fewer than the 20 x 20 that the policy sees")]
)
def test_pictures_of_another_size_are_named(episodes, size, words):
    small = encode_png(np.zeros((*size, 3), np.uint8))
    other = changed(episodes, encoded=lambda e: {**e.encoded, "primary": (small,) * len(e)})
    (finding,) = [f for f in checks.check_resolution(other, contract(), ROBOT) if "primary" in f.finding]
    assert words in finding.finding


def test_centimetres_are_told_from_metres(episodes):
    ranges = checks.action_ranges(changed(episodes, action=lambda e: e.action * np.array([100] * 3 + [1] * 5, np.float32)),
                                  contract(), ROBOT)  # fmt: skip
    (finding,) = checks.check_units(ranges, "the action")
    assert finding.aspect == "units"
    assert "'delta_pos'" in finding.finding


def test_a_state_from_elsewhere_is_out_of_range(episodes):
    moved = changed(episodes, proprio=lambda e: e.proprio + np.array([0, 0, 1] + [0] * 7, np.float32))
    first = checks.check_ranges(checks.state_ranges(moved, contract(), ROBOT), "the state")[0]
    assert first.finding == "the state 'eef_pos.2' lies outside of what the policy was trained on"


def test_a_slow_answer_is_a_latency():
    (finding,) = checks.check_round_trip(np.full(20, 300.0), contract(), ROBOT)
    assert finding.aspect == "latency"
    assert "300 ms" in finding.finding
    assert "200 ms" in finding.finding


@pytest.mark.parametrize(("factor", "words"), [(1.45, "half its rate"), (0.5, "twice its rate"), (1.0, ""), (0.85, "")])
def test_steps_of_another_size_are_another_rate(factor, words):
    rng = np.random.default_rng(0)
    answers = rng.normal(0, 0.03, (120, 8))
    logged = factor * answers + rng.normal(0, 0.01, answers.shape)
    found = checks.check_steps(answers, logged, np.arange(120) // 6, contract().layouts[ROBOT])
    assert [words in finding.finding for finding in found] == [True] * bool(words)


def test_answers_that_go_elsewhere_say_nothing_of_the_rate():
    rng = np.random.default_rng(0)
    answers, logged = rng.normal(0, 0.03, (2, 120, 8))
    assert checks.check_steps(answers, logged, np.arange(120) // 6, contract().layouts[ROBOT]) == []


def test_a_gripper_that_goes_the_other_way_is_seen_in_the_log(episodes):
    turned = [planted.gripper_command_inverted(episode) for episode in episodes]
    assert checks.check_gripper(turned, contract(), ROBOT)[0].aspect == "gripper sense"


def test_an_arm_that_moves_elsewhere_is_seen_in_the_log(episodes):
    def sideways(e):
        action = e.action.copy()
        action[:, 0], action[:, 1] = -e.action[:, 1], e.action[:, 0]
        return action

    (finding,) = checks.check_motion(changed(episodes, action=sideways), contract(), ROBOT)
    assert finding.aspect == "frame"
    assert "turned by -90 degrees" in finding.finding


def test_words_that_are_missing_or_unknown_are_named(episodes):
    silent = changed(episodes, instructions=lambda e: ("",) * len(e))
    assert checks.check_words(silent, {"": []})[0].finding == "the recording has no instructions"
    (finding,) = checks.check_words(episodes, {"reach the disc": ["unknown word 'disc'"]})
    assert "unknown word 'disc'" in finding.finding


def test_what_a_server_recorded_may_have_a_fraction_of_the_rate(episodes):
    def served(stride, is_served):
        return changed(episodes, stamp_ns=lambda e: e.stamp_ns * stride, is_served=lambda e: is_served)

    assert checks.check_rate(served(2, True), contract(), ROBOT) == []
    assert checks.check_rate(served(2, False), contract(), ROBOT)[0].aspect == "rate"
    assert checks.check_rate(served(5, True), contract(), ROBOT)[0].aspect == "rate"
