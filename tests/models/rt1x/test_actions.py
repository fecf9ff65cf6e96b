"""Tokens against RT-1's formula in double precision, on physical values; and the way back."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from rtx.models.rt1x import actions
from rtx.models.rt1x.config import RT1XConfig, rt1x

PI = np.pi
BOUNDS = [(-2, 2)] * 3 + [(-PI / 2, PI / 2)] * 3 + [(-1, 1), (-PI, PI), (-1, 1), (-1, 1)]
"""RT-1-X: world_vector, rotation_delta, gripper_closedness, base rotation, base displacement."""


def published_position(values: np.ndarray, bins: int) -> np.ndarray:
    """Where values [n, 10] lie on the axis of bins, before truncation, in double precision."""
    low, high = np.array(BOUNDS, np.float64).T
    return (np.clip(values, low, high) - low) / (high - low) * (bins - 1)


def model_space(physical: np.ndarray) -> np.ndarray:
    """Our actions [n, 11] from RT-1's physical numbers [n, 10], none of them an end."""
    world, rotation, closedness, yaw, base = np.split(physical, [3, 6, 7, 8], axis=1)
    going_on = np.full_like(yaw, -1.0)
    columns = [world / 2, rotation / (PI / 2), -closedness, going_on, base, yaw / PI]  # our gripper opens upwards
    return np.concatenate(columns, 1).astype(np.float32)


@pytest.mark.parametrize("bins", [512, 256])
def test_tokens_are_the_published_ones(bins: int) -> None:
    low, high = np.array(BOUNDS).T
    physical = np.random.default_rng(bins).uniform(1.2 * low, 1.2 * high, (500, 10))
    position = published_position(physical, bins)
    got = np.asarray(actions.encode(RT1XConfig(num_bins=bins), jnp.asarray(model_space(physical))))[:, 1:]
    clear = (np.abs(position - np.round(position)) > 1e-3) | (np.abs(physical) > high)  # not on an edge of float32's width
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(got[clear], position.astype(int)[clear])


def test_by_hand() -> None:
    """0.5 m of +-2 in 512 bins: (0.5 + 2) / 4 * 511 = 319.4; closed gripper +1 is the last bin; no base: (0 + 1) / 2 * 511."""
    ours = model_space(np.array([[0.5, -2.0, 3.0, 0.0, PI / 4, 0.0, 1.0, 0.0, 0.0, 0.0]]))
    assert actions.encode(rt1x(), jnp.asarray(ours[0])).tolist() == [1, 319, 0, 511, 255, 383, 255, 511, 255, 255, 255]


def test_the_first_token_chooses() -> None:
    still = np.zeros(11, np.float32)
    still[7] = -1
    ends, base = still.copy(), still.copy()
    ends[7], base[9] = 1, 0.3
    both = np.where(base != 0, base, ends)
    both[7] = 1
    first = [int(actions.encode(rt1x(), jnp.asarray(a))[0]) for a in (still, base, ends, both)]
    assert first == [actions.ARM, actions.BASE, actions.TERMINATE, actions.TERMINATE]


@pytest.mark.parametrize(("rounding", "worst"), [("truncate", 1.0), ("nearest", 0.5)])
@pytest.mark.parametrize("dims", [8, 11])
def test_back_again_within_a_bin(rounding: str, worst: float, dims: int) -> None:
    config = dataclasses.replace(rt1x(), rounding=rounding, action_dims=dims)
    action = np.random.default_rng(0).uniform(-1, 1, (50, dims)).astype(np.float32)
    action[:, 7] = np.sign(action[:, 7])
    back = np.asarray(actions.decode(config, actions.encode(config, jnp.asarray(action))))
    assert back.shape == action.shape
    assert np.abs(back - action).max() <= worst * 2 / 511 + 1e-6
    np.testing.assert_array_equal(back[:, 7], action[:, 7])


def test_out_of_range_first_tokens_go_on() -> None:
    tokens = jnp.zeros((5, 11), jnp.int32).at[:, 0].set(jnp.arange(5))
    assert actions.decode(rt1x(), tokens)[:, 7].tolist() == [1, -1, -1, -1, -1]


def test_known_tokens_follow_their_dimensions() -> None:
    mask = np.zeros((1, 8), bool)
    mask[0, [0, 6]] = True  # x and gripper
    assert np.flatnonzero(actions.known_tokens(jnp.asarray(mask))[0]).tolist() == [1, 7]
