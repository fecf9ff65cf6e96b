import dataclasses
import json

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rtx.errors import UserError, WorldError
from rtx.models.vla.weights import paligemma
from rtx.models.vla.weights.leaves import flat
from rtx.models.vla.weights.safetensors import INDEX, SINGLE
from tests.models.vla import paligemma_tiny as tiny

GENERATIONS = {
    "published": lambda name: name.replace("vision_tower.", "vision_tower.vision_model."),
    "newer": lambda name: (
        "model."
        + name.replace("vision_tower.", "vision_tower.vision_model.").replace("language_model.model.", "language_model.")
    ),
    "newest": lambda name: name,
}


def hugging_face(kind: str) -> dict[str, np.ndarray]:
    return {name: tiny.weight(name, shape) for name, shape in tiny.saved_names(kind).items()}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_three_generations_of_names_give_the_same_parameters(tmp_path, generation):
    stored = hugging_face("gemma2")
    save_file(stored, tmp_path / SINGLE)
    as_saved = paligemma.load_safetensors(tmp_path, tiny.shapes("gemma2"))
    renamed = {GENERATIONS[generation](name): value for name, value in stored.items()}
    assert (set(renamed) == set(stored)) == (generation == "newest")
    renamed["lm_head.weight"] = stored["language_model.model.embed_tokens.weight"]
    save_file(renamed, tmp_path / "other.safetensors")
    found = paligemma.load_safetensors(tmp_path / "other.safetensors", tiny.shapes("gemma2"))
    jax.tree.map(np.testing.assert_array_equal, found, as_saved)


@pytest.mark.parametrize("kind", tiny.LANGUAGES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_round_trip_bit_for_bit(tmp_path, kind, dtype):
    like = tiny.shapes(kind)
    given = jax.tree.map(lambda leaf: tiny.weight(str(leaf.shape), leaf.shape).astype(dtype), like)
    written = paligemma.save_safetensors(tmp_path, given, shard_bytes=20_000)
    assert written[-1].name == INDEX
    assert len(written) > 3
    assert all(path.stat().st_size < 25_000 for path in written[:-1])
    index = json.loads((tmp_path / INDEX).read_text())
    tensors = {name: file[name] for path in written[:-1] for file in [load_file(path)] for name in file}
    assert set(index["weight_map"]) == set(tensors)
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors.values())
    found = paligemma.load_safetensors(tmp_path, like, dtype=dtype)
    for name, leaf in flat(found).items():
        assert leaf.dtype == dtype
        np.testing.assert_array_equal(leaf, flat(given)[name], err_msg=name)


def test_the_files_of_transformers_come_back_as_they_were(tmp_path):
    stored = hugging_face("gemma1")
    stored["language_model.model.embed_tokens.weight"][tiny.GEMMA_1.vocab :] = 0
    save_file(stored, tmp_path / SINGLE)
    paligemma.save_safetensors(tmp_path / "out", paligemma.load_safetensors(tmp_path, tiny.shapes("gemma1")))
    again = load_file(tmp_path / "out" / SINGLE)
    assert {GENERATIONS["published"](name) for name in stored} == set(again)
    for name, value in stored.items():
        np.testing.assert_array_equal(again[GENERATIONS["published"](name)], value, err_msg=name)


def test_a_smaller_checkpoint_replaces_a_sharded_one(tmp_path):
    like = tiny.shapes("gemma1")
    first, second = (jax.tree.map(lambda leaf, v=v: np.full(leaf.shape, v, np.float32), like) for v in (1, 2))
    paligemma.save_safetensors(tmp_path, first, shard_bytes=20_000)
    paligemma.save_safetensors(tmp_path, second)
    assert all((leaf == 2).all() for leaf in jax.tree.leaves(paligemma.load_safetensors(tmp_path, like)))


def test_an_embedding_without_padding_rows_is_read(tmp_path):
    stored = hugging_face("gemma1")
    name = "language_model.model.embed_tokens.weight"
    stored[name] = stored[name][: tiny.GEMMA_1.vocab]
    save_file(stored, tmp_path / SINGLE)
    found = paligemma.load_safetensors(tmp_path, tiny.shapes("gemma1"))
    np.testing.assert_array_equal(flat(found)["llm/embedder/input_embedding"], stored[name])


