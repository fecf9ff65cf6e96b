import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.vla.vit import ViT, ViTConfig, big_g, so400m, vit_22b, vit_e

PLAIN = ViTConfig(patch=4, width=12, depth=2, mlp=20, heads=3)
LARGE = ViTConfig(patch=4, width=12, depth=2, mlp=20, heads=3, parallel=True, qk_norm=True, qkv_bias=False)


def pictures() -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 8, 12, 3), dtype=np.uint8))


def random_like(shapes) -> dict:
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), jnp.float32), shapes)


def layer_norm(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * scale


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def test_the_parallel_block_written_out():
    """ViT-22B section 2: y = LN(x); x + attention(y) + mlp(y), LayerNorm on queries and keys, in numpy float64."""
    net = ViT(LARGE)
    variables = random_like(jax.eval_shape(net.init, jax.random.key(0), pictures()))
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    patches = np.asarray(pictures()).reshape(2, 2, 4, 3, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 48) / 127.5 - 1
    x = patches @ params["embedding"]["kernel"].reshape(48, 12) + params["embedding"]["bias"] + params["pos_embedding"]
    stack = params["Transformer"]["encoderblock"]
    for i in range(LARGE.depth):
        p = jax.tree.map(lambda leaf, i=i: leaf[i], stack)
        attention, mlp = p["MultiHeadDotProductAttention_0"], p["MlpBlock_0"]
        y = layer_norm(x, p["LayerNorm_0"]["scale"])
        query, key, value = (np.einsum("nsd,deh->nesh", y, attention[n]["kernel"]) for n in ("query", "key", "value"))
        query = layer_norm(query, attention["query_norm"]["scale"])
        key = layer_norm(key, attention["key_norm"]["scale"])
        scores = np.exp(query @ key.swapaxes(2, 3) / np.sqrt(4))
        mixed = np.einsum("neqs,nesh->nqeh", scores / scores.sum(-1, keepdims=True), value)
        hidden = gelu(y @ mlp["Dense_0"]["kernel"] + mlp["Dense_0"]["bias"])
        x = x + np.einsum("nqeh,ehd->nqd", mixed, attention["out"]["kernel"]) + attention["out"]["bias"]
        x = x + hidden @ mlp["Dense_1"]["kernel"] + mlp["Dense_1"]["bias"]
    expected = layer_norm(x, params["Transformer"]["encoder_norm"]["scale"])
    np.testing.assert_allclose(jax.jit(net.apply)(variables, pictures()), expected, atol=1e-4)


def test_a_picture_does_not_see_the_others():
    net = ViT(PLAIN, features=7)
    variables = random_like(jax.eval_shape(net.init, jax.random.key(0), pictures()))
    both = net.apply(variables, pictures())
    assert both.shape == (2, 6, 7)
    np.testing.assert_allclose(net.apply(variables, pictures()[1:])[0], both[1], atol=1e-5)


def test_vit_22b_has_no_biases_where_the_paper_has_none():
    shapes = jax.eval_shape(ViT(LARGE).init, jax.random.key(0), pictures())["params"]["Transformer"]
    block = shapes["encoderblock"]
    assert set(block) == {"LayerNorm_0", "MultiHeadDotProductAttention_0", "MlpBlock_0"}
    assert set(block["LayerNorm_0"]) == set(shapes["encoder_norm"]) == {"scale"}
    attention = block["MultiHeadDotProductAttention_0"]
    assert {name: set(part) for name, part in attention.items()} == {
        "query": {"kernel"}, "key": {"kernel"}, "value": {"kernel"}, "out": {"kernel", "bias"},
        "query_norm": {"scale"}, "key_norm": {"scale"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("config", "millions"), [(so400m(), 412), (big_g(), 1843), (vit_e(), 3805), (vit_22b(), 21751)], ids=lambda v: str(v)[:20]
)
def test_presets_have_their_number_of_parameters(config, millions):
    """Without the pooling head. ViT-22B is 21.7B in its paper, G and e are called 2B and 4B."""
    pixels = jnp.zeros((1, 224, 224, 3), jnp.uint8)
    shapes = jax.eval_shape(ViT(config).init, jax.random.key(0), pixels)
    assert round(sum(leaf.size for leaf in jax.tree.leaves(shapes)) / 1e6) == millions


def test_pictures_and_configs_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="10x12 pixels: both sides must be multiples of the patch, 4"):
        PLAIN.num_tokens(10, 12)
    with pytest.raises(UserError, match="width 12 is not divisible by heads 5"):
        ViTConfig(patch=4, width=12, depth=1, mlp=4, heads=5)
    with pytest.raises(UserError, match="patch, depth must be at least 1"):
        ViTConfig(patch=0, width=12, depth=0, mlp=4, heads=3)
