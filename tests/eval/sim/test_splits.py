"""The splits change one thing of a scene and leave the rest. No simulator."""

from dataclasses import replace

import numpy as np
import pytest

from rtx.errors import UserError
from rtx.eval.sim.objects import BENCH, KNOB, PROPS, TABLE, UNSEEN
from rtx.eval.sim.splits import SPLITS, find_task
from rtx.eval.sim.tasks import TASKS, clear_of_push

_SEEDS = range(20)


def pairs(task: str, split: str):
    """Layouts of the task and of the split, scene by scene; and what is drawn after them is the same."""
    for seed in _SEEDS:
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        yield find_task(task).sample(one), find_task(f"{task}@{split}").sample(other)
        assert one.random() == other.random()


@pytest.mark.parametrize("task", TASKS)
def test_seen_is_the_task_itself(task):
    assert all(plain == seen for plain, seen in pairs(task, "seen"))
    assert find_task(f"{task}@seen").table == TASKS[task].table


@pytest.mark.parametrize("task", TASKS)
def test_distractors_are_in_nobodys_way_and_of_other_colours(task):
    numbers = []
    for plain, crowded in pairs(task, "distractors"):
        numbers.append(len(crowded.clutter))
        assert replace(crowded, clutter=()) == plain
        assert len({thing.body for thing in crowded.things}) == len(crowded.things)
        assert {thing.body for thing in crowded.clutter} <= {*UNSEEN, *PROPS}
        assert not {thing.colour for thing in crowded.clutter if thing.colour} & {thing.colour for thing in plain.things}
        for thing in crowded.clutter:
            gaps = [np.linalg.norm(np.array(thing.xy) - other.xy) for other in (*plain.cubes, *plain.props)]
            assert min(gaps) >= 0.1
            if plain.target is not None and plain.direction:
                assert clear_of_push(np.array(thing.xy) - plain.target_cube.xy, np.array(plain.direction))
    assert min(numbers) >= 2
    assert np.mean(numbers) > 3.5


@pytest.mark.parametrize("task", TASKS)
def test_an_unseen_object_takes_the_targets_place_and_is_called_by_its_name(task):
    bodies = set()
    for plain, changed in pairs(task, "unseen_objects"):
        bodies.add(changed.target_body)
        if plain.target is None:
            assert changed == replace(plain, handle=KNOB)
            continue
        body = changed.target_body
        assert changed.target_cube == replace(plain.target_cube, body=body)
        assert f" {body}" in changed.instruction
        assert changed.instruction == plain.instruction.replace("cube", body, 1)
    assert bodies == ({KNOB} if "drawer" in task else set(UNSEEN))


@pytest.mark.parametrize("task", TASKS)
def test_backgrounds_and_words_change_nothing_else(task):
    for plain, changed in pairs(task, "unseen_backgrounds"):
        assert changed.cloth
        assert replace(changed, cloth="") == plain
    said = set()
    for plain, changed in pairs(task, "unseen_instructions"):
        assert replace(changed, form=plain.form) == plain
        assert changed.form in TASKS[task].unseen_forms
        said.add(changed.form)
    assert said == set(TASKS[task].unseen_forms)


def test_scenes_are_shared_and_set_where_what_they_need_is():
    for split in SPLITS:
        task = find_task(f"lift@{split}")
        assert (task.name, task.scenes, task.skill) == (f"lift@{split}", "lift", "lift")
        assert task.table == (TABLE if split in ("seen", "unseen_instructions") else BENCH)


@pytest.mark.parametrize(
    ("name", "says"),
    [("lifd", "did you mean 'lift'"), ("lift@distractor", "did you mean 'distractors'"), ("lift@", "unknown split")],
)
def test_mistakes_are_named(name, says):
    with pytest.raises(UserError, match=says):
        find_task(name)
