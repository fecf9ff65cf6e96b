"""A model that plans keeps its plan for some control steps: reading a plan again costs one pass, writing it one per token.

    step                             1        2 .. plan_steps                              plan_steps + 1
    session                          think    read the plan, act                           think
    session with `plan_lasting`      think    read its first part, think the rest, act     think

Source: embodied chain of thought (arXiv 2407.08693) keeps the high-level part for several steps, and thinks of the next move
in each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from rtx.models.protocol import Promise, Variables
from rtx.models.vla.config import PADDING, VLAConfig
from rtx.models.vla.decode import Memory, write_planned
from rtx.models.vla.inputs import behind
from rtx.models.vla.model import VLA
from rtx.spec import Batch


class Kept(NamedTuple):
    """The frames seen, and the plan with its age in steps; an age of `plan_steps` or more asks for a new one."""

    images: Mapping[str, UInt8[Array, "b t h w 3"]]
    image_mask: Mapping[str, Bool[Array, "b t"]]
    history_mask: Bool[Array, "b t"]
    proprio: Float[Array, "b t p"]
    plan: Int[Array, "b m"]
    age: Int[Array, " b"]


@dataclass(frozen=True)
class PlanningVLA(VLA):
    """A `VLA` with `config.plan` that also `Remembers`: the answers of a session follow one plan for `plan_steps` steps."""

    def remember(self, variables: Variables, batch: Batch) -> Kept:
        """The frames of `batch`, and no plan yet."""
        frames = {name: jax.tree.map(jnp.asarray, getattr(batch, name)) for name in _FRAMES}
        plan = jnp.zeros((len(batch.text), self.config.answer_length), jnp.int32)
        return Kept(**frames, plan=plan, age=jnp.full(len(batch.text), self.config.plan_steps, jnp.int32))

    def act_again(
        self, variables: Variables, memory: Kept, batch: Batch, rng: jax.Array, promise: Promise | None = None
    ) -> tuple[Float[Array, "b k a"], Kept]:
        """A plan that led to no action gives NaN; of one without an end of what lasts nothing is kept."""
        frames = {name: _newer(getattr(memory, name), getattr(batch, name)) for name in _FRAMES}
        whole, cfg = dataclasses.replace(batch, **frames), self.config
        kept = jnp.where(memory.age < cfg.plan_steps, behind(memory.plan, cfg.plan_lasting or cfg.plan_end), 0)
        said = jnp.where(jnp.arange(cfg.answer_length) < kept[:, None], memory.plan, PADDING)
        reader = self.reader(variables)
        # What one row keeps is written at full width, and what is thought behind it, by it or by another row.
        room = cfg.answer_length * (2 if cfg.plan_lasting or len(said) > 1 else 1)
        hidden, read = self.begin(variables, whole, room=room + cfg.num_action_tokens - 1)

        def again() -> tuple[Array, Memory]:
            rows, written = reader.write(said, read)
            behind_kept = jnp.take_along_axis(rows, jnp.maximum(kept[:, None, None] - 1, 0), axis=1)[:, 0]
            return jnp.where(kept[:, None] > 0, behind_kept, hidden), written

        hidden, read = jax.lax.cond(jnp.any(kept > 0), again, lambda: (hidden, read))
        planned = write_planned(
            reader, self.actions, hidden, read, plan_end=cfg.plan_end, max_plan=cfg.answer_length, said=said,
            forced=self.forced(batch, promise),
        )  # fmt: skip
        age = jnp.where(kept > 0, memory.age + 1, 1)
        return self.decoded(planned.bins, planned.is_action), Kept(**frames, plan=planned.plan, age=age)


_FRAMES = ("images", "image_mask", "history_mask", "proprio")


def _newer(old: Any, new: Any) -> Any:
    """Without the oldest frame, with the newest; `new` has one."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a[:, 1:], jnp.asarray(b)], axis=1), old, new)


def build_vla(config: VLAConfig) -> VLA:
    """The model of a config."""
    return PlanningVLA(config) if config.plan else VLA(config)
