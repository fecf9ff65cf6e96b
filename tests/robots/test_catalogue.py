"""The robots rtx knows: every label of the paper, one home for what data sets say of them, figures of the description."""

import numpy as np
import pytest

from rtx.data.oxe import OXE
from rtx.robots import catalogue, hardware
from rtx.robots.descriptions import load_arm
from rtx.robots.kinematics import ArmKinematics
from rtx.robots.oxe import OXE_LABELS

LABELS = {
    "Cobotta", "DLR EDAN", "DLR SARA", "Fanuc Mate", "Franka", "Google Robot", "Hello Stretch", "Jackal", "Jaco 2",
    "Kinova Gen3", "Kuka iiwa", "Multi-Robot (RoboNet)", "PR2", "RC Car", "Sawyer", "TurtleBot 2", "UR5", "Unitree A1",
    "WidowX", "xArm", "xArm Bimanual",
}  # fmt: skip
FROM_ROBOSUITE = {
    name: arm for name, arm in hardware.HARDWARE.items() if arm.kinematics and arm.kinematics.source.startswith("robosuite:")
}


def test_every_label_has_a_robot_and_so_have_the_later_ones():
    assert set(OXE_LABELS) == LABELS
    assert {"franka_droid", "franka_droid_joints", "aloha", "aloha_mobile", "so100", "so101"} <= set(catalogue.ROBOTS)
    assert all(name == robot.name for name, robot in catalogue.ROBOTS.items())


def test_a_robot_has_one_home():
    """A data set recorded with a robot of the catalogue holds that very record; two that only resemble it have other names."""
    of_data = {record.embodiment.name: record.embodiment for record in OXE.values() if record.name != "bridge_dataset"}
    shared = of_data.keys() & catalogue.ROBOTS.keys()
    assert len(shared) >= 22
    assert all(of_data[name] is catalogue.ROBOTS[name] for name in shared)


@pytest.mark.parametrize("name", sorted(hardware.HARDWARE))
def test_limits_name_their_source_and_fit_their_joints(name):
    arm, limits = hardware.HARDWARE[name], hardware.limits(name, 10.0)
    assert (arm.joint_source or "limits not known") in limits.source
    assert arm.kinematics or arm.description in limits.source
    assert bool(arm.joint_low_rad) == bool(arm.joint_source)
    if arm.kinematics:
        assert len(arm.kinematics.joints) == len(limits.joint_low_rad)
        inside = zip(limits.joint_low_rad, arm.kinematics.home, limits.joint_high_rad, strict=True)
        assert all(low <= at <= high for low, at, high in inside)


@pytest.mark.parametrize("name", sorted(FROM_ROBOSUITE))
def test_joint_limits_are_those_of_the_description_they_name(name):
    arm = FROM_ROBOSUITE[name]
    model = load_arm(arm.kinematics)
    for joint, low, high in zip(arm.kinematics.joints, arm.joint_low_rad, arm.joint_high_rad, strict=True):
        # copied with four digits
        assert model.joint(joint).range == pytest.approx([low, high], abs=6e-5)


@pytest.mark.parametrize("name", sorted(FROM_ROBOSUITE))
def test_home_is_a_place_to_start_from(name):
    arm = FROM_ROBOSUITE[name]
    joints, solver = np.array(arm.kinematics.home), ArmKinematics(arm.kinematics)
    assert solver.manipulability(joints) > 0.03  # well away from a singularity (0)
    assert 0.2 < np.linalg.norm(solver.pose(joints).position) < arm.reach_m


def test_the_list_has_a_row_for_each_robot():
    lines = catalogue.list_text().splitlines()
    assert len(lines) == len(catalogue.ROBOTS) + 2
    assert next(line for line in lines if line.startswith("jaco_play ")).split("  ")[1:] != []
    assert "Jaco 2" in next(line for line in lines if line.startswith("jaco_play "))


def test_show_tells_joints_limits_and_sources():
    text = catalogue.show_text(catalogue.find("franka_droid_joints"))
    assert "robosuite:Panda: gripper point 'right_hand', poses in body 'link0'" in text
    row = next(line.split() for line in text.splitlines() if line.split()[:1] == ["joint4"])
    assert row == ["joint4", "-3.072", "-0.0698", "2.175", "-2.618"]
    assert "angles from robosuite:Panda" in text


def test_show_says_where_nothing_is_known():
    text = catalogue.show_text(catalogue.find("cobotta_lsmo"))
    assert "none that rtx loads" in text
    assert "limits not known" in text
    assert "none in robot_descriptions or robosuite" in " ".join(text.split())


def test_show_tells_of_a_joint_that_turns_on():
    text = catalogue.show_text(catalogue.find("kinova_d3field"))
    assert next(line for line in text.splitlines() if "joint_1 " in line).split()[1:5] == ["turns", "on", "turns", "on"]
