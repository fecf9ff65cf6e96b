"""The public suites by name, and what `rtx eval` makes of them. No suite's package is needed here."""

import dataclasses

import pytest

from rtx.errors import UserError
from rtx.eval.public.aloha import GymAloha
from rtx.eval.public.maniskill import ManiSkill
from rtx.eval.public.registry import PUBLIC_SUITES, find_public, maker
from rtx.eval.suite import SUITES, episodes, find_suite
from rtx.eval.worker import environment_of, sim_environment
from rtx.robots.public_arms import PUBLIC_ARMS

NAMES = {
    "metaworld", "robosuite", "gym-aloha", "language-table", "maniskill", "libero", "simpler-widowx", "simpler-google",
}  # fmt: skip


def test_all_suites_are_there_and_none_hides_one_of_ours():
    assert set(PUBLIC_SUITES) == NAMES
    assert not NAMES & set(SUITES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_suite_is_whole(name):
    suite = find_public(name)
    assert suite.install
    assert set(suite.expert_tasks) <= set(suite.tasks)
    assert set(suite.default_tasks) <= set(suite.tasks)
    assert set(suite.task_steps) <= set(suite.tasks)
    assert all(suite.max_seconds(task) > 0 for task in suite.tasks)
    assert suite.suite().environment == name
    assert suite.arm not in PUBLIC_ARMS or PUBLIC_ARMS[suite.arm][0] is suite.robot


def test_time_limits_are_the_suites_own_steps():
    assert find_public("metaworld").max_seconds("reach-v3") == 500 / 80
    assert find_public("libero").max_seconds("libero_spatial-3") == 220 / 20
    assert find_public("libero").max_seconds("libero_10-0") == 520 / 20
    assert find_public("simpler-widowx").max_seconds("widowx_put_eggplant_in_basket") == 120 / 5


def test_a_suite_can_be_narrowed_to_tasks_that_it_does_not_play_unasked():
    assert "hammer-v3" not in find_suite("metaworld").tasks
    chosen = find_suite("metaworld", tasks=["hammer-v3"], episodes_per_cell=2)
    assert [episode.key for episode in episodes(chosen)] == ["metaworld_sawyer/hammer-v3/0", "metaworld_sawyer/hammer-v3/1"]
    with pytest.raises(UserError, match=r"unknown task of suite 'metaworld' 'hamer-v3'; did you mean 'hammer-v3'"):
        find_suite("metaworld", tasks=["hamer-v3"])


def test_an_unknown_suite_names_ours_and_the_public_ones():
    with pytest.raises(UserError, match=r"unknown suite 'meta-world'; did you mean 'metaworld'"):
        find_suite("meta-world")


def test_workers_build_what_the_suite_is_played_in():
    assert environment_of(find_suite("smoke")) is sim_environment
    assert environment_of(find_suite("libero")).args == maker("libero").args == ("libero",)


def test_where_there_is_no_expert_nothing_can_be_replayed():
    with pytest.raises(UserError, match="neither an expert nor demonstrations"):
        dataclasses.replace(find_public("maniskill"), expert="").replayable()
    assert find_public("robosuite").replayable() == ("Lift", "Stack")
    assert len(find_public("metaworld").replayable()) == 50


@pytest.mark.parametrize(
    ("kind", "suite", "task", "said"),
    [
        (GymAloha, "gym-aloha", "insertion", "suite 'gym-aloha' has an expert for transfer_cube only, not for 'insertion'"),
        (ManiSkill, "maniskill", "PushCube-v1", "has an expert for PickCube-v1, StackCube-v1 only, not for 'PushCube-v1'"),
    ],
)
def test_an_environment_without_an_expert_for_its_task_says_so(kind, suite, task, said):
    env = object.__new__(kind)  # what is asked does not need the suite's package
    env.suite, env._task = find_public(suite), task
    with pytest.raises(UserError, match=said):
        env.expert()


def test_only_suites_of_this_process_can_be_drawn_in_another_look(monkeypatch):
    monkeypatch.delenv("RTX_SUITE_LOOK", raising=False)
    assert (find_public("metaworld").look, find_public("libero").look) == ("fast", "")
    monkeypatch.setenv("RTX_SUITE_LOOK", "own")
    assert (find_public("metaworld").look, find_public("libero").look) == ("own", "")
    monkeypatch.setenv("RTX_SUITE_LOOK", "slow")
    with pytest.raises(UserError, match="RTX_SUITE_LOOK is 'slow', expected one of fast, own"):
        find_public("robosuite").look  # noqa: B018
