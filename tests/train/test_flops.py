"""Operations counted on the jaxpr: against closed forms, against XLA's count where nothing is scanned, through loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from rtx.models.families import build_model
from rtx.train.flops import count, unrematerialised
from tests.models.rt1x.small import CONFIG, random_batch
from tests.models.vla import tiny_vla


def f32(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def deep(x, kernels, *, remat=False):
    """tanh(x k) for each kernel in turn."""

    def layer(x, kernel):
        return jnp.tanh(x @ kernel), None

    return jax.lax.scan(jax.checkpoint(layer) if remat else layer, x, kernels)[0].sum()


LAYER = 2 * 8 * 16 * 16  # of `deep` with ARGS
ARGS = (f32(8, 16), f32(5, 16, 16))


def test_a_product_is_a_multiplication_and_an_addition():
    flops = count(lambda x, y: jnp.tanh(x @ y), f32(8, 16), f32(16, 32))
    assert (flops.products, flops.others) == (2 * 8 * 16 * 32, 8 * 32)
    assert count(lambda x, y: jnp.einsum("bij,bkj->bik", x, y), f32(3, 4, 5), f32(3, 7, 5)).products == 2 * 3 * 4 * 7 * 5


def test_a_scan_counts_as_often_as_it_runs_and_its_gradient_three_times():
    assert count(deep, *ARGS).products == 5 * LAYER
    assert count(jax.grad(deep, (0, 1)), *ARGS).products == 3 * 5 * LAYER


def test_what_is_computed_again_counts_unless_it_is_told_to_be_kept():
    again = lambda x, k: deep(x, k, remat=True)  # noqa: E731
    assert count(jax.grad(again, (0, 1)), *ARGS).products == 4 * 5 * LAYER
    assert count(jax.grad(unrematerialised(again), (0, 1)), *ARGS).products == 3 * 5 * LAYER


def test_unrematerialised_computes_the_same():
    rng = np.random.default_rng(0)
    x, kernels = rng.normal(size=(2, 4)).astype(np.float32), rng.normal(size=(3, 4, 4)).astype(np.float32)
    again = lambda x, k: deep(x, k, remat=True)  # noqa: E731
    for ours, theirs in zip(
        jax.grad(unrematerialised(again), (0, 1))(x, kernels), jax.grad(again, (0, 1))(x, kernels), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize(
    ("loop", "products", "unknown"),
    [
        (lambda x, n: jax.lax.fori_loop(0, 7, lambda _, c: c @ c, x), 7 * 128, 0),
        (lambda x, n: jax.lax.while_loop(lambda c: c[0] < 7, lambda c: (c[0] + 1, c[1] @ c[1]), (3, x))[1], 4 * 128, 0),
        (lambda x, n: jax.lax.while_loop(lambda c: c[0] < 7, lambda c: (c[0] + 2, c[1] @ c[1]), (3, x))[1], 128, 1),
        (lambda x, n: jax.lax.fori_loop(0, n, lambda _, c: c @ c, x), 128, 1),
        (lambda x, n: jax.lax.cond(n > 0, lambda: x @ x @ x, lambda: x @ x), 2 * 128, 0),
        (lambda x, n: (x @ x, x)[1], 0, 0),  # nobody asks for it
    ],
)
def test_loops_and_branches(loop, products, unknown):
    flops = count(loop, f32(4, 4), jax.ShapeDtypeStruct((), jnp.int32))
    assert (flops.products, flops.unknown_loops) == (products, unknown)


def test_functions_with_derivatives_of_their_own():
    @jax.custom_vjp
    def product(x, y):
        return x @ y

    product.defvjp(lambda x, y: (x @ y, (x, y)), lambda kept, g: (g @ kept[1].T, kept[0].T @ g))
    assert count(product, f32(2, 3), f32(3, 4)).products == 48
    assert count(jax.grad(lambda x, y: product(x, y).sum(), (0, 1)), f32(2, 3), f32(3, 4)).products == 2 * 48
    smooth = jax.custom_jvp(lambda x, y: x @ y)
    smooth.defjvp(lambda primals, tangents: (smooth(*primals), tangents[0] @ primals[1] + primals[0] @ tangents[1]))
    assert count(smooth, f32(2, 3), f32(3, 4)).products == 48


def test_shards_count_together():
    mesh = AbstractMesh((4,), ("data",))
    spec = PartitionSpec("data")
    sharded = jax.shard_map(lambda x: x @ x.T, mesh=mesh, in_specs=spec, out_specs=spec)
    assert count(sharded, f32(8, 16)).products == 4 * 2 * 2 * 2 * 16


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("of", ["itself", "pictures", "kernel"])
def test_convolutions_as_xla_counts_them(stride, groups, of):
    def conv(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=numbers, feature_group_count=groups
        )

    function = {
        "itself": conv,
        "pictures": jax.grad(lambda x, k: conv(x, k).sum()),
        "kernel": jax.grad(lambda x, k: conv(x, k).sum(), 1),
    }[of]
    args = (f32(2, 9, 7, 4), f32(3, 5, 4 // groups, 8))
    assert count(function, *args).products == jax.jit(function).lower(*args).cost_analysis()["flops"]


def test_a_whole_model_without_loops_as_xla_counts_it():
    """XLA counts other things of elementwise operations: a few per cent, in a model too small to be all products."""
    model, batch = build_model(CONFIG), random_batch(CONFIG, 2, steps=CONFIG.history)
    variables = jax.eval_shape(lambda key: model.init(key, batch), jax.random.key(0))

    def loss(params, stats, key):
        return model.loss({"params": params, "batch_stats": stats}, batch, key, train=True)[0]

    args = (variables["params"], variables["batch_stats"], jax.random.key(0))
    gradient = jax.grad(loss)
    assert count(gradient, *args).total == pytest.approx(jax.jit(gradient).lower(*args).cost_analysis()["flops"], rel=0.05)


@pytest.mark.parametrize("family", sorted(tiny_vla.FAMILIES))
def test_each_scanned_layer_costs_what_one_costs(family):
    def products(depth):
        config = tiny_vla.FAMILIES[family]()
        vision = config.vision.__class__(**{**vars(config.vision), "depth": depth})
        config = config.__class__(**{**vars(config), "vision": vision})
        model, batch = build_model(config), tiny_vla.batch(config)
        variables = jax.eval_shape(lambda key: model.init(key, batch), jax.random.key(0))
        return count(lambda v, key: model.loss(v, batch, key, train=True)[0], variables, jax.random.key(0)).products

    pictures, tokens, width, mlp = 3 * 4, 4, 16, 32
    layer = 2 * pictures * tokens * (4 * width**2 + 2 * width * mlp + 2 * tokens * width)
    assert products(5) - products(1) == 4 * layer
