from __future__ import annotations

import re

import jax
import ml_dtypes
import numpy as np
import pytest

from rtx.errors import UserError, WorldError
from rtx.models.vla.weights import t5
from rtx.models.vla.weights.leaves import flat
from tests.models.vla import t5_tiny as tiny
from tests.models.vla.t5_build import shapes, text_shapes, variables, write_checkpoint

GELU, TIED = tiny.CONFIGS["gelu"], tiny.CONFIGS["tied"]


def text_parameters(config):
    return {part: variables(config)["params"][part] for part in t5.TEXT}


def assert_same(a, b):
    one, other = flat(a), flat(b)
    assert one.keys() == other.keys()
    for name, leaf in one.items():
        assert np.asarray(leaf).dtype == np.asarray(other[name]).dtype
        np.testing.assert_array_equal(leaf, other[name], err_msg=name)


@pytest.mark.parametrize("config", [GELU, TIED])
def test_a_hugging_face_checkpoint_survives_bit_for_bit(config, tmp_path):
    stored = write_checkpoint(tmp_path / "one", config)
    params = t5.load_safetensors(tmp_path / "one", text_shapes(config))
    paths = t5.save_safetensors(tmp_path / "two", params, shard_bytes=20_000)
    assert len(paths) > 3  # shards and an index
    assert_same(params, t5.load_safetensors(tmp_path / "two", text_shapes(config)))
    again = t5.safetensors.Stored(tmp_path / "two")
    assert set(again.shapes()) == set(stored)
    for name, value in stored.items():
        np.testing.assert_array_equal(again.read(name), value)


def test_the_table_by_hand(tmp_path):
    stored = write_checkpoint(tmp_path, GELU)
    params = t5.load_safetensors(tmp_path, text_shapes(GELU))
    decoder = params["decoder"]["layers"]
    by_hand = {
        "encoder.block.2.layer.0.SelfAttention.o.weight": params["encoder"]["layers"]["attention"]["out"]["kernel"][2].T,
        "encoder.block.1.layer.1.layer_norm.weight": params["encoder"]["layers"]["pre_mlp_layer_norm"]["scale"][1],
        "decoder.block.1.layer.1.EncDecAttention.q.weight": decoder["encoder_decoder_attention"]["query"]["kernel"][1].T,
        "decoder.block.1.layer.1.layer_norm.weight": decoder["pre_cross_attention_layer_norm"]["scale"][1],
        "decoder.block.0.layer.2.DenseReluDense.wi_1.weight": decoder["mlp"]["wi_1"]["kernel"][0].T,
        "decoder.block.0.layer.2.layer_norm.weight": decoder["pre_mlp_layer_norm"]["scale"][0],
        "shared.weight": params["token_embedder"]["embedding"],
        "lm_head.weight": params["decoder"]["logits_dense"]["kernel"].T,
        "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": params["decoder"]["relpos_bias"][
            "rel_embedding"
        ].T,
    }
    for name, ours in by_hand.items():
        np.testing.assert_array_equal(stored[name], ours, err_msg=name)


def test_half_precision_files_are_read_as_float32(tmp_path):
    params = text_parameters(GELU)
    t5.save_safetensors(tmp_path, params, dtype=ml_dtypes.bfloat16)
    read = t5.load_safetensors(tmp_path, text_shapes(GELU))
    assert_same(read, jax.tree.map(lambda leaf: np.asarray(leaf).astype(ml_dtypes.bfloat16).astype(np.float32), params))


def test_every_mismatch_is_named(tmp_path):
    more = {"encoder.block.3.layer.0.layer_norm.weight": np.ones(32, np.float32)}
    write_checkpoint(tmp_path, GELU, more={**more, "shared.weight": np.zeros((91, 32), np.float32)})
    message = (
        r"encoder.block.3.layer.0.layer_norm.weight \[32\] is not expected; shared.weight is \[91, 32\], expected \[90, 32\]"
    )
    with pytest.raises(WorldError, match=message):
        t5.load_safetensors(tmp_path, text_shapes(GELU))


def test_a_head_of_its_own_is_not_taken_for_the_embedding(tmp_path):
    write_checkpoint(tmp_path, TIED, more={"lm_head.weight": np.ones((90, 32), np.float32)})
    with pytest.raises(WorldError, match=r"lm_head.weight differs from shared.weight.*tied"):
        t5.load_safetensors(tmp_path, text_shapes(TIED))


def test_a_missing_head_is_an_error_where_there_should_be_one(tmp_path):
    write_checkpoint(tmp_path, TIED)
    with pytest.raises(WorldError, match=re.escape("lm_head.weight [90, 32] is missing")):
        t5.load_safetensors(tmp_path, text_shapes(GELU))


def test_repetitions_of_the_embedding_and_what_nobody_reads_are_left_alone(tmp_path):
    embedding = tiny.weight("shared.weight", (90, 32))
    names = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    unused = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": np.ones((16, 3), np.float32)}
    write_checkpoint(tmp_path, TIED, more=dict.fromkeys(names, embedding) | unused)
    assert_same(t5.load_safetensors(tmp_path, text_shapes(TIED)), text_parameters(TIED))


@pytest.mark.parametrize("config", [GELU, TIED])
def test_a_t5x_tree_survives_bit_for_bit(config, tmp_path):
    params = text_parameters(config)
    t5.save_t5x(tmp_path / "tree.npz", params)
    assert_same(t5.load_t5x(tmp_path / "tree.npz", text_shapes(config)), params)
    with np.load(tmp_path / "tree.npz") as stored:
        assert "target/encoder/layers_2/attention/query/kernel" in stored.files
        assert stored["target/encoder/relpos_bias/rel_embedding"].shape == (3, config.buckets)
        assert ("target/decoder/logits_dense/kernel" in stored.files) != config.tied


def test_absent_files_and_other_shapes_of_t5x(tmp_path):
    with pytest.raises(UserError, match=r"no such file"):
        t5.load_t5x(tmp_path / "none.npz", text_shapes(GELU))
    arrays = dict(t5.to_t5x(text_parameters(GELU)))
    arrays["encoder/layers_1/mlp/wo/kernel"] = arrays["encoder/layers_1/mlp/wo/kernel"].T
    with pytest.raises(WorldError, match=re.escape("encoder/layers_1/mlp/wo/kernel is [32, 48], expected [48, 32]")):
        t5.from_t5x(arrays, text_shapes(GELU))


@pytest.mark.parametrize("naming", ["t5x", "hugging_face"])
def test_the_network_has_t5x_names_below_stacked_layers_and_no_others(naming):
    rules = t5.rules_of(text_shapes(GELU), naming)
    assert len({name for rule in rules for name in rule.theirs}) == len(rules)
    below = {rule.ours.replace("/layers/", "/layers_{i}/") for rule in rules}
    assert naming == "hugging_face" or below == {rule.theirs[0] for rule in rules}


def test_other_parts_of_the_parameters_are_refused():
    with pytest.raises(UserError, match=r"img/.* is no parameter of T5"):
        t5.rules_of(shapes(GELU), "t5x")
