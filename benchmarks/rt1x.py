"""RT-1-X's control step and training step against the published network written plainly, in one process on one machine.

    python benchmarks/rt1x.py --batch 4 --repeats 3

Plain (`benchmarks/rt1x_plain.py`) is what the released code does: 15 frames encoded in every control step, grouped
convolutions, all 1,380 rows under the full mask. XLA compiles both in float32 with the same parameters, and their answers are
compared. Contenders take turns; the median is reported, in seconds of the clock and of the processor (which other programs
hardly change), with the floating-point operations and the scratch memory XLA counts in each program. Goals on a CPU:
control 6 times, training 1.5 times. One window of a plain training step needs 9 GB of scratch on a CPU, so both take
`--at-once` windows at a time and add up their gradients; batch statistics are then of so many windows.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.rt1x_plain import PlainRT1X
from rtx.models.rt1x import actions
from rtx.models.rt1x.config import RT1XConfig, rt1x
from rtx.models.rt1x.model import RT1X
from rtx.spec import Batch

KEY = jax.random.key(0)
Program = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4, help="windows of a training step (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=1, help="windows of it that memory holds (default: %(default)s)")
    parser.add_argument("--part", choices=("control", "training", "both"), default="both")
    args = parser.parse_args()
    device = jax.devices()[0]
    print(f"device {device.platform} {device.device_kind}, jax {jax.__version__}")
    config = rt1x()
    quick = {"xla_backend_optimization_level": 0} if device.platform == "cpu" else {}
    variables = jax.jit(RT1X(config).init, compiler_options=quick)(KEY, random_batch(config, 1, steps=1))
    if args.part != "training":
        compare("control step", control_steps(config, variables), args.repeats)
    if args.part != "control":
        compare(
            f"training step, batch {args.batch}",
            training_steps(config, variables, args.batch, args.at_once),
            args.repeats,
        )


def random_batch(config: RT1XConfig, size: int, *, steps: int) -> Batch:
    rng, there = np.random.default_rng(0), np.ones((size, config.history), bool)
    action = rng.uniform(-1, 1, (size, steps, config.action_dims)).astype(np.float32)
    frames = rng.integers(0, 256, (size, config.history, *config.image_size, 3), dtype=np.uint8)
    text = rng.normal(0, 0.05, (size, config.sentence_width)).astype(np.float32)
    batch = Batch(
        images={"primary": frames}, image_mask={"primary": there}, history_mask=there,
        proprio=np.zeros((size, config.history, 0), np.float32), text=text, action=action,
        action_mask=np.ones(action.shape, bool), embodiment=np.zeros(size, np.int32), sample=np.zeros(size, np.int32),
    )  # fmt: skip
    return jax.device_put(batch)


def network_pictures(config: RT1XConfig, frames: jax.Array) -> jax.Array:
    size = (*frames.shape[:2], config.network_size, config.network_size, 3)
    return jax.image.resize(frames.astype(jnp.float32) / 255, size, "bilinear", antialias=False)


def control_steps(config: RT1XConfig, variables: Any) -> dict[str, Program]:
    """Both answer with the last frame's action."""
    model, plain, batch = RT1X(config), PlainRT1X(config), random_batch(config, 1, steps=1)

    def plain_act(variables: Any, batch: Batch) -> jax.Array:
        logits = plain.apply(variables, network_pictures(config, batch.images["primary"]), batch.text)
        return actions.decode(config, jnp.argmax(logits[:, -1:], -1))

    newest = dataclasses.replace(
        batch, images={"primary": batch.images["primary"][:, -1:]}, image_mask={"primary": batch.image_mask["primary"][:, -1:]},
        history_mask=batch.history_mask[:, -1:], action=None, action_mask=None,
    )  # fmt: skip
    memory = jax.jit(model.remember)(variables, batch)
    before = jnp.concatenate([memory[:, :1], memory[:, :-1]], 1)  # the newest frame is not in it yet
    ours = compiled(lambda *args: model.act_again(*args, KEY)[0], variables, before, newest)
    theirs = compiled(plain_act, variables, batch)
    report_flops({"ours": ours, "plain": theirs})
    difference = np.abs(ours(variables, before, newest) - theirs(variables, batch)).max()
    print(f"  largest difference of the two actions: {difference:.2g} (a bin is {2 / (config.num_bins - 1):.2g})")
    return {"ours": partial(ours, variables, before, newest), "plain": partial(theirs, variables, batch)}


