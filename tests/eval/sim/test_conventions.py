"""Each arm's raw RLDS step, read back by the independently written reader, is what the adapter says the arm did."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from rtx.data.simulated import SIMULATED
from rtx.data.write import ImageFeature
from rtx.errors import UserError
from rtx.eval.sim.conventions import CONVENTIONS, StepFlags, encode_frame, features, raw_step
from rtx.images import decode
from rtx.robots.adapter import Adapter
from rtx.robots.rotations import from_matrix, to_matrix
from rtx.robots.sim_arms import SIM_ARMS

_ARMS = sorted(SIM_ARMS)
_STEPS = 40


def _stack(steps: list[Any]) -> Any:
    if isinstance(steps[0], Mapping):
        return {key: _stack([step[key] for step in steps]) for key in steps[0]}
    return np.array(steps, object) if isinstance(steps[0], bytes | str) else np.stack([np.asarray(step) for step in steps])


def _leaves(tree: Mapping[str, Any], kind: Callable[[Any], bool], path: str = "") -> dict[str, Any]:
    found = {}
    for key, node in tree.items():
        here = f"{path}/{key}" if path else key
        found |= _leaves(node, kind, here) if isinstance(node, Mapping) else ({here: node} if kind(node) else {})
    return found


def _native_proprio(arm: str, rng: np.random.Generator) -> np.ndarray:
    """A random state of the arm in its own form."""
    fields = {field.name: field for field in SIM_ARMS[arm].proprio}
    rotation, gripper = fields["eef_rot"], fields["gripper"]
    assert rotation.rotation is not None
    degrees = 180 / np.pi if rotation.unit == "deg" else 1.0
    turn = from_matrix(to_matrix(rng.uniform(-3, 3, 3), "axis_angle"), rotation.rotation) * degrees
    opening = gripper.closed + rng.uniform() * (gripper.opened - gripper.closed)
    return np.concatenate([rng.uniform(-0.6, 0.6, 3), turn, [opening]])


def _trajectory(arm: str, rng: np.random.Generator) -> tuple[dict, np.ndarray, np.ndarray]:
    """Raw steps stacked as a reader hands them out, and the canonical actions and native states behind them."""
    adapter, last = Adapter(SIM_ARMS[arm]), _STEPS - 1
    states = np.stack([_native_proprio(arm, rng) for _ in range(_STEPS)])
    canonical = np.concatenate(
        [rng.uniform(-0.06, 0.06, (_STEPS, 3)), rng.uniform(-0.4, 0.4, (_STEPS, 3)), rng.integers(0, 2, (_STEPS, 1))], -1
    )
    canonical = np.concatenate([canonical, np.arange(_STEPS)[:, None] == last], -1).astype(np.float32)
    picture = {role: encode_frame(arm, role, np.zeros((32, 32, 3), np.uint8)) for role in SIM_ARMS[arm].roles}
    steps = [
        raw_step(
            arm,
            images=picture,
            proprio=states[t],
            action=adapter.to_native(canonical[t], proprio_native=states[t]),
            instruction="reach the red cube",
            flags=StepFlags(is_first=t == 0, is_last=t == last, terminate=t == last, reward=float(t == last)),
        )
        for t in range(_STEPS)
    ]
    frames = {"_len": np.full(_STEPS, _STEPS), "_traj_index": np.zeros(_STEPS, int), "_frame_index": np.arange(_STEPS)}
    return {**_stack(steps), **frames}, canonical, states


@pytest.mark.parametrize("arm", _ARMS)
def test_reader_and_adapter_agree_on_action_and_proprio(arm: str) -> None:
    trajectory, canonical, states = _trajectory(arm, np.random.default_rng(7))
    read = SIMULATED[arm].standardize(trajectory)
    # Stored as float32: 1e-6 of the largest stored number (centimetres, degrees, percent) remains.
    np.testing.assert_allclose(read["action"], canonical, atol=5e-6)
    np.testing.assert_allclose(read["proprio"], Adapter(SIM_ARMS[arm]).proprio(states), atol=5e-6)


@pytest.mark.parametrize("arm", _ARMS)
def test_the_reader_finds_pictures_and_language_where_they_are_written(arm: str) -> None:
    record, spec = SIMULATED[arm], features(arm, image_size=128)
    written = _leaves(spec.steps, lambda node: isinstance(node, ImageFeature))
    assert {key.path for key in record.images.values()} == set(written)
    assert set(record.instructions) <= set(_leaves(spec.steps, lambda node: True))
    assert {role: key.path for role, key in record.images.items()} == dict(CONVENTIONS[arm].images)


@pytest.mark.parametrize("arm", _ARMS)
def test_a_frame_comes_back_in_its_own_colours(arm: str) -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    for role, key in SIMULATED[arm].images.items():
        stored = decode(encode_frame(arm, role, red))
        assert np.argmax(stored.mean((0, 1))) == (2 if key.channel_order == "bgr" else 0)
        assert np.argmax(decode(encode_frame(arm, role, red), channel_order=key.channel_order).mean((0, 1))) == 0


def test_no_two_arms_share_a_convention() -> None:
    shapes = {
        arm: (str(sorted(_leaves(features(arm, image_size=128).steps, lambda node: True))), SIM_ARMS[arm].action)
        for arm in _ARMS
    }
    assert len({str(shape) for shape in shapes.values()}) == len(_ARMS)


def test_an_unknown_arm_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="sim_panda"):
        features("sim_pandas", image_size=128)
