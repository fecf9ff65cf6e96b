"""Worker processes: every job once, arms kept together, deaths survived and reported, errors brought home."""

import dataclasses
import logging

import pytest

from rtx.errors import WorldError
from rtx.eval import rollout
from rtx.eval.play import STANDARD, Job, Settings
from rtx.eval.suite import Suite, episodes
from tests.eval.point_robot import ARMS, GoalPolicy, PointRobot, contract


def jobs(*, arms=ARMS[:2], task="go", count=2, policy="p", settings=STANDARD) -> list[Job]:
    suite = Suite(name="t", arms=tuple(arms), tasks=(task,), episodes_per_cell=count)
    return [
        Job(
            policy=policy, fingerprint=policy, episode=episode, max_seconds=12.0, settings=settings, history=1,
            roles=("primary", "wrist"), video=None,
        )
        for episode in episodes(suite)
    ]  # fmt: skip


def run(todo, policies=None, *, num_workers=2):
    done = []
    rollout.run(
        todo,
        policies or {"p": GoalPolicy(contract())},
        num_workers=num_workers,
        on_done=done.append,
        make_environment=PointRobot,
    )
    return done


def drain(agenda, arms, *, busy):
    """What one worker would play if the others stayed where they are."""
    played = []
    while (job := agenda.next(arms, busy=busy)) is not None:
        arms = job.episode.arm
        played.append(arms)
    return played


def test_a_worker_stays_with_its_arm_then_takes_one_nobody_has():
    agenda = rollout.Agenda(jobs(arms=ARMS, count=3))
    assert drain(agenda, "", busy=[ARMS[1]]) == [ARMS[0]] * 3 + [ARMS[2]] * 3  # 3 left elsewhere do not pay for moving
    assert drain(agenda, "", busy=[]) == [ARMS[1]] * 3


def test_much_work_left_elsewhere_is_shared():
    agenda = rollout.Agenda(jobs(arms=ARMS[:1], count=10))
    assert agenda.next("", busy=[ARMS[0]]) is not None


def test_a_job_put_back_is_next():
    todo = jobs(arms=ARMS[:1], count=3)
    agenda = rollout.Agenda(todo)
    first = agenda.next("", busy=[])
    agenda.put_back(first)
    assert agenda.next(ARMS[0], busy=[]) is first is todo[0]


def test_every_job_is_played_once_by_its_own_policy():
    good, lazy = GoalPolicy(contract()), GoalPolicy(contract(), speed=0.0)
    todo = jobs(policy="good") + jobs(policy="lazy")
    done = run(todo, {"good": good, "lazy": lazy})
    assert sorted(outcome.key for outcome in done) == sorted(job.key for job in todo)
    assert {(outcome.policy, outcome.success) for outcome in done} == {("good", True), ("lazy", False)}
    assert all(outcome.deaths == 0 for outcome in done)


def test_the_number_of_workers_does_not_change_the_outcomes():
    def without_clock(outcomes):
        return sorted((dataclasses.replace(outcome, wall_s=0.0) for outcome in outcomes), key=lambda outcome: outcome.key)

    assert without_clock(run(jobs(), num_workers=1)) == without_clock(run(jobs(), num_workers=2))


def test_calls_are_always_filled_up_to_the_batch():
    policy = GoalPolicy(contract())
    done = run(jobs(settings=Settings(batch=4)), {"p": policy})
    assert all(outcome.success for outcome in done)
    assert set(policy.batches) == {4}
    assert len(policy.batches) <= sum(outcome.policy_calls for outcome in done)


def test_no_jobs_no_workers():
    assert run([]) == []


def test_a_death_is_reported_with_its_episode_and_played_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("POINT_ROBOT_MARKER", str(tmp_path / "died"))
    with caplog.at_level(logging.WARNING):
        done = run(jobs(arms=ARMS[:1], task="die_once"), num_workers=1)
    assert [(outcome.success, outcome.deaths) for outcome in done] == [(True, 1), (True, 0)]
    assert f"{ARMS[0]}/die_once/0" in caplog.text
    assert "exit_code=3" in caplog.text


def test_dying_twice_on_one_episode_ends_the_run_with_advice():
    with pytest.raises(WorldError, match=r"exit code 3.*p on sim_panda/die/0, seed \d+.*run the same command again"):
        run(jobs(arms=ARMS[:1], task="die"))


def test_an_error_for_people_comes_home_as_it_is():
    with pytest.raises(WorldError, match=r"^install the driver$"):
        run(jobs(task="advise"))


def test_a_defect_comes_home_with_its_traceback():
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*_misbehave.*ZeroDivisionError: a defect"):
        run(jobs(task="raise"))


class ModulesOf:
    """An environment factory that refuses to work beside packages that crash a renderer."""

    def __call__(self, arm: str) -> PointRobot:
        import sys

        assert not {"jax", "tensorflow"} & set(sys.modules), "a worker has imported jax or tensorflow"
        return PointRobot(arm)


def test_workers_import_neither_jax_nor_tensorflow():
    done = []
    policies = {"p": GoalPolicy(contract())}
    rollout.run(jobs(count=1), policies, num_workers=1, on_done=done.append, make_environment=ModulesOf())
    assert len(done) == 2
