"""One episode in this process: receding horizon, what is rendered, what the policy is shown, what the safety filter says."""

import dataclasses

import numpy as np
import pytest

from rtx.eval.play import Job, Settings, play
from rtx.eval.suite import Episode
from tests.eval.point_robot import GoalPolicy, PointRobot, contract

EPISODE = Episode(arm="sim_panda", task="go", index=0, seed=5)


def job(**changes) -> Job:
    base = Job(
        policy="p", fingerprint="f", episode=EPISODE, max_seconds=12.0, settings=Settings(), history=1,
        roles=("primary", "wrist"), video=None,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def run(job: Job, policy: GoalPolicy):
    env = PointRobot(job.episode.arm)
    return env, play(env, job, lambda observation: policy.act_batch([observation], [job.episode.arm])[0])


@pytest.mark.parametrize("arm", ["sim_panda", "sim_kinova3", "sim_ur5e"])
def test_a_good_policy_succeeds_through_every_robots_own_convention(arm):
    _, outcome = run(job(episode=dataclasses.replace(EPISODE, arm=arm)), GoalPolicy(contract()))
    assert outcome.success
    assert outcome.final_distance_m < 0.03
    assert outcome.seconds == outcome.steps / 5
    assert outcome.instruction.startswith("go to ")


def test_a_policy_that_stands_still_runs_out_of_time():
    _, outcome = run(job(max_seconds=2.0), GoalPolicy(contract(), speed=0.0))
    assert (outcome.success, outcome.steps, outcome.policy_calls) == (False, 10, 5)


@pytest.mark.parametrize(("replan", "calls"), [(1, 10), (2, 5), (3, 4), (4, 3), (9, 3)])  # chunks have 4 actions
def test_it_asks_again_after_replan_actions(replan, calls):
    _, outcome = run(job(max_seconds=2.0, settings=Settings(replan=replan)), GoalPolicy(contract(), speed=0.0))
    assert outcome.policy_calls == calls


@pytest.mark.parametrize(("history", "rendered"), [(1, 6), (2, 11)])
def test_only_frames_that_are_asked_about_are_rendered(history, rendered):
    policy = GoalPolicy(contract(history=history), speed=0.0)
    env, _ = run(job(max_seconds=2.0, history=history), policy)
    assert env.renders == rendered  # of 11 states: the first, and then every second or all


def test_the_policy_sees_the_last_frames_in_order():
    policy = GoalPolicy(contract(history=3), speed=0.2)
    run(job(max_seconds=2.0, history=3), policy)
    assert [len(observation.proprio) for observation in policy.seen[:3]] == [1, 3, 3]  # 1, 3 and 5 states so far
    x = policy.seen[2].proprio[:, 0]
    assert np.all(np.diff(x) > 0)
    for observation in policy.seen:
        assert observation.images["wrist"].shape == (len(observation.proprio), 16, 16, 3)
        assert observation.image_mask["wrist"].all()
    assert [observation.stamp_ns for observation in policy.seen[:3]] == [0, 400_000_000, 800_000_000]


def test_the_safety_filter_shortens_and_counts_and_can_be_left_out():
    wild = GoalPolicy(contract(), speed=0.0)

    def act(observation):
        chunk = wild.act_batch([observation], ["sim_panda"])[0]
        actions = chunk.actions.copy()
        actions[:, 0] = 0.5
        return dataclasses.replace(chunk, actions=actions)

    def reach(safety: bool):
        env = PointRobot("sim_panda")
        outcome = play(env, job(max_seconds=2.0, settings=Settings(safety=safety)), act)
        return env.position[0], outcome.refusals

    kept, refusals = reach(True)
    assert kept <= PointRobot("sim_panda").embodiment.limits.workspace_high_m[0] + 1e-6
    assert refusals["workspace"] >= 1
    free, refusals = reach(False)
    assert free > 4
    assert refusals == {}


def test_a_chunk_that_ran_out_is_held_not_executed():
    policy = GoalPolicy(contract())

    def act(observation):
        return dataclasses.replace(policy.act_batch([observation], ["sim_panda"])[0], valid_until_ns=-1)

    outcome = play(PointRobot("sim_panda"), job(max_seconds=1.0), act)
    assert not outcome.success
    assert outcome.refusals == {"stale": 5}


def test_the_key_follows_everything_that_matters_and_nothing_else(tmp_path):
    keys = [
        job(**change).key
        for change in (
            {},
            {"fingerprint": "g"},
            {"settings": Settings(replan=3)},
            {"settings": Settings(safety=False)},
            {"settings": Settings(batch=2)},
            {"max_seconds": 3.0},
            {"history": 2},
            {"look": "fast"},
            {"look": "own"},
            {"episode": dataclasses.replace(EPISODE, seed=6)},
            {"episode": dataclasses.replace(EPISODE, index=1)},
        )
    ]
    assert len(set(keys)) == len(keys)
    assert job(video=tmp_path / "v.mp4", policy="renamed").key == job().key
