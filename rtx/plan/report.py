"""A plan in words: memory against the chip's, operations, exchanges, time, and whether the data keep up."""

from __future__ import annotations

from dataclasses import dataclass

from rtx.plan.chips import GIB, LINK_SHARE, Topology
from rtx.plan.measure import Measured
from rtx.tables import text_table
from rtx.train.config import TrainConfig

PIXELS_PER_CORE = 1.3e8
"""Pixels that a CPU core decodes and batches in a second: 500 windows of four pictures of 256 x 256 (docs/data.md)."""
STORED_PIXELS = 256 * 320
"""Of a picture as data sets store them; larger ones take longer."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One configuration on one topology."""

    name: str
    config: TrainConfig
    topology: Topology
    measured: Measured

    @property
    def times(self) -> dict[str, float]:
        assert self.measured.times is not None, "only what fits takes time"
        return self.measured.times

    @property
    def step_s(self) -> float:
        """Predicted."""
        return self.times["step"]

    @property
    def mfu(self) -> float:
        """Share of the chips' peak that goes into operations the step needs; recomputation is none of them."""
        return self.measured.needed / (self.topology.num_chips * self.topology.chip.flops * self.step_s)

    @property
    def cautious_mfu(self) -> float | None:
        """The same if work takes the cycles that the compiler estimates; None where it does not."""
        if not (self.measured.cycles and self.topology.chip.clock):
            return None
        return self.mfu * self.step_s / (self.measured.cycles / self.topology.chip.clock + self.times["exposed"])

    @property
    def exposed_share(self) -> float:
        """Share of the step in which chips wait for each other."""
        return self.times["exposed"] / self.step_s

    @property
    def excess(self) -> float:
        """Bytes that a chip lacks; 0 where it fits."""
        return 0.0 if self.measured.fits else self.measured.used - self.measured.memory.get("limit", self.topology.chip.memory)

    @property
    def loader_cores(self) -> float:
        """CPU cores of a host that decode the pictures in time."""
        data = self.config.data
        pictures = data.batch_size * data.history * len(data.roles) / self.step_s / self.topology.num_hosts
        return pictures * STORED_PIXELS / PIXELS_PER_CORE


_CALCULATED = (
    "By calculation, without a compiler: parameters and optimizer are exact, activations and exchanges are estimates; times\n"
    "are lower bounds, for of all memory traffic only the optimizer's counts.\n"
)


def plan_text(plan: Plan) -> str:
    sections = [_head(plan), _memory(plan), _operations(plan)]
    if plan.measured.fits:
        sections += [_exchanges(plan), _time(plan), _loader(plan)]
    return "\n\n".join([*sections, _notes(plan)])


def verdict(plan: Plan) -> str:
    """In one line."""
    if not plan.measured.fits:
        return f"DOES NOT FIT: {plan.excess / GIB:.2f} GiB too much on each chip"
    cautious = "" if plan.cautious_mfu is None else f" ({plan.cautious_mfu:.1%} with the compiler's cycles)"
    rate, bound = plan.config.data.batch_size / plan.step_s, "" if plan.measured.compiled else "at most "
    return (
        f"fits; predicted step {plan.step_s:.4g} s, MFU {bound}{plan.mfu:.1%}{cautious}, {rate:,.0f} samples/s, "
        f"{plan.exposed_share:.0%} of the step waiting for other chips"
    )


def _head(plan: Plan) -> str:
    config, topology = plan.config, plan.topology
    mesh = " ".join(f"{name}={size}" for name, size in plan.measured.mesh.items())
    rows = config.data.batch_size / (plan.measured.mesh["data"] * plan.measured.mesh["fsdp"])
    recomputed = getattr(config.model, "remat", None)
    hosts = "a host" if topology.num_hosts == 1 else f"{topology.num_hosts} hosts"
    return (
        f"{plan.name} on {topology.name}: {topology.num_chips} chips on {hosts}, mesh {mesh}\n"
        f"{plan.measured.weights['num_parameters']:,.0f} parameters; batch {config.data.batch_size:,}, {rows:g} rows a chip; "
        f"train.accumulate={config.train.accumulate} train.groups={config.train.groups} model.remat={recomputed}\n"
        f"{verdict(plan)}"
    )


