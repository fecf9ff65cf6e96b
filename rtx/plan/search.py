"""Which mesh, recomputation and micro-batches: all that are possible by calculation, the likeliest few by the compiler.

candidates      meshes x recomputation x micro-batches, as far as rows and widths divide
calculation     memory and time of each, seconds for all
compilation     in order of calculated time, of those that may fit: until `MAX_COMPILED` are known
"""

from __future__ import annotations

import dataclasses
import itertools
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rtx import progress
from rtx.errors import UserError
from rtx.plan.chips import GIB, Topology
from rtx.plan.measure import STAGES, Measured, calculate_all, measure
from rtx.plan.report import Plan, verdict
from rtx.tables import text_table
from rtx.train.config import TrainConfig
from rtx.train.parallel.mesh import MeshConfig

MAX_COMPILED = 3
MAY_FIT = 1.15
"""A candidate whose calculated memory is up to this share of a chip's may fit after all."""
_ACCUMULATE = (1, 2, 4, 8, 16)
_TENSOR = (1, 2, 4, 8, 16)


@dataclass(frozen=True, kw_only=True)
class Found:
    """`plans`: those that were compiled, or calculated for GPUs, the best that fits first."""

    plans: tuple[Plan, ...]
    num_candidates: int
    num_may_fit: int


def search(config: TrainConfig, topology: Topology, *, name: str, by_compiler: bool = True) -> Found:
    """Raises UserError where no candidate comes near the memory of a chip, with how much the smallest lacks."""
    configs = candidates(config, topology)
    with progress.bar("calculating", len(configs)) as advance:
        calculated = calculate_all(configs, topology, done=lambda: advance(1))
    limit = topology.chip.memory
    order = sorted(zip(configs, calculated, strict=True), key=lambda pair: _rank(pair[1], limit))
    near = [pair for pair in order if pair[1].used <= MAY_FIT * limit]
    if not near:
        least = min(one.used for one in calculated)
        raise UserError(
            f"none of {len(configs)} ways to lay {name} out on {topology.name} fits: the smallest needs {least / GIB:.1f} of "
            f"{limit / GIB:.0f} GiB; take more chips, a smaller batch, or freeze parts"
        )
    plans = [Plan(name=name, config=one, topology=topology, measured=found) for one, found in near]
    if by_compiler and topology.is_tpu:
        plans = _compiled(_distinct(plans)[: 2 * MAX_COMPILED], topology)
    plans.sort(key=lambda plan: plan.step_s if plan.measured.fits else 1e9 + plan.excess)
    return Found(plans=tuple(plans), num_candidates=len(configs), num_may_fit=len(near))


def candidates(config: TrainConfig, topology: Topology) -> list[TrainConfig]:
    """Every way to lay `config` out; the one it has among them where it is possible."""
    chips, found = topology.num_chips, {}
    remats = _remats(config.model)
    for tensor, accumulate, remat in itertools.product(_TENSOR, _ACCUMULATE, remats):
        for fsdp in _divisors(chips // tensor if chips % tensor == 0 else 0):
            data = chips // tensor // fsdp
            if config.data.batch_size % (data * fsdp * accumulate * config.train.groups):
                continue
            model = config.model if remat is None else dataclasses.replace(config.model, remat=remat)
            one = dataclasses.replace(
                config,
                model=model,
                train=dataclasses.replace(config.train, accumulate=accumulate),
                run=dataclasses.replace(config.run, mesh=MeshConfig(data=data, fsdp=fsdp, tensor=tensor)),
            )
            found[data, fsdp, tensor, accumulate, remat] = one
    if not found:
        raise UserError(
            f"a batch of {config.data.batch_size} cannot be dealt out to {chips} chips on any mesh; take a batch that is a "
            "multiple of a divisor of the chips, or fewer chips"
        )
    return list(found.values())


def table(found: Found) -> str:
    """The compiled plans, the best first, and how to have it."""
    best = found.plans[0]
    rows = [
        (
            " ".join(f"{axis}={size}" for axis, size in plan.measured.mesh.items()),
            str(getattr(plan.config.model, "remat", "-")), str(plan.config.train.accumulate),
            f"{plan.measured.used / GIB:.1f}", verdict(plan),
        )
        for plan in found.plans
    ]  # fmt: skip
    head = ("mesh", "model.remat", "train.accumulate", "GiB a chip", "")
    tried = "compiled" if best.measured.compiled else "calculated"
    text = f"{found.num_candidates} ways, {found.num_may_fit} of them may fit; {tried}:\n\n{text_table(head, rows[:8])}"
    return f"{text}\n\nrecommended: {settings(best)}" if best.measured.fits else f"{text}\n\nnone of these fits"


def settings(plan: Plan) -> str:
    """What to add to a command to have it."""
    mesh = plan.config.run.mesh
    values = {f"run.mesh.{axis}": getattr(mesh, axis) for axis in ("data", "fsdp", "tensor")}
    values["train.accumulate"] = plan.config.train.accumulate
    if hasattr(plan.config.model, "remat"):
        values["model.remat"] = plan.config.model.remat
    return " ".join(f"--set {path}={value}" for path, value in values.items())


def _compiled(plans: Sequence[Plan], topology: Topology) -> list[Plan]:
    """Until enough of them fit."""
    done: list[Plan] = []
    with progress.bar("compiling", MAX_COMPILED * len(STAGES)) as advance:
        for plan in plans:
            measured = measure(plan.config, topology, stage=lambda what: advance(1, what))
            done.append(dataclasses.replace(plan, measured=measured))
            if sum(one.measured.fits for one in done) == MAX_COMPILED or len(done) == 2 * MAX_COMPILED:
                break
    return done


def _distinct(plans: Iterable[Plan]) -> list[Plan]:
    """The best of each mesh first: what calculation says of recomputation is rougher than what it says of meshes."""
    seen: set[tuple[int, ...]] = set()
    first: list[Plan] = []
    later: list[Plan] = []
    for plan in plans:
        key = tuple(plan.measured.mesh.values())
        (later if key in seen else first).append(plan)
        seen.add(key)
    return first + later


def _rank(found: Measured, limit: float) -> tuple[bool, float]:
    """By time; what has little memory left over, last."""
    times = found.times or {"step": 1e9 * found.used / limit}
    return found.used > limit, times["step"]


def _remats(model: object) -> tuple[str | None, ...]:
    hints = typing.get_type_hints(type(model)).get("remat") if hasattr(model, "remat") else None
    return typing.get_args(hints) or (None,)


def _divisors(n: int) -> list[int]:
    return [i for i in range(1, n + 1) if n % i == 0]
