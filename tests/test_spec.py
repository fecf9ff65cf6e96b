"""The contract: what is refused, what round-trips, and that normalisation cannot drift from its inverse."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rtx import spec
from rtx.errors import UserError, WorldError
from rtx.robots.sim_arms import SIM_ARMS
from rtx.typed_json import from_json

WIDTH = spec.CANONICAL_ARM.width


def statistics(q01: np.ndarray, q99: np.ndarray) -> spec.FieldStatistics:
    zero = tuple(np.zeros(len(q01)))
    return spec.FieldStatistics(mean=zero, std=zero, min=zero, max=zero, q01=tuple(q01), q99=tuple(q99), count=10)


def contract() -> spec.Contract:
    action = statistics(np.full(WIDTH, -0.05), np.full(WIDTH, 0.07))
    proprio = statistics(np.full(10, -1.0), np.full(10, 1.0))
    one = spec.Statistics(action=action, proprio=proprio, num_episodes=3, source="abc")
    return spec.Contract(
        roles=("primary", "wrist"), image_size=(64, 64), fit="pad", history=1, chunk=4,
        embodiments=SIM_ARMS, layouts=dict.fromkeys(SIM_ARMS, spec.CANONICAL), statistics=dict.fromkeys(SIM_ARMS, one),
    )  # fmt: skip


def joint_limits(*, low=(0.0, 0.0), high=(1.0, 1.0), velocity=()) -> spec.Limits:
    limits = SIM_ARMS["sim_panda"].limits
    return dataclasses.replace(limits, joint_low_rad=low, joint_high_rad=high, max_joint_velocity_rad_s=velocity)


def kinematics(**changes) -> spec.Kinematics:
    return spec.Kinematics(**{"source": "file:a.xml", "joints": ("a", "b"), "tip": "hand", "home": (0.5, 0.5), **changes})


def with_kinematics(limits: spec.Limits) -> spec.Embodiment:
    return dataclasses.replace(SIM_ARMS["sim_panda"], limits=limits, kinematics=kinematics())


def test_kinematics_and_joint_limits_survive_json():
    limits = joint_limits(low=(-np.inf, 0.0), high=(np.inf, 1.0), velocity=(1.0, 2.0))
    before = with_kinematics(limits)
    assert from_json(spec.Embodiment, json.loads(json.dumps(spec.to_json(before))), "robot") == before
    assert from_json(spec.Embodiment, spec.to_json(SIM_ARMS["sim_panda"]), "robot").kinematics is None


@given(hnp.arrays(np.float32, (5, WIDTH), elements=st.floats(-1, 1, width=32)))
def test_inverse_then_forward_is_the_identity_in_model_space(y):
    normalizer = spec.action_normalizer(
        spec.CANONICAL_ARM, statistics(np.linspace(-0.3, -0.1, WIDTH), np.linspace(0.05, 0.4, WIDTH))
    )
    # float32: the offset (up to 0.5) and scale (at least 0.1) lose at most 2 ulp of 0.5 / 0.1
    np.testing.assert_allclose(normalizer.forward(normalizer.inverse(y)), y, atol=2e-6)


def test_quantiles_map_to_the_ends_and_beyond_is_clipped():
    normalizer = spec.action_normalizer(spec.CANONICAL_ARM, statistics(np.full(WIDTH, -0.02), np.full(WIDTH, 0.06)))
    x = np.array([[-0.02, 0.06, 0.02, 9.0, -9.0, 0.0, 1.0, 0.0]], np.float32)
    np.testing.assert_allclose(normalizer.forward(x), [[-1, 1, 0, 1, -1, -0.5, 1, -1]], atol=1e-6)


def test_gripper_and_terminate_use_their_bounds_whatever_the_statistics_say():
    one = spec.action_normalizer(spec.CANONICAL_ARM, statistics(np.zeros(WIDTH), np.ones(WIDTH)))
    other = spec.action_normalizer(spec.CANONICAL_ARM, statistics(np.full(WIDTH, 0.2), np.full(WIDTH, 0.3)))
    np.testing.assert_array_equal(one.scale[6:], other.scale[6:])


def test_a_dimension_that_never_changes_keeps_its_constant():
    normalizer = spec.proprio_normalizer(statistics(np.array([0.4, 0.0]), np.array([0.4, 1.0])))
    assert normalizer.forward(np.array([0.7, 0.5]))[0] == 0
    assert normalizer.inverse(np.array([1.0, 0.0]))[0] == np.float32(0.4)


def test_statistics_of_another_width_are_refused():
    with pytest.raises(UserError, match="7 action dimensions, the action space has 8"):
        spec.action_normalizer(spec.CANONICAL_ARM, statistics(np.zeros(7), np.ones(7)))


def test_a_contract_survives_json():
    before = contract()
    after = from_json(spec.Contract, json.loads(json.dumps(spec.to_json(before))), "contract")
    assert after == before
    assert after.fingerprint() == before.fingerprint()


def test_the_fingerprint_sees_every_leaf():
    before = contract()
    panda = dataclasses.replace(SIM_ARMS["sim_panda"], control_hz=6.0)
    after = dataclasses.replace(before, embodiments={**SIM_ARMS, "sim_panda": panda})
    assert after.fingerprint() != before.fingerprint()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: spec.Camera(role="wirst", resolution=(64, 64)), "role 'wirst' is unknown"),
        (lambda: spec.Field(name="eef_rot", width=3, unit="1", rotation="quat_wxyz"), "needs width 4, got 3"),
        (lambda: spec.ActionField(name="x", width=1, unit="m", kind="delta_pos", low=1.0, high=0.0), "must be below"),
        (lambda: spec.ActionField(name="g", width=1, unit="1", kind="gripper", normalize=False), "finite low and high"),
        (lambda: spec.ActionField(name="g", width=1, unit="1", kind="gripper", closed=1.0, opened=1.0), "closed and opened"),
        (lambda: spec.ActionSpace(fields=(*spec.CANONICAL_ARM.fields, spec.CANONICAL_ARM.fields[0])), "distinct field names"),
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


def test_the_fingerprint_sees_the_order_of_the_data_sets():
    before = contract()
    turned = {name: dict(reversed(list(getattr(before, name).items()))) for name in ("embodiments", "layouts", "statistics")}
    assert dataclasses.replace(before, **turned).fingerprint() != before.fingerprint()
    with pytest.raises(UserError, match="same data sets in the same order"):
        dataclasses.replace(before, embodiments=turned["embodiments"])


JOINTS = spec.Layout(
    action=spec.ActionSpace(
        fields=(
            spec.ActionField(name="joints", width=2, kind="joint_delta", unit="rad", frame="joint"),
            spec.CANONICAL_ARM.fields[2],
        )
    ),
    proprio=(spec.Field(name="joints", width=2, unit="rad"),),
)


def test_dimensions_that_a_set_lacks_are_named():
    layout = spec.CANONICAL.without("terminate", "delta_rot.1", "proprio.gripper")
    assert layout.action_mask == (True,) * 4 + (False,) + (True,) * 2 + (False,)
    assert layout.proprio_mask == (True,) * 9 + (False,)
    assert not any(layout.without("proprio").proprio_mask)
    assert from_json(spec.Layout, spec.to_json(layout), "layout") == layout
    with pytest.raises(UserError, match=r"no dimension 'grip'; action has delta_pos.0"):
        layout.without("grip")


def test_a_mixture_of_robots_sees_every_field_once_and_each_set_keeps_its_own():
    arm, joints = contract().statistics["sim_panda"], statistics(np.array([-1.0, -2, 0]), np.array([1.0, 2, 1]))
    both = dataclasses.replace(
        contract(),
        embodiments={"joints": SIM_ARMS["sim_ur5e"], "arm": SIM_ARMS["sim_panda"]},
        layouts={"joints": JOINTS, "arm": spec.CANONICAL.without("terminate")},
        statistics={
            "joints": spec.Statistics(action=joints, proprio=statistics(-np.ones(2), np.ones(2)), num_episodes=1, source=""),
            "arm": arm,
        },
    )
    assert [f.name for f in both.action.fields] == ["delta_pos", "delta_rot", "gripper", "terminate", "joints"]
    assert [f.name for f in both.proprio] == ["eef_pos", "eef_rot", "gripper", "joints"]
    assert both.action_mask("joints").tolist() == [False] * 6 + [True, False, True, True]
    assert both.action_mask("arm").tolist() == [True] * 7 + [False] * 3
    native = np.array([[0.5, -1.0, 1.0]], np.float32)
    seen = both.action_normalizer("joints").forward(native)
    np.testing.assert_allclose(seen, [[0, 0, 0, 0, 0, 0, 1, 0, 0.5, -0.5]])
    np.testing.assert_allclose(both.action_normalizer("joints").inverse(seen), native)
    assert both.proprio_normalizer("joints").forward(np.ones((4, 2), np.float32)).shape == (4, 12)
    assert from_json(spec.Contract, json.loads(json.dumps(spec.to_json(both))), "contract") == both


def test_one_name_for_two_different_fields_is_refused():
    other = spec.Layout(action=JOINTS.action, proprio=(spec.Field(name="joints", width=3, unit="rad"),))
    with pytest.raises(UserError, match="field 'joints' has two meanings"):
        spec.union_of([JOINTS, other])


def observation(**changes: object) -> spec.Observation:
    fields = {
        "images": {"primary": np.zeros((1, 8, 8, 3), np.uint8)}, "image_mask": {"primary": np.ones(1, bool)},
        "proprio": np.zeros((1, 10), np.float32), "instruction": "reach the red cube", "stamp_ns": 0,
    }  # fmt: skip
    return spec.Observation(**{**fields, **changes})


def test_observations_that_would_mislead_a_policy_are_refused():
    with pytest.raises(UserError, match=r"camera 'primary': got float32\[8, 8, 3\]"):
        observation(images={"primary": np.zeros((8, 8, 3), np.float32)})
    with pytest.raises(UserError, match="non-finite"):
        observation(proprio=np.full((1, 10), np.nan, np.float32))


def test_an_action_chunk_never_carries_nan():
    with pytest.raises(WorldError, match="hold still"):
        spec.ActionChunk(
            actions=np.full((2, WIDTH), np.nan, np.float32), names=spec.CANONICAL_ARM.dim_names, control_hz=5.0, stamp_ns=0,
            valid_until_ns=1,
        )  # fmt: skip
