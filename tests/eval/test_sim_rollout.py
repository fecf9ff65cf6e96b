"""Evaluation on the real simulator, in worker processes of its own: reproducible to the last bit, and written down."""

import dataclasses

import av
import pytest

from rtx.eval.baselines import RandomPolicy
from rtx.eval.evaluate import evaluate
from rtx.eval.suite import Suite
from tests.eval.point_robot import contract

ARMS = ("sim_panda",)
SUITE = Suite(name="sim", arms=ARMS, tasks=("reach",), episodes_per_cell=2, max_seconds=2.0)


def run(out, **more):
    return evaluate({"random": RandomPolicy(contract(arms=ARMS))}, SUITE, out, **more)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return run(tmp_path_factory.mktemp("first"), num_workers=1)


def test_the_same_suite_gives_the_same_outcomes(played, tmp_path):
    again = run(tmp_path, num_workers=2, video_per_cell=0)

    def without_clock(evaluation):
        return [dataclasses.replace(outcome, wall_s=0.0, video=None) for outcome in evaluation.outcomes]

    assert without_clock(again) == without_clock(played)


def test_outcomes_are_filled_in(played):
    for outcome in played.outcomes:
        assert outcome.instruction
        assert outcome.success or outcome.steps == 10
        assert outcome.final_distance_m is not None
        assert outcome.policy_calls == -(-outcome.steps // 2)


def test_the_recording_shows_every_step(played):
    recorded = [outcome for outcome in played.outcomes if outcome.video]
    assert len(recorded) == 1
    with av.open(str(played.videos / recorded[0].video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 1 + recorded[0].steps + 5  # the start, every step, one second of the last
    assert frames[0].std() > 20  # a picture, not a blank
