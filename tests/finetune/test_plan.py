"""From data, robot and wishes to one configuration: modes, steps, rates, their reasons, and what is refused."""

import shutil

import pytest

from rtx.errors import UserError
from rtx.finetune import memory, plan
from rtx.finetune.plan import Asked, make_plan
from tests.finetune.made import TALL, base, mine


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return mine(tmp_path_factory.mktemp("mine"))


def test_a_small_model_is_trained_in_full_at_half_the_rate(known, data):
    made = make_plan(known, data, Asked())
    train, run = made.config.train, made.config.run
    assert made.mode == "full"
    assert (train.freeze, train.lora.rules, train.keep_robots, train.start) == ((), (), True, str(known.path))
    assert train.lr == pytest.approx(known.config.train.lr / 2)
    assert train.num_steps == plan.STEPS[0]  # 14 samples are few
    assert run.watch == "my_robot"
    assert run.patience == plan.PATIENCE
    assert run.eval_every == run.save_every == plan.STEPS[0] // plan.VALIDATIONS
    assert "full: 3 demonstrations, " in made.text()
    assert "first, second: they keep their statistics" in made.text()


def test_many_parameters_and_few_demonstrations_make_adapters_unless_memory_is_short(known, data, monkeypatch):
    monkeypatch.setattr(plan, "MANY", 1000)
    made = make_plan(known, data, Asked())
    assert made.mode == "lora"
    assert made.config.train.lr == plan.LR["lora"]
    assert made.config.train.lora.rules == made.config.train.freeze
    monkeypatch.setattr(memory, "there", lambda: 1_200_000)
    assert make_plan(known, data, Asked()).mode == "head"
    monkeypatch.setattr(memory, "there", lambda: 1000)
    made = make_plan(known, data, Asked())
    assert made.mode == "head"
    assert "may be too little" in made.reasons["mode"]


def test_what_is_asked_for_is_done(known, data):
    asked = Asked(mode="frozen_vision", steps=40, lr=0.5, seed=3, settings=("data.batch_size=2", "run.patience=0"))
    config = make_plan(known, data, asked).config
    assert config.train.freeze == ("^(image_tokenizer|points_)",)
    assert (config.train.num_steps, config.train.lr, config.run.seed) == (40, 0.5, 3)
    assert (config.data.batch_size, config.run.patience) == (2, 0)


def test_a_share_of_the_old_data_keeps_its_own_proportions(known, data):
    sets = make_plan(known, data, Asked(keep=0.3)).config.data.sets
    assert [one.weight for one in sets] == pytest.approx([0.1, 0.2, 0.7])
    assert sets[-1].prepared == str(data.path)
    with pytest.raises(UserError, match=r"--keep 1.0: the share"):
        make_plan(known, data, Asked(keep=1.0))


def test_old_data_that_are_gone_are_named(tmp_path, data):
    gone = base(tmp_path)
    shutil.rmtree(tmp_path / "data" / "first")
    with pytest.raises(UserError, match=r"1 of the 2 data sets .* cannot be read any more:\n  .*first"):
        make_plan(gone, data, Asked(keep=0.5))
    assert make_plan(gone, data, Asked()).config.data.sets[0].prepared == str(data.path)


def test_another_action_space_takes_a_new_head_and_nothing_less(known, tmp_path):
    tall = mine(tmp_path, layout=TALL)
    made = make_plan(known, tall, Asked())
    assert made.mode == "new_head"
    assert "it is commanded by lift" in made.reasons["mode"]
    train = made.config.train
    assert not train.keep_robots
    assert "^Transformer_0/Dense_2/kernel$" in train.start_without
    assert made.config.model.action_dims == 9
    with pytest.raises(UserError, match=r"mode lora keeps the checkpoint's head.*lift.*Take --mode new_head"):
        make_plan(known, tall, Asked(mode="lora"))


def test_a_new_head_sees_through_all_of_the_robots_cameras(known, tmp_path):
    made = make_plan(known, mine(tmp_path, roles=("primary", "wrist")), Asked(mode="new_head"))
    assert made.config.data.roles == ("primary", "wrist")
    assert not any("image_tokenizer_primary/" in rule for rule in made.config.train.start_without)


def test_from_scratch_is_the_same_network_without_the_checkpoint(known, data):
    made = make_plan(known, data, Asked(from_scratch=True))
    tuned = make_plan(known, data, Asked())
    assert made.config.train.start == ""
    assert made.config.model == tuned.config.model
    assert made.config.train.num_steps == tuned.config.train.num_steps
    assert made.config.train.lr == known.config.train.lr
    with pytest.raises(UserError, match="leave --mode and --keep out"):
        make_plan(known, data, Asked(from_scratch=True, keep=0.5))
