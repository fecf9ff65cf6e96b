import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from rtx.models.vla.decoder_only import DecoderOnly, Memory, last_of, positions_of, prefix_mask, unrolled
from rtx.models.vla.gemma import GemmaConfig, gemma2_2b, gemma2_9b, gemma2_27b, gemma_2b
from rtx.models.vla.vit import so400m
from rtx.models.vla.weights import paligemma
from tests.models.vla import paligemma_tiny as tiny

KINDS = list(tiny.LANGUAGES)


def network(kind: str, **changes) -> DecoderOnly:
    return DecoderOnly(tiny.VISION, tiny.LANGUAGES[kind], **changes)


@functools.cache
def compiled(kind: str, method: str, **fixed) -> Callable:
    return jax.jit(functools.partial(network(kind).apply, method=method, **fixed))


@functools.cache
def variables(kind: str) -> dict:
    """Random parameters that leave nothing at zero."""
    rng = np.random.default_rng(3)

    def leaf(like):
        inputs = like.shape[-2] if len(like.shape) > 2 else 25
        return jnp.asarray(rng.normal(0, inputs**-0.5, like.shape), jnp.float32)

    return {"params": jax.tree.map(leaf, tiny.shapes(kind))}


def teacher_forced(kind: str, *inputs) -> np.ndarray:
    """Rows of the answer's valid tokens."""
    return np.asarray(compiled(kind, "__call__")(variables(kind), *inputs))[tiny.ANSWER != 0]


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_hugging_face(tmp_path, kind):
    """Through a file with the names transformers saves; three pictures, one absent in the second sample."""
    with np.load(tiny.REFERENCE) as stored:
        expected = stored[f"{kind}_logits"]
    save_file({n: tiny.weight(n, s) for n, s in tiny.saved_names(kind).items()}, tmp_path / "model.safetensors")
    params = {"params": paligemma.load_safetensors(tmp_path, tiny.shapes(kind))}

    hidden = compiled(kind, "__call__")(params, *tiny.inputs())
    found = compiled(kind, "logits")(params, hidden)
    valid = tiny.ANSWER != 0
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found[valid], expected[valid], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_reading_then_writing_equals_teacher_forcing(kind):
    """Tokens one by one, then two at once, with another token of padding between: 1e-5 of values of size 1."""
    params, (pictures, there, prompt, answer) = variables(kind), tiny.inputs()
    hidden, memory = compiled(kind, "read", room=6)(params, pictures, there, prompt)
    rows = [hidden[:, None]]
    padding = jnp.zeros((2, 1), jnp.int32)
    for tokens in (answer[:, :1], padding, answer[:, 1:2], answer[:, 2:4]):
        hidden, memory = compiled(kind, "write")(params, tokens, memory)
        if tokens is not padding:
            rows.append(hidden)
    assert isinstance(memory, Memory)
    assert memory.position.tolist() == [48 + 6 + 4, 32 + 3 + 3]
    found = jnp.concatenate(rows, 1)[tiny.ANSWER != 0]
    np.testing.assert_allclose(found, teacher_forced(kind, *tiny.inputs()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_unrolled_parameters_give_the_same(kind):
    stacked, (pictures, there, prompt, answer) = variables(kind), tiny.inputs()
    apart = {"params": unrolled(stacked["params"])}
    assert "layers" not in apart["params"]["llm"]
    assert sum(leaf.size for leaf in jax.tree.leaves(apart)) == sum(leaf.size for leaf in jax.tree.leaves(stacked))
    answers = []
    for params in (stacked, apart):
        _, memory = compiled(kind, "read", room=6)(params, pictures, there, prompt)
        answers.append(compiled(kind, "write")(params, answer[:, :1], memory))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5), *answers)


def test_prefix_lm_as_a_matrix():
    """Two prompt places, the second of them padding, then three of the answer, the last of them padding."""
    valid = jnp.array([[True, False, True, True, False]])
    expected = [
        [1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [1, 0, 1, 0, 0],
        [1, 0, 1, 1, 0],
        [1, 0, 1, 1, 0],
    ]
    assert prefix_mask(valid, 2)[0].astype(int).tolist() == expected
    both_ways = jnp.ones((1, 3), bool)
    assert prefix_mask(both_ways, 2)[0].astype(int).tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 1]]
    assert positions_of(valid).tolist() == [[0, 0, 1, 2, 2]]
    assert last_of(valid).tolist() == [3]


def test_padding_and_absent_pictures_change_nothing():
    pictures, there, prompt, answer = tiny.inputs()
    expected = teacher_forced("gemma2", pictures, there, prompt, answer)
    absent = jnp.where(there[..., None, None, None], pictures, 255 - pictures)
    again = teacher_forced("gemma2", absent, there, jnp.pad(prompt, ((0, 0), (0, 3))), answer)
    np.testing.assert_allclose(again, expected, atol=1e-5, rtol=1e-5)
    assert np.abs(teacher_forced("gemma2", 255 - pictures, there, prompt, answer) - expected).max() > 0.1


