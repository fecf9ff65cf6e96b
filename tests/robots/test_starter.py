"""The starting file: it is the robot it was made from, passes the check, and never overwrites."""

import dataclasses

import pytest

from rtx.errors import UserError
from rtx.robots.catalogue import ROBOTS
from rtx.robots.check import check_robot
from rtx.robots.starter import starter_text, write_starter
from rtx.robots.user_file import load_robot


@pytest.mark.parametrize("name", sorted(ROBOTS))
def test_the_file_says_what_the_robot_is(tmp_path, name):
    path = tmp_path / "my_robot.py"
    write_starter(path, ROBOTS[name])
    assert load_robot(path) == dataclasses.replace(ROBOTS[name], name="my_robot")


def test_the_usual_one_passes_as_it_stands_and_asks_for_answers(tmp_path):
    path = tmp_path / "my_robot.py"
    write_starter(path, ROBOTS["franka_droid"])
    assert check_robot(load_robot(path), file=path).problems == ()
    assert path.read_text().count("# CHANGE") >= 6
    assert max(map(len, path.read_text().splitlines())) <= 128


def test_texts_with_quotes_survive(tmp_path):
    path = tmp_path / "my_robot.py"
    robot = dataclasses.replace(ROBOTS["franka_droid"], morphology='a "strange" \\ arm')
    path.write_text(starter_text(path, robot))
    assert load_robot(path).morphology == robot.morphology


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "my_robot.py"
    path.write_text("mine")
    with pytest.raises(UserError, match="exists and is left as it is"):
        write_starter(path, ROBOTS["franka_droid"])
    assert path.read_text() == "mine"


@pytest.mark.parametrize(("name", "message"), [("my_robot.txt", r"name it .*my_robot\.py"), ("no/my_robot.py", "is no folder")])
def test_a_place_that_cannot_be(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        write_starter(tmp_path / name, ROBOTS["franka_droid"])
