"""Layouts of robots that are no single arm: one name, one definition, in the whole catalogue."""

import numpy as np

from rtx.data.oxe import OXE
from rtx.data.oxe.bimanual import arc
from rtx.data.oxe.layouts import ARM_AND_BASE, BASE, TWO_ARMS, joints
from rtx.embodiment import CANONICAL_ARM, CANONICAL_PROPRIO, union_of
from rtx.robots import fields


def test_all_data_sets_fit_into_one_mixture():
    """A name with two meanings would raise; the canonical fields come first."""
    action, proprio = union_of([record.layout for record in OXE.values()])
    assert action.fields[: len(CANONICAL_ARM.fields)] == CANONICAL_ARM.fields
    assert proprio[: len(CANONICAL_PROPRIO)] == CANONICAL_PROPRIO


def test_robots_with_other_parts_add_fields_and_change_none():
    assert ARM_AND_BASE.action.fields[:4] == TWO_ARMS.action.fields[:4] == CANONICAL_ARM.fields
    assert ARM_AND_BASE.action.fields[4:] == BASE.action.fields == fields.base_delta()
    assert (ARM_AND_BASE.action.width, BASE.action.width, TWO_ARMS.action.width) == (11, 3, 15)
    assert (BASE.proprio_width, TWO_ARMS.proprio_width) == (4, 20)
    for field, same in zip(TWO_ARMS.action.fields[4:], CANONICAL_ARM.fields, strict=False):
        assert (field.name, field.width, field.unit, field.kind) == (f"left_{same.name}", same.width, same.unit, same.kind)


def test_joints_are_followed_by_the_canonical_gripper():
    layout = joints(fields.joint_delta(7), proprio=(fields.joint_state(7),))
    assert layout.action.dim_names == (*(f"joint_delta_7.{i}" for i in range(7)), "gripper")
    assert layout.action.fields[-1] == CANONICAL_ARM.fields[2]


def test_an_arc_is_what_many_small_steps_drive():
    way, turn, n = 0.4, 1.3, 20_000
    yaw = (np.arange(n) + 0.5) / n * turn
    driven = np.stack([np.cos(yaw), np.sin(yaw)]).sum(-1) * way / n
    np.testing.assert_allclose(arc(np.array([way, 0.4]), np.array([turn, 0.0])), [[*driven, turn], [0.4, 0, 0]], atol=1e-9)