def test_the_answer_is_causal_and_the_prompt_is_not():
    pictures, there, prompt, answer = tiny.inputs()
    expected = teacher_forced("gemma2", pictures, there, prompt, answer)
    later = teacher_forced("gemma2", pictures, there, prompt, answer.at[0, 2].set(50))
    np.testing.assert_allclose(later[:3], expected[:3], atol=1e-6)
    assert np.abs(later[3] - expected[3]).max() > 1e-3
    earlier = teacher_forced("gemma2", pictures, there, prompt.at[0, 2].set(50), answer)
    assert np.abs(earlier[0] - expected[0]).max() > 1e-3


def test_logits_of_some_tokens_are_those_rows():
    logits, params = compiled("gemma2", "logits"), variables("gemma2")
    hidden = jax.random.normal(jax.random.key(0), (2, 3, 36))
    ids = jnp.array([5, 90, 17])
    everything = logits(params, hidden)
    assert everything.shape == (2, 3, 96)
    some = logits(params, hidden, ids)
    np.testing.assert_allclose(some, everything[..., ids], atol=1e-6)
    assert float(jnp.abs(everything).max()) <= 3.0  # the final soft cap


def test_remat_gives_the_same_loss_and_gradients():
    params, inputs = variables("gemma2"), tiny.inputs()

    def gradients(remat):
        net = network("gemma2", remat=remat)
        return jax.jit(jax.value_and_grad(lambda p: jnp.square(net.apply(p, *inputs)).mean()))(params)

    plain, again = gradients("none"), gradients("layers")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4), plain, again)


def test_bfloat16_computes_near_float32():
    wide = teacher_forced("gemma1", *tiny.inputs())
    narrow = jax.jit(network("gemma1", dtype=jnp.bfloat16).apply)(variables("gemma1"), *tiny.inputs())
    assert narrow.dtype == jnp.bfloat16
    assert (
        np.abs(np.asarray(narrow, np.float32)[tiny.ANSWER != 0] - wide).mean() < 0.03
    )  # 3 digits through four layers; values of size 1


@pytest.mark.parametrize(
    ("language", "whole", "vision", "embedding"),
    [
        (gemma_2b(), 2_923_335_408, 414_803_696, 526_647_296),
        (gemma2_2b(), 3_032_094_960, 415_098_864, 592_478_208),
        (gemma2_9b(), 9_662_409_456, 416_574_704, 921_632_768),
        (gemma2_27b(), 27_650_192_112, 417_755_376, 1_184_956_416),
    ],
)
def test_presets_have_the_published_number_of_parameters(language: GemmaConfig, whole: int, vision: int, embedding: int):
    """At 224 pixels; the figures are those of the released files."""
    pixels, there, ids = jnp.zeros((1, 1, 224, 224, 3), jnp.uint8), jnp.ones((1, 1), bool), jnp.ones((1, 2), jnp.int32)
    params = jax.eval_shape(DecoderOnly(so400m(), language).init, jax.random.key(0), pixels, there, ids, ids)["params"]

    def count(tree):
        return sum(leaf.size for leaf in jax.tree.leaves(tree))

    assert (count(params), count(params["img"]), count(params["llm"]["embedder"])) == (whole, vision, embedding)


def test_leaves_are_named_as_in_the_released_files():
    params = tiny.shapes("gemma2")
    names = {
        "/".join(str(key.key) for key in path): leaf.shape for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]
    }
    block = "img/Transformer/encoderblock"
    expected = {
        "img/embedding/kernel": (8, 8, 3, 24), "img/embedding/bias": (24,), "img/pos_embedding": (1, 16, 24),
        **{f"{block}/LayerNorm_{n}/{part}": (2, 24) for n in (0, 1) for part in ("scale", "bias")},
        **{f"{block}/MultiHeadDotProductAttention_0/{n}/kernel": (2, 24, 3, 8) for n in ("query", "key", "value")},
        **{f"{block}/MultiHeadDotProductAttention_0/{n}/bias": (2, 3, 8) for n in ("query", "key", "value")},
        f"{block}/MultiHeadDotProductAttention_0/out/kernel": (2, 3, 8, 24),
        f"{block}/MultiHeadDotProductAttention_0/out/bias": (2, 24),
        f"{block}/MlpBlock_0/Dense_0/kernel": (2, 24, 40), f"{block}/MlpBlock_0/Dense_0/bias": (2, 40),
        f"{block}/MlpBlock_0/Dense_1/kernel": (2, 40, 24), f"{block}/MlpBlock_0/Dense_1/bias": (2, 24),
        "img/Transformer/encoder_norm/scale": (24,), "img/Transformer/encoder_norm/bias": (24,),
        "img/head/kernel": (24, 36), "img/head/bias": (36,),
        "llm/embedder/input_embedding": (96, 36), "llm/final_norm/scale": (36,),
        "llm/layers/attn/q_einsum/w": (3, 6, 36, 8), "llm/layers/attn/kv_einsum/w": (3, 2, 2, 36, 8),
        "llm/layers/attn/attn_vec_einsum/w": (3, 6, 8, 36),
        "llm/layers/mlp/gating_einsum": (3, 2, 36, 48), "llm/layers/mlp/linear": (3, 48, 36),
        **{f"llm/layers/{when}_{what}_norm/scale": (3, 36) for when in ("pre", "post") for what in ("attention", "ffw")},
    }  # fmt: skip
    assert names == expected