def _memory(plan: Plan) -> str:
    found, weights = plan.measured, plan.measured.weights
    rows = [
        ("parameters", weights["params"]),
        ("optimizer, average, statistics", weights["optimizer"]),
        ("batch", weights["batch"]),
    ]
    if found.fits:
        rows += [
            ("results that are new", found.memory["results"]),
            ("gradients, activations, temporaries", found.memory["temporaries"]),
            ("program", found.memory["program"]),
        ]
    else:
        kept = sum(size for _, size in rows)
        rows.append(("gradients, activations, temporaries, program", found.used - kept))
    rows.append(("in all", found.used))
    limit = found.memory.get("limit", plan.topology.chip.memory)
    table = text_table(("memory of a chip", "GiB"), [(name, f"{size / GIB:.3f}") for name, size in rows])
    return f"{table}\nof {limit / GIB:.2f} GiB: {found.used / limit:.0%}"


def _operations(plan: Plan) -> str:
    found = plan.measured
    lines = [
        ("needed by the step, all chips", _flops_text(found.needed)),
        ("computed, with what is computed again", f"{_flops_text(found.executed)} ({found.executed / found.needed - 1:+.0%})"),
    ]
    if found.fits and found.compiled:
        spread = found.flops * plan.topology.num_chips
        lines.append(("in the compiled program, all chips", f"{_flops_text(spread)} ({spread / found.executed - 1:+.0%})"))
    text = text_table(("products", "operations"), lines)
    if found.uncounted:
        text += f"\nnot counted: {', '.join(found.uncounted)}"
    return text + (f"\n{found.unknown_loops} loops of unknown length, counted once" if found.unknown_loops else "")


def _flops_text(flops: float) -> str:
    return f"{flops / 1e15:,.2f} PFLOP" if flops > 1e14 else f"{flops / 1e9:,.1f} GFLOP"


def _exchanges(plan: Plan) -> str:
    if not plan.measured.exchanges:
        return "no exchanges between chips"
    rows = [
        (
            one["kind"], f"{one['group']}", f"{one['count']:,}", f"{one['bytes'] / 1e9:,.3f}", f"{1e3 * one['seconds']:,.1f}",
            f"{one['hidden_s'] / one['seconds']:.0%}" if one["seconds"] else "-",
        )
        for one in plan.measured.exchanges
    ]  # fmt: skip
    text = text_table(("exchanges of a step", "chips", "times", "GB sent by a chip", "ms", "behind other work"), rows)
    return "\n".join([text, *(f"taken as all chips: {line}" for line in plan.measured.unread[:3])])


def _time(plan: Plan) -> str:
    times, chip = plan.times, plan.topology.chip
    rows = [
        ("products at the chip's peak", times["products"]),
        ("memory traffic at its rate", times["memory"]),
        ("exchanges", times["exchanges"]),
        ("exchanges that nothing hides", times["exposed"]),
        ("step", times["step"]),
    ]
    lines = [(name, f"{1e3 * seconds:,.1f}") for name, seconds in rows]
    if chip.clock and plan.measured.cycles:
        lines.append(("compiler's estimate, without exchanges", f"{1e3 * plan.measured.cycles / chip.clock:,.1f}"))
    return text_table(("time of a step", "ms"), lines)


def _loader(plan: Plan) -> str:
    config, topology, cores = plan.config, plan.topology, plan.loader_cores
    there = topology.chip.host_cores / 2  # of two threads each
    words = "keeps up" if cores <= there else "DOES NOT KEEP UP"
    rate = config.data.batch_size / plan.step_s
    return (
        f"loader: {words}: {rate:,.0f} samples/s are {cores:.2g} of the {there:g} cores of each host\n"
        f"(pictures of 256 x 320, {PIXELS_PER_CORE:.2g} pixels a core and second, measured: docs/data.md)"
    )


def _notes(plan: Plan) -> str:
    chip = plan.topology.chip
    how = "as each link has either way" if plan.topology.is_tpu else "to the switch of a box"
    network = f", {chip.network_rate / 1e9:g} GB/s between boxes" if chip.network_rate else ""
    how_made = "" if plan.measured.compiled else _CALCULATED
    return how_made + (
        f"chip: {chip.flops / 1e12:g} TFLOP/s in bfloat16, {chip.memory / GIB:.0f} GiB at {chip.memory_rate / 1e9:,.0f} GB/s, "
        f"{chip.link_rate / 1e9:g} GB/s {how}{network} ({chip.source}); transfers get {LINK_SHARE:.0%} of a link.\n"
        "Shapes are the configuration's, texts at their full width. Times are a roofline: no chip will be faster."
    )