def test_the_wrong_network_is_refused_by_name(tmp_path):
    save_file(hugging_face("gemma1"), tmp_path / SINGLE)
    with pytest.raises(
        WorldError, match=r"does not hold this network: language_model\.model\.embed_tokens\.weight is \[160, 32\]"
    ):
        paligemma.load_safetensors(tmp_path, tiny.shapes("gemma2"))
    deeper = dataclasses.replace(tiny.GEMMA_1, depth=3)
    with pytest.raises(WorldError, match=r"layers\.2\.input_layernorm\.weight \[32\] is missing; .*; and 4 more"):
        paligemma.load_safetensors(tmp_path, tiny.shapes_of(deeper))
    shallower = dataclasses.replace(tiny.GEMMA_1, depth=1)
    with pytest.raises(WorldError, match=r"layers\.1\.input_layernorm\.weight \[32\] is not expected"):
        paligemma.load_safetensors(tmp_path, tiny.shapes_of(shallower))


def test_damaged_and_missing_files_are_named(tmp_path):
    like = tiny.shapes("gemma1")
    with pytest.raises(UserError, match="no such file or folder"):
        paligemma.load_safetensors(tmp_path / "nowhere", like)
    with pytest.raises(UserError, match="holds neither"):
        paligemma.load_safetensors(tmp_path, like)
    written = paligemma.save_safetensors(
        tmp_path, jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), like), shard_bytes=20_000
    )
    whole = written[1].read_bytes()
    written[1].write_bytes(whole[:-100])
    with pytest.raises(WorldError, match=f"{written[1].name} is no safetensors file, or a damaged one"):
        paligemma.load_safetensors(tmp_path, like)
    written[1].unlink()
    with pytest.raises(WorldError, match=f"{written[1].name} of {len(written) - 1} shards missing"):
        paligemma.load_safetensors(tmp_path, like)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(WorldError, match="is no file beside it"):
        paligemma.load_safetensors(tmp_path, like)


def test_numbers_of_another_kind_are_refused(tmp_path):
    stored = hugging_face("gemma1")
    stored["multi_modal_projector.linear.bias"] = stored["multi_modal_projector.linear.bias"].astype(np.int8)
    save_file(stored, tmp_path / SINGLE)
    with pytest.raises(WorldError, match=r"multi_modal_projector\.linear\.bias is stored as I8"):
        paligemma.load_safetensors(tmp_path, tiny.shapes("gemma1"))


def test_positions_are_resized_only_when_asked(tmp_path):
    like = tiny.shapes("gemma1")
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), like)
    rows = np.arange(4, dtype=np.float32)
    params["img"]["pos_embedding"] = np.broadcast_to((rows[:, None] + 10 * rows).reshape(1, 16, 1), (1, 16, 24)).copy()
    paligemma.save_safetensors(tmp_path, params)
    larger = tiny.shapes("gemma1", size=2 * tiny.SIZE)
    with pytest.raises(WorldError, match=r"position_embedding\.weight is \[16, 24\], expected \[64, 24\]"):
        paligemma.load_safetensors(tmp_path, larger)
    found = paligemma.load_safetensors(tmp_path, larger, resize_positions=True)["img"]["pos_embedding"]
    middle = (np.arange(1, 7) + 0.5) / 2 - 0.5  # centres of the finer grid in the coarser one's steps; its rim is flat
    grid = found.reshape(8, 8, 24)
    np.testing.assert_allclose(grid[1:7, 1:7, 0], middle[:, None] + 10 * middle, atol=1e-5)
    np.testing.assert_allclose(grid[0, 0, 0], 0, atol=1e-5)


def test_leaves_go_where_the_shapes_say(tmp_path):
    save_file(hugging_face("gemma1"), tmp_path / SINGLE)
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), tiny.shapes("gemma1"))
    found = paligemma.load_safetensors(tmp_path, like)
    assert all(isinstance(leaf, jax.Array) and leaf.sharding == here for leaf in jax.tree.leaves(found))
