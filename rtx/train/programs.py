"""The two programs of a run, as they lie on its devices: the one that makes the first state, and the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from rtx.models.protocol import Model
from rtx.train import imitation
from rtx.train.config import TrainConfig
from rtx.train.parallel.mesh import everywhere
from rtx.train.state import TrainState, init_state


def init_of(config: TrainConfig, model: Model, optimizer: optax.GradientTransformation) -> Callable[..., TrainState]:
    """`(batch, given={}) -> state`, as `init_state` has it, to be jitted."""
    return partial(
        init_state, model, optimizer, seed=config.run.seed, ema=config.train.ema is not None, parts=config.train.parts
    )


def jit_init(init: Callable[..., TrainState], layout: Any) -> Callable[[Any, Mapping[str, Any]], TrainState]:
    """The state is placed by name, as a restored one is: otherwise the step is another program to jax, and a resume compiles
    anew. It runs once: on the CPU, where compiling RT-1's start takes 20 s, the quick way takes 7 s."""
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
    return jax.jit(init, out_shardings=layout, compiler_options=quick)


def jit_step(step: imitation.Step, layout: Any, mesh: Mesh) -> Any:
    """`(state, batch, flags) -> (state, values, number of flags)`: the new state lies where the old one did, whose memory it
    takes. `flags`: the hosts' stop flags (`rtx.train.parallel.stop`), or None."""

    def train_step(state: TrainState, batch: imitation.Groups, flags: Any) -> tuple[TrainState, dict[str, Any], Any]:
        state, values = step(state, batch)
        return state, values, None if flags is None else flags.sum()

    return jax.jit(train_step, donate_argnums=0, out_shardings=(layout, everywhere(mesh), everywhere(mesh)))
