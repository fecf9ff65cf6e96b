"""From a checkpoint, a robot's data and what was asked to one `TrainConfig`, and the reasons for what nobody asked for.

    plan = make_plan(base, prepared, Asked())
    plan.text()   mode: lora: 50 demonstrations, 3.0 B parameters, 80 GB
                  steps: 700: ...

Everything is a starting point: `Asked.settings` changes single leaves, as `rtx train --set` does.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.data.prepared import PreparedSet
from rtx.embodiment import dim_names, union_of
from rtx.errors import UserError
from rtx.finetune import memory
from rtx.finetune.base import Base, num_parameters, shapes_of, unfit
from rtx.finetune.data import kept_sets
from rtx.finetune.fit import Fit, fit_of, remade
from rtx.finetune.modes import MODES, PARTS, Mode, check_mode, has_head, need_head, trained_by
from rtx.models.vla.config import VLAConfig
from rtx.train.config import DataSet, OptimizationConfig, RunConfig, TrainConfig
from rtx.train.overrides import override

MANY = 300e6  # parameters; above it few demonstrations move adapters only
FEW = 1000  # demonstrations
EPOCHS = 60  # times each sample is seen, augmented anew
STEPS = (300, 20_000)  # never fewer, never more
VALIDATIONS = 12
PATIENCE = 4  # validations; of 12, so that no run stops before its first third
LR: Mapping[str, float] = {"lora": 5e-4, "head": 5e-4}
"""OpenVLA's of adapters (arXiv 2406.09246, section 5.3); what is trained in full goes by the pre-training's own rate."""
LR_SHARE = 0.5  # of the pre-training's peak, where all of the network goes on
LR_LARGE = 2e-5  # of all of a model of billions: OpenVLA's and RT-2's order


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user asked for; None and "auto" are for us to choose."""

    mode: str = "auto"
    keep: float = 0.0  # share of the samples that are the old robots'
    steps: int | None = None
    lr: float | None = None
    from_scratch: bool = False  # the same network and data from fresh parameters: what the checkpoint is worth
    seed: int = 0
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`reasons`: name -> what was chosen and why, for people."""

    mode: str
    config: TrainConfig
    reasons: Mapping[str, str]

    def text(self) -> str:
        return "\n".join(f"{name}: {reason}" for name, reason in self.reasons.items())


def make_plan(base: Base, prepared: PreparedSet, asked: Asked) -> Plan:
    """Raises UserError where the mode cannot do what the robot needs, naming the one that can."""
    check_mode(asked.mode)
    episodes, steps = (prepared.splits["train"][key] for key in ("num_episodes", "num_steps"))
    if asked.from_scratch:
        return _from_scratch(base, prepared, asked, num_samples=steps)
    shapes = shapes_of(base.config)
    total = num_parameters(shapes)
    has_ema = base.config.train.ema is not None
    fit = fit_of(base.contract, prepared) if asked.mode != "new_head" else Fit(misfit="", unused_cameras=(), lacking_cameras=())
    mode, why = _mode(base, shapes, asked, fit.misfit, episodes=episodes, ema=has_ema)
    need_head(mode, base.family, shapes)
    adapters = mode == "new_head" and total > MANY
    rules = trained_by(mode, base.family, adapters=adapters)
    sets = kept_sets(base, asked.keep, prepared)
    config = _anew(base, prepared, sets, asked) if mode == "new_head" else _on(base, sets)
    left = unfit(shapes, shapes_of(config)) if mode == "new_head" else ()
    if mode == "new_head" and has_head(base.family, shapes):
        left = tuple(sorted({*left, *(path for path in shapes if path.startswith(PARTS[base.family].head))}))
    num_steps, steps_why = _steps(asked, steps, config.data.batch_size, keep=asked.keep)
    lr, lr_why = _rate(base, asked, "lora" if adapters else mode, total)
    train = _optimization(base, rules, num_steps=num_steps, lr=lr)
    train = dataclasses.replace(
        train, start=str(base.path.expanduser().absolute()), keep_robots=mode != "new_head",
        start_without=tuple(f"^{path}$" for path in left),
    )  # fmt: skip
    config = dataclasses.replace(config, train=train, run=_run(config, num_steps, prepared, asked))
    reasons = {"mode": f"{mode}: {why}", "steps": steps_why, "learning rate": lr_why, **_kept_words(asked, mode, base)}
    reasons |= {f"note {i + 1}": line for i, line in enumerate(fit.lines())}
    return Plan(mode=mode, config=override(config, asked.settings), reasons=reasons)


def _mode(
    base: Base, shapes: Mapping[str, tuple[int, ...]], asked: Asked, misfit: str, *, episodes: int, ema: bool
) -> tuple[Mode, str]:
    total, there = num_parameters(shapes), memory.there()
    facts = f"{episodes} demonstrations, {memory.in_words(total)} parameters, {memory.in_words(there, 'B')}"
    if asked.mode != "auto":
        if misfit and asked.mode != "new_head":
            raise UserError(
                f"mode {asked.mode} keeps the checkpoint's head, and this robot needs another: {misfit}. Take --mode new_head"
            )
        return next(mode for mode in MODES if mode == asked.mode), f"as asked ({facts})"
    if misfit:
        return "new_head", f"{misfit} ({facts})"

    def fits(mode: Mode) -> bool:
        frozen = trained_by(mode, base.family).freeze
        trained = num_parameters({p: s for p, s in shapes.items() if not any(re.search(rule, p) for rule in frozen)})
        return memory.needed(mode, shapes, trained=trained, ema=ema) <= there

    if total > MANY and episodes < FEW:
        order: tuple[Mode, ...] = ("lora", "head")
    else:
        order = ("full", "lora", "head")
    possible = [mode for mode in order if mode != "head" or has_head(base.family, shapes)]
    chosen = next((mode for mode in possible if fits(mode)), possible[-1])
    return chosen, facts if fits(chosen) else f"{facts}, which may be too little; it takes the least"


def _on(base: Base, sets: tuple[DataSet, ...]) -> TrainConfig:
    """The checkpoint's own configuration on other data."""
    return dataclasses.replace(base.config, data=_data(base, sets))


