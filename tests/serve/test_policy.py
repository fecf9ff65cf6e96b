"""What goes into the model and what comes out, number by number; padding changes nothing; what does not fit is refused."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError, WorldError
from rtx.serve.inputs import Inputs
from rtx.serve.policy import Policy
from tests.small_policy import TOKENIZER, Echo, contract, echo_policy, observation, rt1_policy


@pytest.fixture(scope="module")
def rt1():
    return rt1_policy()


def test_number_by_number():
    """Panda: state -1..3 and action -0.1..0.3 to [-1, 1], so state 0.5 becomes -0.25 and that comes out as 0.05."""
    chunk = echo_policy().act(observation(level=51), robot="sim_panda")
    assert chunk.actions.shape == (3, 8)
    assert chunk.actions.dtype == np.float32
    primary, wrist, half = 0.1 + 0.2 * 51 / 255, 0.1 + 0.2 * 71 / 255, 0.1 + 0.2 * 0.5
    # the gripper (here the robot's index) and terminate go by their bounds 0..1, not by statistics: 0 is the middle
    expected = [0.05, 0.05, primary, wrist, half, 0.3, 0.5, 0.5]
    np.testing.assert_allclose(chunk.actions, [expected] * 3, atol=1e-6)
    assert chunk.names[:4] == ("delta_pos.0", "delta_pos.1", "delta_pos.2", "delta_rot.0")


def test_another_robot_has_its_own_statistics_cameras_rate_and_index():
    """iiwa: no wrist camera (masked, black), index 1, 4 Hz; state -2..2, action -0.2..0.2."""
    chunk = echo_policy().act(observation(robot="sim_iiwa", level=51), robot="sim_iiwa")
    np.testing.assert_allclose(chunk.actions[0], [0.05, 0.05, 0.04, 0, 0.1, 0, 1, 0.5], atol=1e-6)
    assert chunk.control_hz == 4


def test_it_expires_with_the_period_of_its_last_action():
    chunk = echo_policy().act(observation(stamp_ns=7), robot="sim_panda")
    assert (chunk.stamp_ns, chunk.valid_until_ns) == (7, 7 + 600_000_000)  # 3 actions at 5 Hz
    assert echo_policy().act(observation(robot="sim_iiwa"), robot="sim_iiwa").valid_until_ns == 10**9 + 750_000_000


@pytest.mark.parametrize(("steps", "valid"), [(1, 0.5), (2, 1.0), (5, 1.0)])
def test_missing_history_is_masked_and_long_history_is_cut(steps, valid):
    chunk = echo_policy().act(observation(steps=steps), robot="sim_panda")
    np.testing.assert_allclose(chunk.actions[0, 4], 0.1 + 0.2 * valid, atol=1e-6)


def test_the_newest_frames_count_and_the_first_is_repeated():
    policy, seen = echo_policy(), observation(steps=3)
    for step, level in enumerate((10, 20, 30)):
        seen.images["primary"][step] = level
        seen.proprio[step] = level / 10
    batch = policy._inputs.batch([seen], [policy._inputs.robot("sim_panda")], size=1)
    assert batch.images["primary"][0, :, 0, 0, 0].tolist() == [20, 30]
    np.testing.assert_allclose(batch.proprio[0, :, 0], [0.5, 1.0])
    first = dataclasses.replace(
        seen, images={r: i[:1] for r, i in seen.images.items()}, image_mask={r: m[:1] for r, m in seen.image_mask.items()},
        proprio=seen.proprio[:1],
    )  # fmt: skip
    batch = policy._inputs.batch([first], [policy._inputs.robot("sim_panda")], size=1)
    assert batch.images["primary"][0, :, 0, 0, 0].tolist() == [10, 10]
    assert batch.history_mask.tolist() == [[False, True]]


def test_a_batch_is_its_members(rt1):
    """Different robots, instructions and numbers of frames at once; five fill up to eight."""
    robots = ["sim_panda", "sim_iiwa", "sim_panda", "sim_iiwa", "sim_panda"]
    words = ["push the red cube", "red", "to the left", "push", "cube"]
    seen = [
        observation(robot=robot, steps=1 + i % 2, level=40 * i, instruction=words[i], state=0.1 * i)
        for i, robot in enumerate(robots)
    ]
    together = rt1.act_batch(seen, robots)
    for chunk, one, robot in zip(together, seen, robots, strict=True):
        np.testing.assert_allclose(chunk.actions, rt1.act(one, robot=robot).actions, atol=1e-5)
    assert np.ptp([chunk.actions for chunk in together], axis=0).max() > 1e-4  # they do differ


def test_more_than_the_largest_batch():
    seen = [observation(state=0.01 * i, stamp_ns=i) for i in range(70)]
    chunks = echo_policy().act_batch(seen, ["sim_panda"] * 70)
    assert [chunk.stamp_ns for chunk in chunks] == list(range(70))
    np.testing.assert_allclose([c.actions[0, 0] for c in chunks], [0.1 * (0.01 * i + 1) - 0.1 for i in range(70)], atol=1e-6)
    assert echo_policy().act_batch([], []) == []


def test_the_instruction_matters_and_the_answer_is_repeatable(rt1):
    push, left = observation(instruction="push the red cube"), observation(instruction="to the left")
    first = rt1.act(push, robot="sim_panda").actions
    np.testing.assert_array_equal(first, rt1.act(push, robot="sim_panda").actions)
    assert np.abs(first - rt1.act(left, robot="sim_panda").actions).max() > 1e-5


def test_warm_up_compiles_what_is_called_later():
    compiled = []

    @dataclasses.dataclass(frozen=True)
    class Counting(Echo):
        def act(self, variables, batch, rng):
            compiled.append(len(batch.proprio))  # runs when traced, not when executed
            return super().act(variables, batch, rng)

    policy = Policy(model=Counting(), variables={"params": {"gain": jnp.ones(8)}}, contract=contract(), tokenizer=TOKENIZER)
    assert policy.warm_up(batch_sizes=(1, 3)) > 0
    assert compiled == [1, 4]
    policy.act(observation(size=(100, 50)), robot="sim_panda")
    policy.act_batch([observation(steps=2)] * 4, ["sim_panda"] * 4)
    assert compiled == [1, 4]


def test_the_fingerprint_follows_the_weights_and_the_contract():
    base = echo_policy().fingerprint
    assert base == echo_policy().fingerprint
    assert len({base, echo_policy(gain=0.5).fingerprint, echo_policy(history=3).fingerprint}) == 3


def without_wrist(seen):
    return dataclasses.replace(seen, images={"primary": seen.images["primary"]})


def with_proprio(shape):
    return dataclasses.replace(observation(), proprio=np.zeros(shape, np.float32))


def with_camera(role, image):
    return dataclasses.replace(observation(), images=observation().images | {role: image})


REFUSED = {
    "unknown robot": (observation(), "sim_pand", "did you mean 'sim_panda'.*Choices: sim_iiwa, sim_panda"),
    "missing camera": (without_wrist(observation()), "sim_panda", "camera 'wrist' is missing"),
    "camera of another robot": (observation(), "sim_iiwa", "unknown camera of 'sim_iiwa' 'wrist'.*primary"),
    "frames that do not match": (
        with_camera("wrist", np.zeros((2, 8, 8, 3), np.uint8)), "sim_panda", r"'wrist' has images \[2, 8, 8, 3\]"
    ),
    "an empty picture": (with_camera("wrist", np.zeros((1, 0, 8, 3), np.uint8)), "sim_panda", r"images \[1, 0, 8, 3\]"),
    "proprio of another width": (with_proprio((1, 8)), "sim_panda", r"shape \[1, 8\], expected \[t, 10\]: eef_pos"),
    "proprio without time": (with_proprio((10,)), "sim_panda", r"shape \[10\], expected \[t, 10\]"),
    "no instruction": (observation(instruction=" ?!"), "sim_panda", "' \\?!' has no words"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    seen, robot, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        echo_policy().act(seen, robot=robot)
    with pytest.raises(UserError, match=message):
        echo_policy().check(seen, robot=robot)


def test_refuses_a_state_that_became_non_finite_after_it_was_checked():
    seen = observation()
    seen.proprio[0, 3] = np.nan
    with pytest.raises(UserError, match="non-finite"):
        echo_policy().act(seen, robot="sim_panda")


def test_refuses_lists_of_different_lengths():
    with pytest.raises(UserError, match="2 observations but 1 robots"):
        echo_policy().act_batch([observation()] * 2, ["sim_panda"])


@pytest.mark.parametrize("gain", [np.nan, np.inf])
def test_a_broken_model_is_an_error_and_not_a_full_step(gain):
    with pytest.raises(WorldError, match="non-finite"):
        echo_policy(gain=gain).act(observation(), robot="sim_panda")


def test_a_model_that_breaks_its_contract_is_refused():
    policy = Policy(model=Echo(chunk=2), variables={"params": {"gain": jnp.ones(8)}}, contract=contract(), tokenizer=TOKENIZER)
    with pytest.raises(UserError, match=r"\(1, 2, 8\), its contract says \(1, 3, 8\)"):
        policy.warm_up()


def test_unknown_words_are_named_once(caplog):
    policy = echo_policy()
    with caplog.at_level(logging.WARNING, logger="rtx.serve"):
        for _ in range(3):
            policy.act(observation(instruction="push the purple cube"), robot="sim_panda")
        policy.act(observation(instruction="push the red cube"), robot="sim_panda")
    assert [record.getMessage() for record in caplog.records if "unknown word" in record.getMessage()] == [
        "unknown word: word=purple (the policy was not trained with it and will guess)"
    ]


def test_an_instruction_too_long_is_named_once(caplog):
    policy = echo_policy()
    with caplog.at_level(logging.WARNING, logger="rtx.serve"):
        for _ in range(2):
            policy.act(observation(instruction="push " * 20), robot="sim_panda")
    assert [record.getMessage().split(" instruction=")[0] for record in caplog.records] == ["instruction cut: max_words=8"]


def test_fresh_variables_from_its_own_blank_batch():
    """How a baseline with the same network and no training is made."""
    policy = echo_policy()
    fresh = policy.model.init(jax.random.key(1), policy.blank_batch())
    untrained = Policy(model=policy.model, variables=fresh, contract=policy.contract, tokenizer=policy.tokenizer)
    assert untrained.act(observation(), robot="sim_panda").actions.shape == (policy.contract.chunk, 8)


def test_a_data_set_without_actions_is_nobody_to_move():
    known = contract()
    web = known.layouts["sim_iiwa"].without(*(field.name for field in known.layouts["sim_iiwa"].action.fields))
    with_web = dataclasses.replace(known, layouts={**known.layouts, "sim_iiwa": web})
    inputs = Inputs(with_web, TOKENIZER)
    assert inputs.robot("sim_panda").index == 0
    with pytest.raises(UserError, match="unknown robot 'sim_iiwa'"):
        inputs.robot("sim_iiwa")
