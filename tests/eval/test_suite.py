"""Seeds of a suite: distinct, stable, and untouched by making the suite larger or smaller."""

import dataclasses

import pytest

from rtx.errors import UserError
from rtx.eval.seeds import seed_for
from rtx.eval.suite import SUITES, Suite, episodes, find_suite

SMALL = Suite(name="small", arms=("sim_panda", "sim_jaco"), tasks=("reach", "push"), episodes_per_cell=3)


def seeds(suite):
    return {episode.key: episode.seed for episode in episodes(suite)}


def test_every_episode_once_with_a_seed_of_its_own():
    assert len(seeds(SMALL)) == SMALL.num_episodes == 12
    assert len(set(seeds(SMALL).values())) == 12


def test_growing_a_suite_keeps_what_was_played():
    larger = dataclasses.replace(SMALL, episodes_per_cell=5, arms=("sim_iiwa", *SMALL.arms), tasks=("lift", *SMALL.tasks))
    assert seeds(SMALL).items() <= seeds(larger).items()


def test_other_names_are_other_scenes():
    assert not set(seeds(SMALL).values()) & set(seeds(dataclasses.replace(SMALL, name="other")).values())


def test_seeds_are_fixed_for_good():
    assert seeds(SMALL)["sim_panda/reach/0"] == seed_for("eval", "small", "sim_panda", "reach", 0)


def test_tasks_of_the_same_scenes_share_their_seeds():
    found = seeds(dataclasses.replace(SMALL, tasks=("reach_seen", "reach_unseen", "reach_taught")))
    for index in range(3):
        assert found[f"sim_jaco/reach_seen/{index}"] == found[f"sim_jaco/reach_unseen/{index}"]
        assert found[f"sim_jaco/reach_seen/{index}"] != found[f"sim_jaco/reach_taught/{index}"]


def test_arms_come_one_after_the_other():
    order = [episode.arm for episode in episodes(SMALL)]
    assert order == ["sim_panda"] * 6 + ["sim_jaco"] * 6


def test_all_problems_of_a_suite_at_once():
    with pytest.raises(UserError, match=r"arms must be.*episodes_per_cell 0.*max_seconds -1"):
        Suite(name="bad", arms=(), tasks=("reach",), episodes_per_cell=0, max_seconds=-1.0)


def test_find_suite_narrows_without_changing_seeds():
    narrow = find_suite("quick", arms=["sim_jaco"], tasks=["reach"], episodes_per_cell=2)
    assert seeds(narrow).items() <= seeds(SUITES["quick"]).items()
    with pytest.raises(UserError, match="episodes_per_cell 0"):
        find_suite("quick", episodes_per_cell=0)
    with pytest.raises(UserError, match="did you mean 'quick'"):
        find_suite("quik")
    with pytest.raises(UserError, match="unknown arm of suite 'quick' 'sim_jako'"):
        find_suite("quick", arms=["sim_jako"])


def test_the_shipped_suites_name_real_arms():
    from rtx.robots.sim_arms import SIM_ARMS

    assert {arm for suite in SUITES.values() for arm in suite.arms} <= set(SIM_ARMS)


def test_splits_are_the_same_scenes_with_one_thing_changed():
    split = dataclasses.replace(SMALL, splits=("seen", "distractors"))
    found = list(episodes(split))
    assert len({episode.key for episode in found}) == len(found) == split.num_episodes == 24
    for plain in episodes(SMALL):
        alike = [e for e in found if (e.arm, e.task, e.index) == (plain.arm, plain.task, plain.index)]
        assert [e.split for e in alike] == ["seen", "distractors"]
        assert {e.seed for e in alike} == {plain.seed}
    assert found[1].scene == "reach@distractors"
    with pytest.raises(UserError, match=r"splits .* repeat"):
        dataclasses.replace(SMALL, splits=("seen", "seen"))


def test_the_shipped_suites_are_of_tasks_and_splits_that_exist():
    from rtx.eval.sim.splits import SPLITS
    from rtx.eval.sim.tasks import TASKS

    assert {task for suite in SUITES.values() for task in suite.tasks} <= set(TASKS)
    assert SUITES["generalisation"].splits == tuple(SPLITS)
    assert len(SUITES["cross"].tasks) >= 8
    assert len(SUITES["cross"].arms) >= 6
    narrow = find_suite("generalisation", splits=["seen", "distractors"], tasks=["lift"], arms=["sim_jaco"])
    assert narrow.num_episodes == 2 * SUITES["generalisation"].episodes_per_cell
    with pytest.raises(UserError, match="unknown split of suite 'generalisation' 'unseen_object'"):
        find_suite("generalisation", splits=["unseen_object"])
