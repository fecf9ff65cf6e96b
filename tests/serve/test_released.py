"""A released RT-1-X, converted, is served like a policy trained here; with a session, frame by frame, to the same answers."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import serialization

from rtx.errors import UserError
from rtx.models.rt1x.released import expected_tree
from rtx.models.sentences import SentenceTable
from rtx.serve.inputs import Inputs
from rtx.serve.policy import Policy, load_policy
from rtx.serve.released import ENCODER, convert_rt1x, rt1x_contract
from rtx.serve.released_vlm import export_weights
from rtx.spec import Observation
from tests.models.rt1x.small import CONFIG, random_like
from tests.serve.frames import seen
from tests.serve.robots import robot_at

CONTRACT = dataclasses.replace(rt1x_contract(), history=CONFIG.history, image_size=CONFIG.image_size)
WORDS = ("put carrot on plate", "close drawer")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released")
    tree: dict = {}
    for path, leaf in expected_tree(CONFIG).items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    values = {name: _numpy(random_like(tree[name])) for name in tree}
    (folder / "checkpoint").write_bytes(serialization.msgpack_serialize(values))
    vectors = np.random.default_rng(0).normal(0, 0.5, (2, CONFIG.sentence_width)).astype(np.float32)
    table = SentenceTable(WORDS, vectors, encoder=ENCODER)
    convert_rt1x(folder, folder / "out", sentences=table, contract=CONTRACT, config=CONFIG)
    return folder / "out"


def _numpy(tree: dict) -> dict:
    return {name: _numpy(node) if isinstance(node, dict) else np.asarray(node) for name, node in tree.items()}


@pytest.fixture(scope="module")
def policy(checkpoint: Path) -> Policy:
    return load_policy(checkpoint)


def test_the_token_bounds_in_each_robots_units() -> None:
    """Google robot as is; WidowX: 0.05 m was 1.75 of +-2, 0.25 rad was 1.4 of +-pi/2; grippers and ends by their bounds."""
    contract = rt1x_contract()
    google, widowx = (contract.action_normalizer(name) for name in ("fractal20220817_data", "bridge"))
    full = np.ones(11, np.float32)
    np.testing.assert_allclose(google.inverse(full), [2, 2, 2, *[math.pi / 2] * 3, 1, 1, 1, 1, math.pi], rtol=1e-6)
    np.testing.assert_allclose(
        widowx.inverse(full), [*[0.05 * 2 / 1.75] * 3, *[0.25 * (math.pi / 2) / 1.4] * 3, 1, 1], rtol=1e-6
    )
    np.testing.assert_allclose(widowx.inverse(-full)[6:], 0)
    assert (contract.history, contract.chunk, contract.roles) == (15, 1, ("primary",))
    assert (contract.image_size, contract.fit) == ((256, 320), "pad")


def test_it_is_served(policy: Policy) -> None:
    for robot, width in (("fractal20220817_data", 11), ("bridge", 8)):
        chunk = policy.act(seen(CONFIG.history, seed=1, instruction=WORDS[0]), robot=robot)
        assert chunk.actions.shape == (1, width)
        limit = CONTRACT.action_normalizer(robot).inverse(np.ones(11, np.float32))
        assert np.all(np.abs(chunk.actions[0]) <= np.abs(limit) + 1e-6)
    with pytest.raises(UserError, match=r"observation of 'bridge': unknown instruction 'put carot on plate'; did you mean"):
        policy.act(seen(1, instruction="put carot on plate"), robot="bridge")


def test_pictures_are_letterboxed_as_in_its_training(policy: Policy) -> None:
    """A square camera: what the network is fed has two black bars, and the checkpoint says so. (16 x 16 in 16 x 20.)"""
    assert policy.contract.fit == "pad"
    square = seen(1, seed=3, instruction=WORDS[0], size=(16, 16))
    by_hand = np.pad(square.images["primary"], ((0, 0), (0, 0), (2, 2), (0, 0)))
    padded = dataclasses.replace(square, images={"primary": by_hand})
    for robot in ("bridge", "fractal20220817_data"):
        inputs = Inputs(policy.contract, policy.tokenizer)
        fed, expected = (inputs.batch([one], [inputs.robot(robot)], size=1).images["primary"] for one in (square, padded))
        np.testing.assert_array_equal(fed, expected)
        np.testing.assert_array_equal(fed[0, -1], by_hand[0])


def test_a_session_answers_as_the_whole_history(policy: Policy) -> None:
    """Through an episode longer than the history, an instruction that changes on the way, and a second episode."""
    session, frames = policy.session("bridge"), seen(CONFIG.history + 3, seed=2, instruction=WORDS[0])
    for episode in range(2):
        answers = []
        for step in range(1, CONFIG.history + 4):
            told = WORDS[1] if step >= CONFIG.history + 2 else WORDS[0]
            shown = dataclasses.replace(_until(frames, step), instruction=told)
            once = session.act(_newest(shown))
            np.testing.assert_allclose(once.actions, policy.act(shown, robot="bridge").actions, atol=1e-6)
            answers.append(once.actions)
        assert np.ptp(answers, axis=0).max() > 0, f"episode {episode} shows nothing"
        session.reset()


def test_episodes_go_through_the_network_together(policy: Policy) -> None:
    """Three robots, of which one began earlier and one is told something else on the way, in one compiled call a step."""
    frames = [seen(6, seed=10 + i, instruction=WORDS[0]) for i in range(3)]
    sessions = [policy.session("bridge") for _ in frames]
    sessions[0].act(_newest(_until(frames[0], 1)))
    for step in range(1, 5):
        shown = [_until(frames[i], step + (i == 0)) for i in range(3)]
        if step > 2:
            shown[2] = dataclasses.replace(shown[2], instruction=WORDS[1])
        together = policy.act_batch([_newest(one) for one in shown], ["bridge"] * 3, sessions)
        for got, one in zip(together, shown, strict=True):
            np.testing.assert_allclose(got.actions, policy.act(one, robot="bridge").actions, atol=1e-6)
    with pytest.raises(AssertionError, match="one frame at a time"):
        policy.act_batch([_newest(one) for one in shown[:2]], ["bridge"] * 2, [sessions[0]] * 2)


def test_a_robot_far_away_sends_each_frame_once(policy: Policy, serving: Any) -> None:
    """Over a socket, one frame a message: the answers to the whole history, from programs compiled before the port opened."""
    frames = seen(CONFIG.history + 2, seed=4, instruction=WORDS[0], size=(50, 40))  # padded, once
    with serving(policy, max_batch=1) as server, robot_at(server) as client:
        compiled = _num_compiled(policy)
        for step in range(1, CONFIG.history + 3):
            shown = _until(frames, step)
            newest = _newest(shown)
            given = client.act(
                images=newest.images, proprio=newest.proprio, instruction=WORDS[0], robot="bridge", episode="one"
            )  # fmt: skip
            np.testing.assert_allclose(given.actions, policy.act(shown, robot="bridge").actions, atol=1e-6)
        assert _num_compiled(policy) == compiled


def _num_compiled(policy: Policy) -> int:
    programs: list[Any] = [policy._act, policy._remember, policy._act_again]
    return sum(program._cache_size() for program in programs)


def _until(observation: Observation, step: int) -> Observation:
    return dataclasses.replace(
        observation, images={"primary": observation.images["primary"][:step]},
        image_mask={"primary": observation.image_mask["primary"][:step]}, proprio=observation.proprio[:step],
    )  # fmt: skip


def _newest(observation: Observation) -> Observation:
    return dataclasses.replace(
        observation, images={"primary": observation.images["primary"][-1:]},
        image_mask={"primary": observation.image_mask["primary"][-1:]}, proprio=observation.proprio[-1:],
    )  # fmt: skip


def test_it_has_no_form_that_vision_language_models_are_exported_in(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is rt1x; only PaliGemma models"):
        export_weights(checkpoint, tmp_path / "out", dtype="float32")


def test_conversion_refuses_what_does_not_fit(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds a checkpoint already"):
        convert_rt1x(checkpoint.parent, checkpoint, config=CONFIG)
    table = SentenceTable(("a",), np.zeros((1, 3), np.float32), encoder=ENCODER)
    with pytest.raises(UserError, match="vectors of 3, RT-1-X reads 6"):
        convert_rt1x(checkpoint.parent, tmp_path, sentences=table, config=CONFIG)
