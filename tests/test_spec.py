"""The contract: what is refused, what round-trips, and that normalisation cannot drift from its inverse."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rtx.embodiment import CANONICAL, CANONICAL_ARM
from rtx.errors import UserError, WorldError
from rtx.robots.sim_arms import SIM_ARMS
from rtx.spec import (
    ActionChunk,
    Contract,
    FieldStatistics,
    Observation,
    Statistics,
    action_normalizer,
    proprio_normalizer,
    to_json,
)
from rtx.typed_json import from_json
from tests.test_embodiment import JOINTS

WIDTH = CANONICAL_ARM.width


def statistics(q01: np.ndarray, q99: np.ndarray) -> FieldStatistics:
    zero = tuple(np.zeros(len(q01)))
    return FieldStatistics(mean=zero, std=zero, min=zero, max=zero, q01=tuple(q01), q99=tuple(q99), count=10)


def contract() -> Contract:
    action = statistics(np.full(WIDTH, -0.05), np.full(WIDTH, 0.07))
    proprio = statistics(np.full(10, -1.0), np.full(10, 1.0))
    one = Statistics(action=action, proprio=proprio, num_episodes=3, source="abc")
    return Contract(
        roles=("primary", "wrist"), image_size=(64, 64), fit="pad", history=1, chunk=4,
        embodiments=SIM_ARMS, layouts=dict.fromkeys(SIM_ARMS, CANONICAL), statistics=dict.fromkeys(SIM_ARMS, one),
    )  # fmt: skip


@given(hnp.arrays(np.float32, (5, WIDTH), elements=st.floats(-1, 1, width=32)))
def test_inverse_then_forward_is_the_identity_in_model_space(y):
    normalizer = action_normalizer(CANONICAL_ARM, statistics(np.linspace(-0.3, -0.1, WIDTH), np.linspace(0.05, 0.4, WIDTH)))
    # float32: the offset (up to 0.5) and scale (at least 0.1) lose at most 2 ulp of 0.5 / 0.1
    np.testing.assert_allclose(normalizer.forward(normalizer.inverse(y)), y, atol=2e-6)


def test_quantiles_map_to_the_ends_and_beyond_is_clipped():
    normalizer = action_normalizer(CANONICAL_ARM, statistics(np.full(WIDTH, -0.02), np.full(WIDTH, 0.06)))
    x = np.array([[-0.02, 0.06, 0.02, 9.0, -9.0, 0.0, 1.0, 0.0]], np.float32)
    np.testing.assert_allclose(normalizer.forward(x), [[-1, 1, 0, 1, -1, -0.5, 1, -1]], atol=1e-6)


def test_gripper_and_terminate_use_their_bounds_whatever_the_statistics_say():
    one = action_normalizer(CANONICAL_ARM, statistics(np.zeros(WIDTH), np.ones(WIDTH)))
    other = action_normalizer(CANONICAL_ARM, statistics(np.full(WIDTH, 0.2), np.full(WIDTH, 0.3)))
    np.testing.assert_array_equal(one.scale[6:], other.scale[6:])


def test_a_dimension_that_never_changes_keeps_its_constant():
    normalizer = proprio_normalizer(statistics(np.array([0.4, 0.0]), np.array([0.4, 1.0])))
    assert normalizer.forward(np.array([0.7, 0.5]))[0] == 0
    assert normalizer.inverse(np.array([1.0, 0.0]))[0] == np.float32(0.4)


def test_statistics_of_another_width_are_refused():
    with pytest.raises(UserError, match="7 action dimensions, the action space has 8"):
        action_normalizer(CANONICAL_ARM, statistics(np.zeros(7), np.ones(7)))


def test_a_contract_survives_json():
    before = contract()
    after = from_json(Contract, json.loads(json.dumps(to_json(before))), "contract")
    assert after == before
    assert after.fingerprint() == before.fingerprint()


def test_the_fingerprint_sees_every_leaf():
    before = contract()
    panda = dataclasses.replace(SIM_ARMS["sim_panda"], control_hz=6.0)
    after = dataclasses.replace(before, embodiments={**SIM_ARMS, "sim_panda": panda})
    assert after.fingerprint() != before.fingerprint()


def test_the_fingerprint_sees_the_order_of_the_data_sets():
    before = contract()
    turned = {name: dict(reversed(list(getattr(before, name).items()))) for name in ("embodiments", "layouts", "statistics")}
    assert dataclasses.replace(before, **turned).fingerprint() != before.fingerprint()
    with pytest.raises(UserError, match="same data sets in the same order"):
        dataclasses.replace(before, embodiments=turned["embodiments"])


def test_a_mixture_of_robots_sees_every_field_once_and_each_set_keeps_its_own():
    arm, joints = contract().statistics["sim_panda"], statistics(np.array([-1.0, -2, 0]), np.array([1.0, 2, 1]))
    both = dataclasses.replace(
        contract(),
        embodiments={"joints": SIM_ARMS["sim_ur5e"], "arm": SIM_ARMS["sim_panda"]},
        layouts={"joints": JOINTS, "arm": CANONICAL.without("terminate")},
        statistics={
            "joints": Statistics(action=joints, proprio=statistics(-np.ones(2), np.ones(2)), num_episodes=1, source=""),
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
    assert from_json(Contract, json.loads(json.dumps(to_json(both))), "contract") == both


def observation(**changes: object) -> Observation:
    fields = {
        "images": {"primary": np.zeros((1, 8, 8, 3), np.uint8)}, "image_mask": {"primary": np.ones(1, bool)},
        "proprio": np.zeros((1, 10), np.float32), "instruction": "reach the red cube", "stamp_ns": 0,
    }  # fmt: skip
    return Observation(**{**fields, **changes})


def test_observations_that_would_mislead_a_policy_are_refused():
    with pytest.raises(UserError, match=r"camera 'primary': got float32\[8, 8, 3\]"):
        observation(images={"primary": np.zeros((8, 8, 3), np.float32)})
    with pytest.raises(UserError, match="non-finite"):
        observation(proprio=np.full((1, 10), np.nan, np.float32))


def test_an_action_chunk_never_carries_nan():
    with pytest.raises(WorldError, match="hold still"):
        ActionChunk(
            actions=np.full((2, WIDTH), np.nan, np.float32), names=CANONICAL_ARM.dim_names, control_hz=5.0, stamp_ns=0,
            valid_until_ns=1,
        )  # fmt: skip
