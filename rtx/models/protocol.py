"""What the train loop, the checkpoint and the server know of a model: four functions and a frozen config.

    variables = model.init(rng, batch)                                    {"params": ..., and whatever else the model keeps}
    loss, metrics, new_mutable = model.loss(variables, batch, rng, train=True)
    actions = model.act(variables, batch, rng)                            float32 [b, k, a], model space
    rules = model.param_axes()                                            for the sharding planner

A model is a hashable frozen object, so it can be a static argument of `jax.jit`. Importing this module registers
`rtx.spec.Batch` as a JAX pytree (every field is data; `action` may be None when acting).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, Int

from rtx.spec import Batch

Variables = Mapping[str, Any]
"""Collections of arrays: always "params"; "batch_stats" and others where a model has them."""

Metrics = Mapping[str, jax.Array]
"""Float32: scalars over the batch, or `[b]`, one value a row. NaN = the batch, or the row, has nothing of the kind (a question
has no action to be right about): means leave it out, with its weight. Means of rows are taken overall and per data set; the
"loss" of rows per data set only, because the step adds up the loss itself.

"tokens", scalar or `[b]`: what the loss is a mean over. Rows count by it, and groups of a batch that go through the model one
after the other; of models without it, by valid action entries."""

AxisRules = tuple[tuple[str, tuple[str | None, ...]], ...]
"""(regular expression searched in the "/"-joined parameter path, one logical axis name or None per array dimension).

The first rule that matches wins; a parameter that no rule matches is replicated. Axis names: "embed", "mlp", "heads", "vocab".
"""


@runtime_checkable
class Model(Protocol):
    """A policy network. Implementations are frozen dataclasses around a frozen `config`."""

    @property
    def config(self) -> Any:
        """A frozen dataclass of plain numbers, strings and tuples: what `families.model_to_json` writes."""

    def init(self, rng: jax.Array, batch: Batch) -> Variables:
        """Fresh variables, float32. Only shapes and dtypes of `batch` matter. Raises UserError where they do not fit."""

    def loss(
        self, variables: Variables, batch: Batch, rng: jax.Array, *, train: bool
    ) -> tuple[Float[Array, ""], Metrics, Variables]:
        """Mean loss over valid action entries, metrics, and the collections besides "params" as they are after this batch.

        The third value is {} for models that keep nothing; with `train=False` it equals what came in.
        """

    def act(self, variables: Variables, batch: Batch, rng: jax.Array) -> Float[Array, "b k a"]:
        """Actions in model space, float32, in [-1, 1]. Pure, jittable; `batch.action` and `batch.action_mask` may be None."""

    def param_axes(self) -> AxisRules:
        """How parameters may be split over devices."""


Memory = Any
"""What a model keeps of the frames it has seen: a pytree of arrays, batch first."""


class Promise(NamedTuple):
    """What robots will do while they wait for an answer (real-time chunking, arXiv 2506.07339); data of a compiled program.

    The first `held` rows of a sample will be executed whatever the answer is, those up to `known` were to follow. None: 0, 0.
    """

    action: Any  # float32 [b, k, a], model space
    held: Any  # int32 [b]
    known: Any  # int32 [b], >= held


Continuation = Literal["forced", "guided", "spliced"]
"""What an answer makes of a promise: the rest is decoded after what is held; it is drawn towards what is held and known; or it
is made without knowing, and what is held put in front."""


@runtime_checkable
class Continues(Protocol):
    """A `Model` whose `act` (and `act_again`) may be told a promise, `promise: Promise | None = None`.

    Held rows come back as they were, or as the bins nearest to them. Rows of a batch without a promise are answered as ever.
    """

    @property
    def continuation(self) -> Continuation:
        """Of this model, by its config; where it is "spliced" the promise changes nothing."""


@runtime_checkable
class Remembers(Protocol):
    """A `Model` that need not see old frames again. Acting with memory equals `act` on the whole window."""

    def remember(self, variables: Variables, batch: Batch) -> Memory:
        """What there is to keep of a batch with the whole history."""

    def act_again(
        self, variables: Variables, memory: Memory, batch: Batch, rng: jax.Array
    ) -> tuple[Float[Array, "b k a"], Memory]:
        """Actions after one more frame (`batch` holds that frame only), and the memory with it and without the oldest.

        Rows do not know of each other: memories of several robots may be put together along axis 0, and taken apart.
        """


@runtime_checkable
class Answers(Protocol):
    """A `Model` that writes text about a picture."""

    def answer(
        self, variables: Variables, batch: Batch, rng: jax.Array, *, max_tokens: int, temperature: float = 0.0
    ) -> Int[Array, "b m"]:
        """Ids for the questions `batch.text`, int32 `[b, max_tokens]`: up to EOS and padding after it, or cut. The likeliest at
        temperature 0. Pure, jittable."""


@runtime_checkable
class Arranges(Protocol):
    """A `Model` whose parameters lie otherwise for training than acting reads them fastest."""

    def for_acting(self, variables: Variables) -> Variables:
        """The same parameters for `act` and all that acts, not for `loss`. Drop the others: this holds them again."""


@runtime_checkable
class Spells(Protocol):
    """A `Model` whose training answers may have to be made on the host: any number of tokens each."""

    def spelled(self, batch: Batch) -> Batch:
        """A host batch, as `loss` wants it, from the loader's. Before rows are grouped by length, cut, or placed."""


jax.tree_util.register_dataclass(Batch, data_fields=[field.name for field in dataclasses.fields(Batch)], meta_fields=[])
