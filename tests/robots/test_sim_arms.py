"""Which simulated arm stands for a robot of a user's own."""

import dataclasses

from rtx.embodiment import Camera
from rtx.robots.sim_arms import SIM_ARMS, arm_for

MINE = dataclasses.replace(SIM_ARMS["sim_ur5e"], name="my_robot")


def test_each_simulated_arm_is_found_under_another_name():
    for name, arm in SIM_ARMS.items():
        assert arm_for(dataclasses.replace(arm, name="mine")) == name


def test_limits_of_its_own_do_not_make_it_another_arm_but_cameras_and_rate_do():
    assert arm_for(dataclasses.replace(MINE, limits=dataclasses.replace(MINE.limits, max_step_m=0.01))) == "sim_ur5e"
    assert arm_for(dataclasses.replace(MINE, control_hz=30.0)) is None
    more = (*MINE.cameras, Camera(role="secondary", resolution=(8, 8)))
    assert arm_for(dataclasses.replace(MINE, cameras=more)) is None
