"""Which parameters a run trains: all of them, those no rule freezes, or small factors beside frozen kernels (LoRA).

    variables["params"]   img/...   llm/...                      action_head/...   lora/llm/.../{a, b}
    split                 frozen    frozen                       trained           trained
    seen by the model     img/...   llm/... + alpha / rank a b   action_head/...

Factors are parameters among others: one tree, one naming, one checkpoint. What is trained has gradients, an optimizer and
an average; what is frozen has none of them and stays as it is to the bit.

Rules are regular expressions searched in the "/"-joined path. A kernel that has factors is frozen without being told; the
rest of the parameters is trained unless frozen, so `freeze=(".",)` beside `lora` trains the factors alone, as OpenVLA does,
and `freeze=("^(?!action_head/)",)` the head alone. Batch statistics are no parameters: those of frozen layers still follow
the data.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import jax
import optax

from rtx.errors import UserError
from rtx.models.lora import LoRAConfig, adapted, adapters, kernels, no_match, rule_problems
from rtx.tables import text_table
from rtx.train import pytree

LORA = "lora"
"""Where the factors lie in "params"."""

LRScale = tuple[tuple[str, float], ...]
"""(rule, factor of the learning rate and with it of the decay); the first that matches a path wins."""


def problems(freeze: tuple[str, ...], lora: LoRAConfig, lr_scale: LRScale) -> list[str]:
    """What is wrong with the rules by themselves, without any parameters."""
    found = rule_problems("train.freeze", freeze) + lora.problems("train.lora")
    found += rule_problems("train.lr_scale", tuple(rule for rule, _ in lr_scale))
    for rule, factor in lr_scale:
        if not (math.isfinite(factor) and factor > 0):
            found.append(f"train.lr_scale: factor {factor} of {rule!r} must be above 0; use train.freeze for what is to stay")
    return found


@dataclass(frozen=True, kw_only=True)
class Trainable:
    """The rules of a run; without any, everything is trained."""

    freeze: tuple[str, ...] = ()
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    lr_scale: LRScale = ()

    def begun(self, params: Any, rng: jax.Array) -> Any:
        """`params` as a run begins with them: with fresh factors, which change nothing.

        Raises UserError for a rule that matches nothing, naming near paths, or where nothing is left to train.
        """
        for rule in self.freeze:
            if not any(re.search(rule, path) for path in pytree.flatten(params)):
                raise no_match("train.freeze", rule, pytree.flatten(params))
        if self.lora.rules:
            params = {**params, LORA: adapters(rng, params, self.lora)}
        trained = pytree.flatten(self.split(params)[0])
        if not trained:
            raise UserError(f"train.freeze {self.freeze} leaves nothing to train; freeze less, or set train.lora.rules")
        for rule, _ in self.lr_scale:
            if not any(re.search(rule, path) for path in trained):
                raise no_match("train.lr_scale", rule, trained, what="trained parameter")
        return params

    def split(self, params: Any) -> tuple[Any, Any]:
        """(trained, frozen), each as much of the tree as it holds."""
        if not (self.freeze or self.lora.rules):
            return params, {}
        flat = pytree.flatten(params)
        frozen = {path for path in flat if not path.startswith(f"{LORA}/") and any(re.search(r, path) for r in self.freeze)}
        frozen |= set(kernels(_base(params), self.lora))
        return _part(flat, set(flat) - frozen), _part(flat, frozen)

    def join(self, trainable: Any, frozen: Any) -> Any:
        """The tree that `split` took apart."""
        return pytree.nest({**pytree.flatten(frozen), **pytree.flatten(trainable)}) if frozen else trainable

    def seen(self, params: Any) -> Any:
        """What the model computes with: factors merged into their kernels."""
        return merged(params, self.lora)

    def scaled(self) -> optax.GradientTransformation:
        """The last of the optimizer's parts: each update times the factor of its rule."""
        if not self.lr_scale:
            return optax.identity()

        def scale(updates: Any, params: Any) -> Any:
            flat = pytree.flatten(updates)
            return pytree.unflatten_like(updates, {path: update * self._factor(path) for path, update in flat.items()})

        return optax.stateless(scale)

    def table(self, params: Any, *, ema: bool) -> str:
        """What is trained and what stays, by the first name of the path: numbers, and bytes kept from step to step."""
        trained = pytree.flatten(self.split(params)[0])
        rows: dict[tuple[str, str], list[int]] = {}
        for path, leaf in pytree.flatten(params).items():
            how = f"lr x {self._factor(path):g}" if path in trained else "frozen"
            row = rows.setdefault((path.split("/")[0], how), [0, 0])
            size = math.prod(leaf.shape)
            row[0] += size
            row[1] += size * leaf.dtype.itemsize * (3 + ema if path in trained else 1)  # AdamW keeps two means
        total = [sum(row[i] for row in rows.values()) for i in (0, 1)]
        learned = sum(row[0] for (_, how), row in rows.items() if how != "frozen")
        lines = [(*key, f"{count:,}", f"{size:,}") for key, (count, size) in rows.items()]
        last = ("all", f"{learned / total[0]:.2%} trained", f"{total[0]:,}", f"{total[1]:,}")
        return text_table(("group", "training", "parameters", "bytes with optimizer"), [*lines, last])

    def _factor(self, path: str) -> float:
        return next((factor for rule, factor in self.lr_scale if re.search(rule, path)), 1.0)


EVERYTHING = Trainable()


def merged(params: Any, lora: LoRAConfig) -> Any:
    """Plain parameters: factors, where there are any, merged into their kernels and gone."""
    return adapted(_base(params), params[LORA], lora) if LORA in params else params


def _base(params: Any) -> Any:
    return {name: tree for name, tree in params.items() if name != LORA}


def _part(flat: dict[str, Any], paths: set[str]) -> dict[str, Any]:
    return pytree.nest({path: leaf for path, leaf in flat.items() if path in paths})
