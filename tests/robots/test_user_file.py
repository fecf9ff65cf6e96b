"""A user's robot file: what loads, and how an error names its line."""

import os
import sys

import pytest

from rtx.errors import UserError
from rtx.robots import catalogue
from rtx.robots.sim_arms import SIM_ARMS
from rtx.robots.user_file import load_robot

FROM_OURS = "import dataclasses\nfrom rtx.embodiment import Kinematics\nfrom rtx.robots.sim_arms import SIM_ARMS\n\n"
MINE = FROM_OURS + "ROBOT = dataclasses.replace(SIM_ARMS['sim_panda'], name='mine')\n"


def written(tmp_path, text):
    path = tmp_path / "my_robot.py"
    path.write_text(text)
    return path


def test_a_file_stands_wherever_a_name_does(tmp_path):
    robot = catalogue.find(str(written(tmp_path, MINE)))
    assert robot.name == "mine"
    assert robot.action == SIM_ARMS["sim_panda"].action


def test_a_description_is_looked_for_beside_the_file(tmp_path):
    text = FROM_OURS + "arm = Kinematics(source='file:arm.xml', joints=('a',), tip='t')\n"
    text += "ROBOT = dataclasses.replace(SIM_ARMS['sim_panda'], kinematics=arm)\n"
    assert load_robot(written(tmp_path, text)).kinematics.source == f"file:{tmp_path / 'arm.xml'}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ROBOT = (\n", r"my_robot\.py, line 1: SyntaxError: '\(' was never closed: ROBOT = \("),
        ("\n\nimport no_such_package\n", r"my_robot\.py, line 3: ModuleNotFoundError: .*no_such_package"),
        (
            FROM_OURS + "limits = dataclasses.replace(SIM_ARMS['sim_panda'].limits, max_step_m=0.0)\n",
            r"my_robot\.py, line 5: limits: max_step_m 0.0 must be positive",
        ),
        (FROM_OURS + "def inner():\n    raise ValueError('x')\n\ninner()\n", r"my_robot\.py, line 6: ValueError: x"),
        ("x = 1\n", r"must define ROBOT = Embodiment\(\.\.\.\) .* nothing of that name"),
        ("ROBOT = 3\n", r"ROBOT is a int"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        load_robot(written(tmp_path, text))


def test_a_missing_file_and_an_unknown_name_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"rtx robots new my_robot\.py"):
        catalogue.find(str(tmp_path / "nothing.py"))
    with pytest.raises(UserError, match="did you mean 'jaco_play'"):
        catalogue.find("jaco_plai")


def test_an_edit_counts_at_once(tmp_path, monkeypatch):
    """Within the same second and of the same length: bytecode cached by Python would be taken for it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = written(tmp_path, MINE)
    os.utime(path, (1e9, 1e9))
    assert load_robot(path).name == "mine"
    path.write_text(MINE.replace("mine", "ours"))
    os.utime(path, (1e9, 1e9))
    assert load_robot(path).name == "ours"


def test_a_file_may_have_dataclasses_of_its_own(tmp_path):
    own = "from __future__ import annotations\n@dataclasses.dataclass\nclass Own:\n    width: int = 3\n"
    text = own.replace("annotations\n", "annotations\nimport dataclasses\n") + MINE
    assert load_robot(written(tmp_path, text)).name == "mine"
