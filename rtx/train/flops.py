"""Floating-point operations of a JAX function, counted on its jaxpr: what XLA's cost analysis says, with loops counted whole.

    count(step, state, batch)                     what a chip computes, recomputed layers among it
    count(grad(unrematerialised(loss)), ...)      what the gradient needs: MFU is measured against this

XLA counts the body of a scan once, however often it runs. Here it counts `length` times. A multiplication and the addition
behind it are two operations. Of a branch the dearer side counts; of a loop whose length only the data know the body counts
once, and the loop is reported. Arguments may be abstract (`jax.ShapeDtypeStruct`): nothing is computed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Floating-point operations, as floats: a step of a large model has some 1e17 of them."""

    products: float = 0.0  # of matrix products and convolutions
    others: float = 0.0  # of the rest: one an element
    unknown_loops: int = 0  # whose bodies count once
    uncounted: frozenset[str] = frozenset()  # primitives that compute and cannot be looked into

    @property
    def total(self) -> float:
        return self.products + self.others

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            products=self.products + other.products,
            others=self.others + other.others,
            unknown_loops=self.unknown_loops + other.unknown_loops,
            uncounted=self.uncounted | other.uncounted,
        )

    def __mul__(self, times: int) -> Flops:
        return Flops(
            products=self.products * times,
            others=self.others * times,
            unknown_loops=self.unknown_loops,
            uncounted=self.uncounted,
        )


