"""`rtx plan`: what a configuration takes on a topology, before anybody books it."""

from __future__ import annotations

from rtx import progress
from rtx.plan.chips import Topology
from rtx.plan.measure import STAGES, calculate_all, measure
from rtx.plan.report import Plan
from rtx.train.config import TrainConfig


def make_plan(config: TrainConfig, topology: Topology, *, name: str, by_compiler: bool = True) -> Plan:
    """Of one configuration as it is; for GPUs always by calculation. `name`: for the reader.

    Raises UserError for a configuration that does not fit the topology, WorldError where the compiler fails.
    """
    if not (by_compiler and topology.is_tpu):
        (measured,) = calculate_all([config], topology)
        return Plan(name=name, config=config, topology=topology, measured=measured)
    with progress.bar("plan", len(STAGES)) as advance:

        def stage(what: str) -> None:
            advance(int(what != STAGES[0]), what)

        measured = measure(config, topology, stage=stage)
        advance(1, "done")
    return Plan(name=name, config=config, topology=topology, measured=measured)
