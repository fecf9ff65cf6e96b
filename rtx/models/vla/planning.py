"""A model that plans keeps its plan for some control steps: reading a plan again costs one pass, writing it one per token.

    step        1        2 .. plan_steps           plan_steps + 1
    session     think    read the plan, act        think

Source: embodied chain of thought (arXiv 2407.08693) keeps the high-level part for several steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from rtx.errors import UserError
from rtx.models.protocol import Variables
from rtx.models.vla.config import VLAConfig
from rtx.models.vla.decode import GREEDY, Planned, write_planned
from rtx.models.vla.inputs import lengths
from rtx.models.vla.model import VLA
from rtx.spec import Batch


class Kept(NamedTuple):
    """The frames seen, and the plan with its age in steps; an age of `plan_steps` or more asks for a new one."""

    images: Mapping[str, UInt8[Array, "b t h w 3"]]
    image_mask: Mapping[str, Bool[Array, "b t"]]
    history_mask: Bool[Array, "b t"]
    proprio: Float[Array, "b t p"]
    plan: Int[Array, "b m"]
    age: Int[Array, ""]


@dataclass(frozen=True)
class PlanningVLA(VLA):
    """A `VLA` with `config.plan` that also `Remembers`: the answers of a session follow one plan for `plan_steps` steps."""

    def remember(self, variables: Variables, batch: Batch) -> Kept:
        """The frames of `batch`, and no plan yet."""
        frames = {name: jax.tree.map(jnp.asarray, getattr(batch, name)) for name in _FRAMES}
        plan = jnp.zeros((len(batch.text), self.config.answer_length), jnp.int32)
        return Kept(**frames, plan=plan, age=jnp.int32(self.config.plan_steps))

    def act_again(self, variables: Variables, memory: Kept, batch: Batch, rng: jax.Array) -> tuple[Float[Array, "b k a"], Kept]:
        """One sample only. A plan that led to no action gives NaN, and is none to remember."""
        if len(batch.text) != 1:
            raise UserError(f"plans are kept for one robot at a time, got a batch of {len(batch.text)}; use a session for each")
        frames = {name: _newer(getattr(memory, name), getattr(batch, name)) for name in _FRAMES}
        whole, cfg = dataclasses.replace(batch, **frames), self.config
        hidden, remembered = self.begin(variables, whole, room=cfg.answer_length + cfg.num_action_tokens - 1)
        reader = self.reader(variables)

        def think() -> Planned:
            return write_planned(reader, self.actions, hidden, remembered, plan_end=cfg.plan_end, max_plan=cfg.answer_length)

        def follow() -> Planned:
            rows, after = reader.write(memory.plan, remembered)
            last = jnp.take_along_axis(rows, lengths(memory.plan)[:, None, None] - 1, axis=1)[:, 0]
            bins = self.bins_after(variables, last, after, GREEDY)
            return Planned(memory.plan, bins, jnp.ones(1, bool))

        is_fresh = memory.age < cfg.plan_steps
        planned = jax.lax.cond(is_fresh, follow, think)
        age = jnp.where(is_fresh, memory.age + 1, 1)
        return self.decoded(planned.bins, planned.is_action), Kept(**frames, plan=planned.plan, age=age)


_FRAMES = ("images", "image_mask", "history_mask", "proprio")


def _newer(old: Any, new: Any) -> Any:
    """Without the oldest frame, with the newest; `new` has one."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a[:, 1:], jnp.asarray(b)], axis=1), old, new)


def build_vla(config: VLAConfig) -> VLA:
    """The model of a config."""
    return PlanningVLA(config) if config.plan else VLA(config)
