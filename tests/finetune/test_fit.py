"""Does a robot fit a checkpoint: by the union of their layouts and by cameras; data of another robot are refused."""

import dataclasses

import pytest

from rtx.embodiment import CANONICAL, Field
from rtx.errors import UserError
from rtx.finetune.fit import check_robot, fit_of, remade
from tests.finetune.made import TALL, base, mine


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return base(tmp_path_factory.mktemp("base"))


def test_a_robot_of_the_same_numbers_fits(known, tmp_path):
    fit = fit_of(known.contract, mine(tmp_path))
    assert (fit.misfit, fit.unused_cameras, fit.lacking_cameras) == ("", (), ())
    assert fit.lines() == []


def test_a_part_of_the_union_fits(known, tmp_path):
    assert fit_of(known.contract, mine(tmp_path, layout=CANONICAL.without("delta_rot"))).misfit == ""


def test_further_actions_and_state_do_not_fit_and_are_named(known, tmp_path):
    felt = dataclasses.replace(TALL, proprio=(*TALL.proprio, Field(name="height", width=1, unit="m")), proprio_mask=())
    misfit = fit_of(known.contract, mine(tmp_path, layout=felt)).misfit
    assert misfit == "it is commanded by lift and its state has height, which no robot of the checkpoint has"


def test_one_name_with_two_meanings_does_not_fit(known, tmp_path):
    other = dataclasses.replace(CANONICAL.action.fields[0], unit="cm")
    space = dataclasses.replace(CANONICAL.action, fields=(other, *CANONICAL.action.fields[1:]))
    assert "two meanings" in fit_of(known.contract, mine(tmp_path, layout=dataclasses.replace(CANONICAL, action=space))).misfit


def test_cameras_that_only_one_of_them_has_are_told(known, tmp_path):
    fit = fit_of(known.contract, mine(tmp_path, roles=("primary", "wrist")))
    assert fit.unused_cameras == ("wrist",)
    assert "wrist not used" in fit.lines()[0]
    two = dataclasses.replace(known.contract, roles=("primary", "secondary"))
    assert fit_of(two, mine(tmp_path / "again")).lacking_cameras == ("secondary",)
    with pytest.raises(UserError, match="looks through secondary, the robot has primary"):
        fit_of(dataclasses.replace(known.contract, roles=("secondary",)), mine(tmp_path / "none"))


def test_data_of_another_robot_are_refused(tmp_path):
    prepared = mine(tmp_path)
    check_robot(prepared.embodiment, prepared)
    slower = dataclasses.replace(prepared.embodiment, control_hz=1.0)
    with pytest.raises(UserError, match=r"not of the robot 'sim_panda':\n  rate: the file has 1 Hz, the data 5 Hz"):
        check_robot(slower, prepared)
    other = dataclasses.replace(prepared.embodiment, proprio=prepared.embodiment.proprio[:1])
    with pytest.raises(UserError, match="state: the file has"):
        check_robot(other, prepared)


def test_a_new_head_is_as_wide_as_the_action_and_chooses_what_is_open_or_shut(known):
    config = remade(known, TALL.action, 11)
    assert (config.action_dims, config.proprio_dims, config.categorical_dims) == (9, 11, (6, 7))