def count(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Flops:
    """Of one call with arguments of these shapes; traces, computes nothing."""
    return of_jaxpr(jax.make_jaxpr(function)(*args, **kwargs).jaxpr)


def of_jaxpr(jaxpr: Jaxpr) -> Flops:
    """Without equations whose results nobody uses: XLA leaves them out."""
    used, total = set(map(id, jaxpr.outvars)), Flops()
    for equation in reversed(jaxpr.eqns):
        if equation.effects or any(id(var) in used for var in equation.outvars):
            used |= set(map(id, equation.invars))
            total += _of_equation(equation)
    return total


def unrematerialised(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose gradient keeps what it needs in place of computing it again. For counting, not for running."""

    @functools.wraps(function)
    def keeping(*args: Any, **kwargs: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args, **kwargs)
        results = jaxpr_as_fun(_all_kept(closed))(*jax.tree.leaves((args, kwargs)))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return keeping


def _all_kept(closed: ClosedJaxpr) -> ClosedJaxpr:
    return ClosedJaxpr(_kept(closed.jaxpr), closed.consts)


def _kept(jaxpr: Jaxpr) -> Jaxpr:
    return jaxpr.replace(eqns=[_kept_equation(equation) for equation in jaxpr.eqns])


def _kept_equation(equation: JaxprEqn) -> JaxprEqn:
    params = {name: _kept_value(value) for name, value in equation.params.items()}
    if equation.primitive.name in _REMAT:
        params["policy"] = jax.checkpoint_policies.everything_saveable
    return equation.replace(params=params)


def _kept_value(value: Any) -> Any:
    if isinstance(value, ClosedJaxpr):
        return _all_kept(value)
    if isinstance(value, Jaxpr):
        return _kept(value)
    return tuple(map(_kept_value, value)) if type(value) is tuple else value  # not of a named one, which is no list of jaxprs


_REMAT = ("checkpoint", "remat", "remat2")
_CALLS = (*_REMAT, "jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")
_BODY = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_OPAQUE = ("pallas_call", "ffi_call", "custom_call", "ragged_dot", "ragged_dot_general", "fft", "cholesky", "eigh", "svd", "lu")
"""They compute, and how much is not to be read from their shapes."""

_ONE_EACH = frozenset({
    "add", "sub", "mul", "div", "rem", "neg", "abs", "sign", "max", "min", "pow", "integer_pow", "square", "sqrt", "rsqrt",
    "cbrt", "exp", "exp2", "log", "log1p", "expm1", "tanh", "logistic", "sin", "cos", "tan", "asin", "acos", "atan", "atan2",
    "sinh", "cosh", "asinh", "acosh", "atanh", "erf", "erfc", "erf_inv", "lgamma", "digamma", "floor", "ceil", "round",
    "add_any", "cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "clamp", "select_n", "eq", "ne", "lt", "le", "gt", "ge",
    "is_finite", "nextafter",
})  # fmt: skip
_REDUCTIONS = frozenset({"reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "argmax", "argmin", "scatter-add"})


def _of_equation(equation: JaxprEqn) -> Flops:
    name, params = equation.primitive.name, equation.params
    if name in _LOOPS_AND_PRODUCTS:
        return _LOOPS_AND_PRODUCTS[name](equation)
    if name in _CALLS:
        return of_jaxpr(_inside(next(params[key] for key in _BODY if key in params)))
    if name in _OPAQUE:
        return Flops(uncounted=frozenset({name}))
    if name in _ONE_EACH:
        return Flops(others=float(_size(equation.outvars[0]))) if _is_float(equation) else Flops()
    if name in _REDUCTIONS:
        return Flops(others=float(max(map(_size, equation.invars)))) if _is_float(equation) else Flops()
    return Flops()


def _scan(equation: JaxprEqn) -> Flops:
    return of_jaxpr(_inside(equation.params["jaxpr"])) * equation.params["length"]


def _while(equation: JaxprEqn) -> Flops:
    once = of_jaxpr(_inside(equation.params["cond_jaxpr"])) + of_jaxpr(_inside(equation.params["body_jaxpr"]))
    length = _trips(equation)
    return once + Flops(unknown_loops=1) if length is None else once * length


def _trips(equation: JaxprEqn) -> int | None:
    """Of a loop that counts by ones from one constant up to another; None for others."""
    params = equation.params
    condition, body = _inside(params["cond_jaxpr"]), _inside(params["body_jaxpr"])
    num_cond, num_body = params["cond_nconsts"], params["body_nconsts"]
    if len(condition.eqns) != 1 or condition.eqns[0].primitive.name != "lt":
        return None
    given = dict(zip(condition.invars, [*equation.invars[:num_cond], *equation.invars[num_cond + num_body :]], strict=True))
    first, last = (_constant(var if isinstance(var, Literal) else given.get(var)) for var in condition.eqns[0].invars)
    counter = condition.eqns[0].invars[0]
    if first is None or last is None or isinstance(counter, Literal):
        return None
    place = condition.invars.index(counter) - num_cond
    return max(0, last - first) if place >= 0 and _counts_up(body, body.invars[num_body + place], body.outvars[place]) else None


def _counts_up(body: Jaxpr, before: Any, after: Any) -> bool:
    makers = [equation for equation in body.eqns if after in equation.outvars]
    return any(
        equation.primitive.name == "add" and equation.invars[0] is before and _constant(equation.invars[1]) == 1
        for equation in makers
    )


def _constant(var: Any) -> int | None:
    return int(var.val) if isinstance(var, Literal) and np.ndim(var.val) == 0 else None


def _cond(equation: JaxprEqn) -> Flops:
    return max((of_jaxpr(_inside(branch)) for branch in equation.params["branches"]), key=lambda flops: flops.total)


def _shard_map(equation: JaxprEqn) -> Flops:
    """Inside, shapes are of one shard."""
    sizes, axes = dict(equation.params["mesh"].shape), equation.params["newly_manual_axes"]
    return of_jaxpr(_inside(equation.params["jaxpr"])) * math.prod(sizes[axis] for axis in axes)


def _dot(equation: JaxprEqn) -> Flops:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = _shape(equation.invars[0])
    return Flops(products=2.0 * _size(equation.outvars[0]) * math.prod(shape[axis] for axis in contracted))


def _conv(equation: JaxprEqn) -> Flops:
    """Products with padding and with the zeros between dilated entries do not count, as XLA has it."""
    params = equation.params
    numbers, (lhs, rhs), out = params["dimension_numbers"], equation.invars, equation.outvars[0]
    inputs, outputs = (_spatial(var, spec) for var, spec in ((lhs, numbers.lhs_spec), (out, numbers.out_spec)))
    kernel = _spatial(rhs, numbers.rhs_spec)
    strides, padding = params["window_strides"], params["padding"]
    dilations = zip(params["lhs_dilation"], params["rhs_dilation"], strict=True)
    pairs = 1.0
    for n, m, k, stride, (low, _), (spread, apart) in zip(inputs, outputs, kernel, strides, padding, dilations, strict=True):
        place = np.arange(m)[:, None] * stride + np.arange(k)[None] * apart - low
        pairs *= int(((place >= 0) & (place <= (n - 1) * spread) & (place % spread == 0)).sum())
    batch, features = (_shape(out)[axis] for axis in numbers.out_spec[:2])
    return Flops(products=2.0 * batch * features * _shape(rhs)[numbers.rhs_spec[1]] * pairs)


def _spatial(var: Any, spec: tuple[int, ...]) -> list[int]:
    return [_shape(var)[axis] for axis in spec[2:]]


_LOOPS_AND_PRODUCTS: dict[str, Callable[[JaxprEqn], Flops]] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "shard_map": _shard_map,
    "dot_general": _dot,
    "conv_general_dilated": _conv,
}


def _inside(jaxpr: Jaxpr | ClosedJaxpr) -> Jaxpr:
    return jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr


def _is_float(equation: JaxprEqn) -> bool:
    return any(jax.numpy.issubdtype(var.aval.dtype, np.inexact) for var in equation.invars if hasattr(var.aval, "dtype"))


def _shape(var: Any) -> tuple[int, ...]:
    return getattr(var.aval, "shape", ())  # tokens and keys of loops have none


def _size(var: Any) -> int:
    return math.prod(_shape(var))
