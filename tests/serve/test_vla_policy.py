"""Published weights as a checkpoint that answers questions, and a model that plans behind a policy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError, WorldError
from rtx.models.vla.language import VLATokenizer
from rtx.models.vla.planning import build_vla
from rtx.models.vla.weights.big_vision import save_npz
from rtx.serve.policy import Policy, load_policy
from rtx.serve.released_vlm import convert_paligemma, export_weights, released_config
from tests.models.vla.tiny_vla import model_and_variables, paligemma
from tests.serve.robots import robot_at
from tests.small_policy import contract, echo_policy, observation

TEXTS = ["push the red cube to the left", "what colour is it?", "it is red"]


@pytest.fixture(scope="module")
def tokenizer():
    return VLATokenizer.from_texts(TEXTS, size=120, text_length=60, answer_length=6)


def sized(tokenizer, **changes):
    language = dataclasses.replace(paligemma().language, vocab=tokenizer.size + 8)
    return paligemma(language=language, text_length=60, answer_length=6, **changes)


def test_published_weights_answer_questions(tokenizer, tmp_path):
    config = sized(tokenizer, roles=("primary",), history=1, chunk=1)
    _, variables = model_and_variables(config)
    save_npz(tmp_path / "pt.npz", variables["params"])
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.model)
    convert_paligemma(tmp_path / "pt.npz", tmp_path / "run", tokenizer=tmp_path / "tokenizer.model", config=config)
    policy = load_policy(tmp_path / "run")
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    assert load_policy(tmp_path / "run", bin_choice="mean").model == build_vla(dataclasses.replace(config, bin_choice="mean"))
    said = policy.ask(picture, "what colour is it?")
    model = build_vla(config)
    batch = dataclasses.replace(
        policy._inputs.asked(picture, tokenizer.questions(["what colour is it?"])),
        images={"primary": picture[None, None]}, image_mask={"primary": np.ones((1, 1), bool)},
    )  # fmt: skip
    ids = jax.jit(lambda v: model.answer(v, batch, jax.random.key(0), max_tokens=6))(variables)
    assert said == tokenizer.decode(np.asarray(ids))[0] != ""
    assert said != policy.ask(np.full_like(picture, 255), "it is")
    with pytest.raises(UserError, match="knows no robot"):
        policy.warm_up()
    with pytest.raises(UserError, match="holds a checkpoint already"):
        convert_paligemma(tmp_path / "pt.npz", tmp_path / "run", tokenizer=tmp_path / "tokenizer.model", config=config)
    with pytest.raises(UserError, match="expected uint8"):
        policy.ask(picture.astype(np.float32), "it is")
    (again,) = export_weights(tmp_path / "run", tmp_path / "again.npz", dtype="float32")
    assert again.read_bytes() == (tmp_path / "pt.npz").read_bytes()
    assert [path.name for path in export_weights(tmp_path / "run", tmp_path / "hf", dtype="bfloat16")] == ["model.safetensors"]


def test_a_plan_that_leads_nowhere_is_an_error_and_never_a_motion(tokenizer):
    config = sized(tokenizer, plan=True, plan_end=(9,), chunk=3)
    model, variables = model_and_variables(config)
    # Nothing but padding and the last bin have a head, so "Action:" is never said.
    table = variables["params"]["llm"]["embedder"]["input_embedding"]
    variables["params"]["llm"]["embedder"]["input_embedding"] = table.at[9].set(0).at[12].set(jnp.abs(table).max() * 9)
    policy = Policy(model=model, variables=variables, contract=contract(), tokenizer=tokenizer, name="planner")
    with pytest.raises(WorldError, match="non-finite"):
        policy.act(observation(), robot="sim_panda")
    session = policy.session("sim_panda")
    with pytest.raises(WorldError, match="non-finite"):
        session.act(observation())
    assert session._past is None


def test_a_policy_moves_with_action_tokens(tokenizer):
    config = sized(tokenizer, chunk=3)
    model, variables = model_and_variables(config)
    policy = Policy(model=model, variables=variables, contract=contract(), tokenizer=tokenizer)
    chunk = policy.act(observation(), robot="sim_panda")
    assert chunk.actions.shape == (3, 8)
    assert np.isfinite(chunk.actions).all()
    np.testing.assert_array_equal(policy.session("sim_panda").act(observation()).actions, chunk.actions)
    assert isinstance(policy.ask(np.zeros((24, 32, 3), np.uint8), "what colour is it?"), str)


@pytest.mark.parametrize("head", ["tokens", "flow"])
def test_what_a_robot_does_meanwhile_leads_the_answer(tokenizer, head):
    """In physical units and by each robot's own statistics; no number of rows is compiled for after the warm-up."""
    model, variables = model_and_variables(sized(tokenizer, chunk=3, head=head, head_width=8))
    policy = Policy(model=model, variables=variables, contract=contract(), tokenizer=tokenizer)
    policy.warm_up((2,))
    compiled = policy._act._cache_size()
    old = np.random.default_rng(0).uniform(-0.1, 0.2, (3, 8)).astype(np.float32)  # the Panda's reach is -0.1 .. 0.3
    free = policy.act_batch([observation()] * 2, ["sim_panda"] * 2)[0].actions
    for rows in range(4):
        told = dataclasses.replace(observation(), committed=old[:rows], planned=old[rows:])
        # Out of reach: the model is told what it can say, the robot is told its own.
        iiwa = dataclasses.replace(observation(robot="sim_iiwa"), committed=9 * old[:1])
        led, other = policy.act_batch([told, iiwa], ["sim_panda", "sim_iiwa"])
        np.testing.assert_array_equal(led.actions[:rows], old[:rows])
        np.testing.assert_array_equal(other.actions[:1], 9 * old[:1])
        if rows == 0 and head == "tokens":
            np.testing.assert_allclose(led.actions, free, atol=1e-6)
        elif rows < 3:  # what is planned draws a flow too, where nothing is committed
            assert np.abs(led.actions[rows:] - free[rows:]).max() > 1e-4
    assert policy._act._cache_size() == compiled
    promise = policy._inputs.promise([told], [policy._inputs.robot("sim_panda")], size=2)
    np.testing.assert_allclose(promise.action[1, :, :6], (old[:, :6] - 0.1) / 0.2, atol=1e-6)
    assert (promise.held.tolist(), promise.known.tolist()) == ([3, 3], [3, 3])
    with pytest.raises(UserError, match=r"planned has shape \[4, 8\]; expected at most 3 rows of 8"):
        policy.act(dataclasses.replace(observation(), planned=np.zeros((4, 8), np.float32)), robot="sim_panda")


