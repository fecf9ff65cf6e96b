"""The robot as data: what is refused and why, what round-trips, and what a layout sees of it."""

import dataclasses
import json

import numpy as np
import pytest

from rtx.embodiment import (
    CANONICAL,
    CANONICAL_ARM,
    ActionField,
    ActionSpace,
    Camera,
    Embodiment,
    Field,
    Kinematics,
    Layout,
    Limits,
    union_of,
)
from rtx.errors import UserError
from rtx.robots.sim_arms import SIM_ARMS
from rtx.spec import to_json
from rtx.typed_json import from_json


def joint_limits(*, low=(0.0, 0.0), high=(1.0, 1.0), velocity=()) -> Limits:
    limits = SIM_ARMS["sim_panda"].limits
    return dataclasses.replace(limits, joint_low_rad=low, joint_high_rad=high, max_joint_velocity_rad_s=velocity)


def kinematics(**changes) -> Kinematics:
    return Kinematics(**{"source": "file:a.xml", "joints": ("a", "b"), "tip": "hand", "home": (0.5, 0.5), **changes})


def with_kinematics(limits: Limits) -> Embodiment:
    return dataclasses.replace(SIM_ARMS["sim_panda"], limits=limits, kinematics=kinematics())


def test_kinematics_and_joint_limits_survive_json():
    limits = joint_limits(low=(-np.inf, 0.0), high=(np.inf, 1.0), velocity=(1.0, 2.0))
    before = with_kinematics(limits)
    assert from_json(Embodiment, json.loads(json.dumps(to_json(before))), "robot") == before
    assert from_json(Embodiment, to_json(SIM_ARMS["sim_panda"]), "robot").kinematics is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Camera(role="wirst", resolution=(64, 64)), "role 'wirst' is unknown"),
        (lambda: Field(name="eef_rot", width=3, unit="1", rotation="quat_wxyz"), "needs width 4, got 3"),
        (lambda: ActionField(name="x", width=1, unit="m", kind="delta_pos", low=1.0, high=0.0), "must be below"),
        (lambda: ActionField(name="g", width=1, unit="1", kind="gripper", normalize=False), "finite low and high"),
        (lambda: ActionField(name="g", width=1, unit="1", kind="gripper", closed=1.0, opened=1.0), "closed and opened"),
        (lambda: ActionSpace(fields=(*CANONICAL_ARM.fields, CANONICAL_ARM.fields[0])), "distinct field names"),
        (lambda: dataclasses.replace(SIM_ARMS["sim_panda"], control_hz=0.0), "must be positive"),
        (lambda: dataclasses.replace(SIM_ARMS["sim_panda"].limits, max_step_m=-1.0), "max_step_m -1.0 must be positive"),
        (lambda: joint_limits(low=(0.0, 1.0), high=(1.0, 1.0)), r"joint_low_rad\[1\] 1.0 must be below joint_high_rad\[1\]"),
        (lambda: joint_limits(low=(0.0,), high=(1.0, 2.0)), "differ in length"),
        (lambda: joint_limits(low=(0.0, np.nan), high=(1.0, 2.0)), r"joint_low_rad\[1\] nan"),
        (lambda: joint_limits(velocity=(1.0, 0.0)), r"max_joint_velocity_rad_s\[1\] 0.0 must be positive"),
        (lambda: joint_limits(velocity=(1.0,)), "has 1 joints, joint_low_rad has 2"),
        (lambda: kinematics(source="panda.xml"), "robot_descriptions:NAME, robosuite:NAME, file:NAME"),
        (lambda: kinematics(source="file:"), "source 'file:' is none of"),
        (lambda: kinematics(joints=("a", "a")), "must be distinct"),
        (lambda: kinematics(joints=()), "at least one"),
        (lambda: kinematics(tip=""), "tip is empty"),
        (lambda: kinematics(home=(0.0,)), "home has 1 values for 2 joints"),
        (lambda: kinematics(home=(0.0, np.nan)), "not finite"),
        (lambda: with_kinematics(joint_limits(low=(0.0,), high=(1.0,))), "joint_low_rad has 1 values, kinematics has 2 joints"),
        (lambda: with_kinematics(joint_limits(low=(), high=(), velocity=(1.0,))), "max_joint_velocity_rad_s has 1 values"),
    ],
)
def test_a_wrong_record_is_refused_with_its_reason(make, message):
    with pytest.raises(UserError, match=message):
        make()


JOINTS = Layout(
    action=ActionSpace(
        fields=(
            ActionField(name="joints", width=2, kind="joint_delta", unit="rad", frame="joint"),
            CANONICAL_ARM.fields[2],
        )
    ),
    proprio=(Field(name="joints", width=2, unit="rad"),),
)


def test_dimensions_that_a_set_lacks_are_named():
    layout = CANONICAL.without("terminate", "delta_rot.1", "proprio.gripper")
    assert layout.action_mask == (True,) * 4 + (False,) + (True,) * 2 + (False,)
    assert layout.proprio_mask == (True,) * 9 + (False,)
    assert not any(layout.without("proprio").proprio_mask)
    assert from_json(Layout, to_json(layout), "layout") == layout
    with pytest.raises(UserError, match=r"no dimension 'grip'; action has delta_pos.0"):
        layout.without("grip")


def test_one_name_for_two_different_fields_is_refused():
    other = Layout(action=JOINTS.action, proprio=(Field(name="joints", width=3, unit="rad"),))
    with pytest.raises(UserError, match="field 'joints' has two meanings"):
        union_of([JOINTS, other])
