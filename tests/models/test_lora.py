"""LoRA: nothing at the start, exactly the product afterwards, in the right axes, with gradients for the factors."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models import lora
from rtx.models.lora import LoRAConfig
from rtx.models.rt1.model import RT1
from rtx.models.rt1x.model import RT1X
from rtx.models.vla.model import VLA
from tests.models.rt1.small import CONFIG as RT1_SMALL
from tests.models.rt1.small import random_batch as rt1_batch
from tests.models.rt1x.small import CONFIG as RT1X_SMALL
from tests.models.rt1x.small import random_batch as rt1x_batch
from tests.models.vla.tiny_vla import FAMILIES as VLA_FAMILIES
from tests.models.vla.tiny_vla import batch as vla_batch

RNG = jax.random.key(0)
CONFIG = LoRAConfig(rules=(".",), rank=2, alpha=3.0)
SHAPES = {
    "llm/layers/attn/q_einsum/w": (3, 2, 5, 4),
    "llm/layers/attn/kv_einsum/w": (3, 2, 1, 5, 4),
    "llm/layers/attn/attn_vec_einsum/w": (3, 2, 4, 5),
    "llm/layers/mlp/gating_einsum": (3, 2, 5, 7),
    "llm/layers/mlp/linear": (3, 7, 5),
    "llm/layers/pre_ffw_norm/scale": (3, 5),
    "llm/embedder/input_embedding": (11, 5),
    "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/query/kernel": (3, 6, 2, 3),
    "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/query/bias": (3, 2, 3),
    "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/out/kernel": (3, 2, 3, 6),
    "img/Transformer/encoderblock/MlpBlock_0/Dense_0/kernel": (3, 6, 8),
    "img/embedding/kernel": (4, 4, 3, 6),
    "encoder/layers/attention/query/kernel": (3, 5, 8),
    "Transformer_0/TransformerBlock_0/MultiHeadDotProductAttention_0/key/kernel": (5, 2, 4),
    "Transformer_0/TransformerBlock_0/MultiHeadDotProductAttention_0/out/kernel": (2, 4, 5),
    "Transformer_0/Dense_0/kernel": (5, 6),
    "image_tokenizer/MBConvBlock_0/depthwise_kernel": (3, 3, 6, 1),
}
EINSUMS = {  # what the network computes with the kernel, from one row (of each layer)
    "llm/layers/attn/q_einsum/w": "ld,lhdk->lhk",
    "llm/layers/attn/kv_einsum/w": "ld,lchdk->lchk",
    "llm/layers/attn/attn_vec_einsum/w": "lhk,lhkd->ld",
    "llm/layers/mlp/gating_einsum": "ld,lgdf->lgf",
    "llm/layers/mlp/linear": "lf,lfd->ld",
    "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/query/kernel": "ld,ldhk->lhk",
    "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/out/kernel": "lhk,lhkd->ld",
    "img/Transformer/encoderblock/MlpBlock_0/Dense_0/kernel": "ld,ldf->lf",
    "img/embedding/kernel": "pqc,pqcd->d",
    "encoder/layers/attention/query/kernel": "ld,ldf->lf",
    "Transformer_0/TransformerBlock_0/MultiHeadDotProductAttention_0/key/kernel": "d,dhk->hk",
    "Transformer_0/TransformerBlock_0/MultiHeadDotProductAttention_0/out/kernel": "hk,hkd->d",
    "Transformer_0/Dense_0/kernel": "d,df->f",
}


def nested(flat):
    tree = {}
    for path, leaf in flat.items():
        lora._put(tree, path, leaf)
    return tree


def random_like(tree, seed=1):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), tree)


PARAMS = random_like(nested({path: np.zeros(shape) for path, shape in SHAPES.items()}))
FACTORS = jax.jit(lambda: lora.adapters(RNG, PARAMS, CONFIG))()


def test_every_kernel_and_nothing_else_is_found():
    assert set(lora.kernels(PARAMS, CONFIG)) == set(EINSUMS)


def test_zero_at_the_start_to_the_bit():
    adapted = jax.jit(lambda p, f: lora.adapted(p, f, CONFIG))(PARAMS, FACTORS)
    jax.tree.map(np.testing.assert_array_equal, adapted, PARAMS)
    assert all(np.any(leaf != 0) for path, leaf in lora.flatten(FACTORS).items() if path.endswith("/a"))


@pytest.mark.parametrize("path", EINSUMS)
def test_the_change_has_the_rank_the_network_sees(path):
    """Each layer's linear map, seen as a matrix from its inputs to its outputs, changes by a product of `rank` columns."""
    factors = random_like(FACTORS, seed=2)
    before, after = (lora.flatten(tree)[path] for tree in (PARAMS, lora.adapted(PARAMS, factors, CONFIG)))
    rows, kernel, result = re.split(r",|->", EINSUMS[path])
    outputs = [axis for axis in result if axis not in rows]
    inputs = [axis for axis in rows if axis not in result]
    stack = [axis for axis in kernel if axis in rows and axis in result]
    if "kv" in path or "gating" in path:
        stack, outputs = [*stack, outputs[0]], outputs[1:]
    size = dict(zip(kernel, before.shape, strict=True))
    order = [kernel.index(axis) for axis in [*stack, *inputs, *outputs]]
    matrix = np.asarray(after - before).transpose(order)
    matrix = matrix.reshape(-1, np.prod([size[x] for x in inputs]), np.prod([size[x] for x in outputs]))
    assert len(matrix) == np.prod([size[x] for x in stack], initial=1)
    assert all(np.linalg.matrix_rank(one, tol=1e-4) == CONFIG.rank for one in matrix)
    a, b = (np.asarray(lora.flatten(factors)[f"{path}/{name}"], np.float64) for name in "ab")
    expected = CONFIG.alpha / CONFIG.rank * (a @ b)
    np.testing.assert_allclose(matrix.reshape(expected.shape), expected, rtol=0, atol=2e-5)