def test_a_robot_far_away_tells_what_it_plans(tokenizer, serving):
    """Over a socket, as `rtx drive` does; the answers are those given here."""
    model, variables = model_and_variables(sized(tokenizer, chunk=3, head="flow", head_width=8))
    policy = Policy(model=model, variables=variables, contract=contract(), tokenizer=tokenizer)
    old, seen = np.random.default_rng(0).uniform(-0.1, 0.3, (2, 8)).astype(np.float32), observation()
    told = {"committed": old[:1], "planned": old[1:]}
    policy.warm_up((1,))  # here, where nothing waits for it
    with serving(policy, max_batch=1) as server, robot_at(server) as client:
        assert client.hello["continuation"] == "guided"
        shown = {"images": seen.images, "proprio": seen.proprio, "instruction": seen.instruction, "robot": "sim_panda"}
        given = [client.act(**shown, **more).actions for more in ({}, {"committed": old[:1]}, told)]
    expected = policy.act(dataclasses.replace(seen, **told), robot="sim_panda").actions
    np.testing.assert_allclose(given[2], expected, atol=1e-6)
    np.testing.assert_array_equal(given[2][:1], old[:1])
    assert all(np.abs(given[i][1:] - given[i + 1][1:]).max() > 1e-4 for i in range(2)), "each of the two is heard"


def test_other_models_answer_no_questions():
    with pytest.raises(UserError, match="Echo, which answers no questions"):
        echo_policy().ask(np.zeros((8, 8, 3), np.uint8), "what?")


def test_published_sizes():
    config = released_config("paligemma2-3b", pixels=448)
    assert config.image_size == (448, 448)
    assert config.bin_ids[:2] == (257_023, 257_022)
    with pytest.raises(UserError, match="paligemma-3b"):
        released_config("paligemma-4b")