def training_steps(config: RT1XConfig, variables: Any, size: int, at_once: int) -> dict[str, Program]:
    """Loss over all tokens of all frames, gradient (of `at_once` windows at a time, added up), batch statistics, Adam."""
    model, plain, batch = RT1X(config), PlainRT1X(config), random_batch(config, size, steps=config.history)
    adam = optax.adam(1e-4, eps=1e-7)
    start = adam.init(variables["params"])

    def ours_of(params: Any, stats: Any, batch: Batch) -> tuple[jax.Array, Any]:
        loss, _, kept = model.loss({"params": params, "batch_stats": stats}, batch, KEY, train=True)
        return loss, kept["batch_stats"]

    def plain_of(params: Any, stats: Any, batch: Batch) -> tuple[jax.Array, Any]:
        pictures = network_pictures(config, batch.images["primary"])
        logits, kept = plain.apply(
            {"params": params, "batch_stats": stats}, pictures, batch.text, True, rngs={"dropout": KEY}, mutable=["batch_stats"]
        )
        labels = actions.encode(config, batch.action)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), kept["batch_stats"]

    def part(loss_of: Any, params: Any, so_far: Any, windows: Batch) -> Any:
        (loss, stats), grads = jax.value_and_grad(loss_of, has_aux=True)(params, so_far[1], windows)
        return (jax.tree.map(jnp.add, so_far[0], grads), stats), loss

    def update(params: Any, total: Any, opt_state: Any) -> Any:
        updates, opt_state = adam.update(jax.tree.map(lambda x: x * (at_once / size), total), opt_state)
        return optax.apply_updates(params, updates), opt_state

    params, stats = variables["params"], variables["batch_stats"]
    begin = (jax.tree.map(jnp.zeros_like, params), stats)
    parts = [jax.tree.map(lambda x: x[i : i + at_once], batch) for i in range(0, size, at_once)]  # noqa: B023 (used at once)
    finish = compiled(update, params, begin[0], start)

    def step(program: Any) -> Any:  # rounds in Python: XLA on a CPU gives the inside of its own loop one core
        so_far, losses = begin, []
        for windows in parts:
            so_far, loss = program(params, so_far, windows)
            losses.append(loss)
        return losses, so_far[1], finish(params, so_far[0], start)

    programs = {
        name: compiled(partial(part, loss), params, begin, parts[0]) for name, loss in (("ours", ours_of), ("plain", plain_of))
    }
    report_flops(programs, times=len(parts))
    return {name: partial(step, program) for name, program in programs.items()}


def compiled(function: Callable[..., Any], *args: Any) -> Any:
    return jax.jit(function).lower(*args).compile()


def report_flops(programs: Mapping[str, Any], times: int = 1) -> None:
    """`times` that each runs in a step."""
    for name, program in programs.items():
        flops, scratch = times * program.cost_analysis()["flops"], program.memory_analysis().temp_size_in_bytes
        print(f"  {name:6} {flops / 1e9:8,.1f} GFLOP counted by XLA, {scratch / 1e9:.1f} GB of scratch")


def compare(title: str, programs: Mapping[str, Program], repeats: int) -> None:
    clock: dict[str, list[float]] = {name: [] for name in programs}
    processor: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):  # compiled beforehand, and seconds long: nothing to warm up
        for name, program in programs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(program())
            clock[name].append(time.perf_counter() - wall)
            processor[name].append(time.process_time() - cpu)
            print(f"    {name}: {clock[name][-1]:,.1f} s", flush=True)
    print(f"{title}, median of {repeats}")
    for unit, times in (("clock", clock), ("processor", processor)):
        median = {name: float(np.median(values)) for name, values in times.items()}
        shown = ", ".join(f"{name} {value * 1e3:,.0f} ms" for name, value in median.items())
        print(f"  {unit:9} {shown}: {median['plain'] / median['ours']:.1f} times")


if __name__ == "__main__":
    main()