def test_numpy_and_jax_agree():
    factors = random_like(FACTORS, seed=2)
    host = lora.adapted(*jax.tree.map(np.asarray, (PARAMS, factors)), CONFIG)
    device = jax.jit(lambda p, f: lora.adapted(p, f, CONFIG))(PARAMS, factors)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(host))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), host, device)


def test_dtype_of_the_kernel_stays():
    half = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), PARAMS)
    assert jax.eval_shape(lambda p: lora.adapted(p, FACTORS, CONFIG), half) == half


def test_rank_ends_at_the_size_of_the_kernel():
    factors = lora.flatten(lora.adapters(RNG, PARAMS, LoRAConfig(rules=("Transformer_0/Dense_0",), rank=32)))
    assert {path: leaf.shape for path, leaf in factors.items()} == {
        "Transformer_0/Dense_0/kernel/a": (5, 5),
        "Transformer_0/Dense_0/kernel/b": (5, 6),
    }


def test_factors_depend_on_their_path_alone():
    one = lora.adapters(RNG, PARAMS, LoRAConfig(rules=("encoder/",), rank=2))
    everything = lora.flatten(FACTORS)
    for path, leaf in lora.flatten(one).items():
        np.testing.assert_array_equal(leaf, everything[path])


def test_a_rule_without_kernels_names_near_paths():
    with pytest.raises(UserError, match=r"'lm/layers/atn' matches no kernel that can be adapted.*llm/layers/attn"):
        lora.adapters(RNG, PARAMS, LoRAConfig(rules=("encoder/", "lm/layers/atn")))
    with pytest.raises(UserError, match="input_embedding"):
        lora.adapters(RNG, PARAMS, LoRAConfig(rules=("input_embedding",)))


def test_problems_are_named():
    assert LoRAConfig(rules=("a|b",)).problems("lora") == []
    wrong = LoRAConfig(rules=("(", ""), rank=0, alpha=0.0).problems("lora")
    assert [line.split()[0] for line in wrong] == ["lora.rules:", "lora.rules:", "lora.rank", "lora.alpha"]


def test_openvla_count():
    """97.6M factors of rank 32 in all linear layers (arXiv 2406.09246, table 1), of which Llama-2 7B has 79.95M."""
    shapes = {f"attention/{name}": (4096, 4096) for name in ("query", "key", "value", "out")}
    shapes |= {"mlp/gate": (4096, 11008), "mlp/up": (4096, 11008), "mlp/down": (11008, 4096)}
    params = nested({f"layers/{p}/kernel": jax.ShapeDtypeStruct((32, *s), jnp.float32) for p, s in shapes.items()})
    factors = jax.eval_shape(lambda: lora.adapters(RNG, params, LoRAConfig(rules=(".",))))
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(factors)) == 79_953_920


def test_gradients_reach_the_factors():
    def loss(factors):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(lora.adapted(PARAMS, factors, CONFIG)))

    flat = lora.flatten(jax.jit(jax.grad(loss))(FACTORS))
    assert all(np.any(leaf != 0) for path, leaf in flat.items() if path.endswith("/b"))  # A's are 0 while B is


SMALL = {
    "rt1": (RT1, RT1_SMALL, rt1_batch),
    "rt1x": (RT1X, RT1X_SMALL, rt1x_batch),
    "paligemma": (VLA, VLA_FAMILIES["paligemma"](head="flow"), vla_batch),
    "pali": (VLA, VLA_FAMILIES["pali"](head="l1"), vla_batch),
}


@pytest.mark.parametrize("name", SMALL)
def test_every_matrix_of_the_small_families_can_be_adapted(name):
    build, config, batch = SMALL[name]
    params = jax.eval_shape(build(config).init, RNG, batch(config))["params"]
    matrices = r"/(kernel|w|gating_einsum|linear)$"
    named = {path for path, leaf in lora.flatten(params).items() if re.search(matrices, path) and leaf.ndim > 1}
    assert set(lora.kernels(params, CONFIG)) == named
    shapes = jax.eval_shape(lambda p: lora.adapted(p, lora.adapters(RNG, p, CONFIG), CONFIG), params)
    assert shapes == jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