def _data(base: Base, sets: tuple[DataSet, ...], **changes: Any) -> Any:
    return dataclasses.replace(base.config.data, sets=sets, balance=False, robot_share=None, **changes)


def _anew(base: Base, prepared: PreparedSet, sets: tuple[DataSet, ...], asked: Asked) -> TrainConfig:
    """With a head and inputs for what the mixture needs now."""
    opened = [prepared, *(PreparedSet.open(Path(one.prepared)) for one in sets[:-1])]
    action, proprio = union_of([one.layout for one in opened])
    known = base.contract.roles
    roles = [role for role in known if any(role in one.roles for one in opened)]
    roles += [role for role in prepared.roles if role not in known]
    model = remade(base, action, len(dim_names(proprio)))
    if isinstance(model, VLAConfig):
        model = dataclasses.replace(model, roles=tuple(roles))
    return dataclasses.replace(base.config, data=_data(base, sets, roles=tuple(roles)), model=model)


def _from_scratch(base: Base, prepared: PreparedSet, asked: Asked, *, num_samples: int) -> Plan:
    """What the checkpoint is worth is seen beside the same network on the same data for as many steps without it."""
    if asked.keep or asked.mode not in ("auto", "full"):
        raise UserError("--from-scratch trains everything on the new data alone: leave --mode and --keep out")
    mine = DataSet(prepared=str(prepared.path))
    fits = not (base.contract and fit_of(base.contract, prepared).misfit)
    config = _on(base, (mine,)) if fits else _anew(base, prepared, (mine,), asked)
    num_steps, steps_why = _steps(asked, num_samples, config.data.batch_size, keep=0.0)
    lr = asked.lr or base.config.train.lr
    train = _optimization(base, OptimizationConfig(), num_steps=num_steps, lr=lr)
    config = dataclasses.replace(config, train=train, run=_run(config, num_steps, prepared, asked))
    reasons = {
        "mode": "from scratch: the checkpoint's network with fresh parameters", "steps": steps_why,
        "learning rate": f"{lr:g}: " + ("as asked" if asked.lr else "that of the pre-training"),
    }  # fmt: skip
    return Plan(mode="scratch", config=override(config, asked.settings), reasons=reasons)


def _steps(asked: Asked, num_samples: int, batch_size: int, *, keep: float) -> tuple[int, str]:
    if asked.steps is not None:
        return asked.steps, f"{asked.steps}: as asked"
    wanted = round(EPOCHS * num_samples / (batch_size * (1 - keep)))
    steps = min(max(wanted, STEPS[0]), STEPS[1])
    seen = steps * batch_size * (1 - keep) / max(num_samples, 1)
    return steps, f"{steps}: each of {num_samples:,} samples about {seen:.0f} times, {batch_size} at once"


def _rate(base: Base, asked: Asked, mode: str, total: int) -> tuple[float, str]:
    if asked.lr is not None:
        return asked.lr, f"{asked.lr:g}: as asked"
    own = base.config.train.lr
    if mode in LR and total > MANY:
        return LR[mode], f"{LR[mode]:g}: OpenVLA's of adapters"
    if mode in ("lora", "head", "new_head"):
        return own, f"{own:g}: that of the pre-training, for what is trained is small or new"
    if total > MANY:
        return LR_LARGE, f"{LR_LARGE:g}: usual where billions of parameters are trained in full"
    return LR_SHARE * own, f"{LR_SHARE * own:g}: {LR_SHARE:g} of the pre-training's peak"


def _optimization(base: Base, rules: OptimizationConfig, *, num_steps: int, lr: float) -> OptimizationConfig:
    own = base.config.train
    # An average over more steps than a tenth of the run would still remember its beginning.
    ema = None if own.ema is None else min(own.ema, max(0.5, 1 - 10 / num_steps))
    return dataclasses.replace(
        own, num_steps=num_steps, lr=lr, schedule="cosine", warmup_steps=num_steps // 20, final_lr=0.0, ema=ema, start="",
        start_without=(), keep_robots=False, freeze=rules.freeze, lora=rules.lora, lr_scale=(),
    )  # fmt: skip


def _run(config: TrainConfig, num_steps: int, prepared: PreparedSet, asked: Asked) -> RunConfig:
    every = max(1, num_steps // VALIDATIONS)
    held_out = prepared.splits.get("val", {"num_episodes": 0})["num_episodes"]
    return dataclasses.replace(
        config.run, seed=asked.seed, eval_every=every, save_every=every, patience=PATIENCE if held_out else 0,
        eval_samples=512 if held_out else 0, watch=prepared.name, log_every=max(1, min(10, num_steps // 10)), keep=2,
    )  # fmt: skip


def _kept_words(asked: Asked, mode: str, base: Base) -> dict[str, str]:
    old = ", ".join(base.contract.embodiments)
    if asked.keep:
        return {"old robots": f"{asked.keep:.0%} of the samples are theirs ({old})"}
    if mode == "new_head":
        return {"old robots": f"{old}: the head they moved by is gone; --keep SHARE teaches it them again"}
    return {"old robots": f"{old}: they keep their statistics; without --keep the policy may forget how to move them"}
