"""What the trainings have in common and what they differ in: the data of their arms, and where they begin."""

import dataclasses
from pathlib import Path

import pytest

from rtx.errors import UserError
from rtx.eval.sim.arms import find_arm
from rtx.eval.sim.record import record_sim
from rtx.reproduce import EXPERIMENTS, reproduce
from rtx.reproduce.rtx_transfer import FEW, MANY, MIXTURE, NEW, PRESETS, TASKS, train_config
from rtx.train.config import TrainConfig


def folders(config: TrainConfig) -> list[str]:
    return [str(Path(one.prepared).relative_to("OUT/prepared")) for one in config.data.sets]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_mixture_and_the_policies_of_one_arm_differ_in_their_data_only(preset):
    plan, out = PRESETS[preset], Path("OUT")
    mixture = train_config(out, plan, 1, MIXTURE)
    alone = [train_config(out, plan, 1, arm) for arm in plan.arms]
    assert folders(mixture) == [folder for config in alone for folder in folders(config)]
    assert {one.weight for one in mixture.data.sets} == {1.0}
    for config in alone:
        assert dataclasses.replace(config, data=dataclasses.replace(config.data, sets=mixture.data.sets)) == mixture
        assert len(config.data.sets) == 1
    assert not mixture.train.start


@pytest.mark.parametrize("preset", PRESETS)
def test_on_the_new_arm_the_trainings_differ_in_their_beginning_only(preset):
    plan, out = PRESETS[preset], Path("OUT")
    for count in plan.new:
        tuned, scratch = (train_config(out, plan, 1, f"{kind}-{count}") for kind in ("tuned", "scratch"))
        assert folders(tuned) == folders(scratch) == [f"new-{count}-1/{NEW}"]
        assert tuned.train.start == "OUT/runs/1/mixture"
        assert tuned.train.keep_robots
        fresh = dataclasses.replace(tuned.train, start="", keep_robots=False)
        assert dataclasses.replace(tuned, train=fresh) == scratch


def test_a_seed_has_demonstrations_and_a_beginning_of_its_own_where_they_are_few():
    plan = PRESETS["default"]
    first, second = plan.demonstrations(0), plan.demonstrations(1)
    assert first.keys() & second.keys() == {"many"}
    assert {recorder for folder, (recorder, _) in first.items() if folder != "many"} == {1}
    assert {recorder for folder, (recorder, _) in second.items() if folder != "many"} == {2}
    configs = [train_config(Path("OUT"), plan, seed, MIXTURE) for seed in (0, 1)]
    assert [(config.data.seed, config.run.seed) for config in configs] == [(0, 0), (1, 1)]


def test_the_arms_are_there_and_the_new_one_is_not_among_the_mixtures():
    assert len({*FEW, *MANY, NEW}) == len(FEW) + len(MANY) + 1
    assert [find_arm(arm).name for arm in (*FEW, *MANY, NEW)] == [*FEW, *MANY, NEW]
    assert all(plan.few < plan.many for plan in PRESETS.values())


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_recorded(tmp_path, preset):
    """As far as it can be said without recording: the recorder refuses what comes after everything that it is given here."""
    for _, counts in PRESETS[preset].demonstrations(0).values():
        with pytest.raises(UserError, match=r"^record sim: num_workers 0: expected at least 1$"):
            record_sim(tmp_path, arms=tuple(counts), episodes_per_arm=counts, tasks=TASKS, num_workers=0)


def test_names_that_there_are_not(tmp_path):
    with pytest.raises(UserError, match="unknown preset 'shor'"):
        reproduce("rtx-transfer", tmp_path, preset="shor")
    with pytest.raises(UserError, match="rt2-cotraining, rtx-transfer"):
        reproduce("rtx", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert all(EXPERIMENTS.values())


def test_a_folder_of_another_size_is_left_alone(tmp_path):
    (tmp_path / "experiment.json").write_text('{"preset": "long"}')
    with pytest.raises(UserError, match="holds a rtx-transfer of preset 'long'"):
        reproduce("rtx-transfer", tmp_path, preset="smoke")
