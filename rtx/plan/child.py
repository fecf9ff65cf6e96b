"""The process that compiles: `python -m rtx.plan.child REQUEST RESULT`, both JSON files; started by `rtx.plan.measure`.

    request    {"configs": [...], "topology": "v5p:8x8x8", "compile": true}        false: by calculation
    result     {"found": [what `measure.Measured` holds, ...]} or {"error": a user's mistake}

It says on standard output what it is at. A process of its own, for the environment in which libtpu only compiles, and is quiet.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import jax

from rtx.errors import UserError
from rtx.models.protocol import Model
from rtx.plan.abstract import Run, abstract_run, nominal_model, weights_of
from rtx.plan.calculation import Traced, abstract_mesh, calculate, laid_out, live_bytes, parameter_shapes
from rtx.plan.chips import Topology, parse_topology
from rtx.plan.hlo import Module
from rtx.plan.measure import CALCULATED, STAGES
from rtx.plan.roofline import exchange_seconds, step_times
from rtx.train.config import OptimizationConfig, TrainConfig, config_from_json
from rtx.train.flops import Flops, count, of_jaxpr, unrematerialised
from rtx.train.parallel.mesh import build_mesh, check_batch, layout_of
from rtx.train.programs import jit_step

_GIGA = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def main() -> None:
    os.environ.pop("TPU_LIBRARY_PATH", None)  # of `rtx.tpu`: this is the process that libtpu is for
    request = json.loads(Path(sys.argv[1]).read_text())
    topology, configs = parse_topology(request["topology"]), [config_from_json(one) for one in request["configs"]]
    try:
        found = [measure(one, topology) for one in configs] if request["compile"] else calculated(configs, topology)
        result: dict[str, Any] = {"found": found}
    except UserError as error:
        result = {"error": str(error)}
    Path(sys.argv[2]).write_text(json.dumps(result))


def measure(config: TrainConfig, topology: Topology) -> dict[str, Any]:
    """By the compiler. Raises UserError for a mesh that does not fit."""
    devices = _devices(topology)
    mesh = build_mesh(config.run.mesh, devices)
    check_batch(mesh, config.data.batch_size, parts=config.train.num_parts)
    _say(STAGES[0])
    needed, executed = _needed(config), _executed(config)
    run = abstract_run(config, mesh)
    weights = weights_of(run)
    _say(STAGES[1])
    start = time.monotonic()
    compiled, memory = _compiled(run, mesh)
    found = {
        "mesh": dict(mesh.shape), "weights": dataclasses.asdict(weights), "memory": memory, "needed": needed,
        "executed": executed.products, "uncounted": sorted(executed.uncounted), "unknown_loops": executed.unknown_loops,
        "compile_s": time.monotonic() - start,
    }  # fmt: skip
    if compiled is None:
        return found
    _say(STAGES[2])
    module = Module(compiled, num_partitions=len(devices))
    work = module.work
    places = [tuple(device.coords) for device in mesh.devices.flat]
    total = work.flat()
    return found | {
        "times": dataclasses.asdict(step_times(work, topology, places)),
        "flops": total.flops,
        "bytes": total.nbytes,
        "cycles": total.cycles,
        "exchanges": _exchanges(total.collectives, topology, places),
        "unread": sorted(module.unread),
    }


def calculated(configs: list[TrainConfig], topology: Topology) -> list[dict[str, Any]]:
    """Of configurations that differ in mesh, recomputation and micro-batches. Raises UserError for a mesh that does not fit."""
    meshes: list[Any] = [abstract_mesh(config, topology) for config in configs]
    for config, mesh in zip(configs, meshes, strict=True):
        check_batch(mesh, config.data.batch_size, parts=config.train.num_parts)
    traced_of, laid_on = functools.cache(_traced), functools.cache(laid_out)
    needed = _needed(configs[0])
    run = abstract_run(configs[0], None)  # recomputation and micro-batches change neither parameters nor rows
    found = []
    for config, mesh in zip(configs, meshes, strict=True):
        traced = traced_of(dataclasses.replace(config, run=configs[0].run, train=_at_once(config.train)), needed)
        traced = dataclasses.replace(traced, live=traced.live / config.train.accumulate)
        found.append(calculate(config, topology, laid_on(run, mesh), traced))
        _say(CALCULATED)
    return found


def _at_once(train: OptimizationConfig) -> OptimizationConfig:
    return dataclasses.replace(train, accumulate=1)


def _traced(config: TrainConfig, needed: float) -> Traced:
    run = abstract_run(config, None)
    jaxpr = jax.make_jaxpr(run.step)(run.state, run.batch).jaxpr
    live = live_bytes(jaxpr, parameter_shapes(run.state.variables["params"]))
    return Traced(needed=needed, executed=of_jaxpr(jaxpr).products, live=live)


def _devices(topology: Topology) -> list[Any]:
    from jax.experimental import topologies

    options = {"chip_config_name": "megacore"} if topology.chip.name == "v4" else {}  # both cores as one device, as jax has it
    return topologies.get_topology_desc(platform="tpu", topology_name=topology.name, **options).devices


@dataclasses.dataclass(frozen=True)
class _Keeping:
    """A model whose gradient computes nothing twice."""

    model: Model

    def loss(self, variables: Any, batch: Any, rng: Any, *, train: bool) -> Any:
        return unrematerialised(lambda *args: self.model.loss(*args, train=train))(variables, batch, rng)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


def _needed(config: TrainConfig) -> float:
    """Operations of the step's products, of all chips together, if nothing is computed twice."""
    keeping: Any = _Keeping(nominal_model(config))
    run = abstract_run(config, None, keeping)
    return count(run.step, run.state, run.batch).products


def _executed(config: TrainConfig) -> Flops:
    """The same with what is computed again."""
    run = abstract_run(config, None)
    return count(run.step, run.state, run.batch)


def _compiled(run: Run, mesh: Any) -> tuple[str | None, dict[str, float]]:
    """(text of the program, bytes on a chip); no text where memory does not suffice."""
    lowered = jit_step(run.step, layout_of(run.state), mesh).lower(run.state, run.batch, None)
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if (lacking := memory_lacking(str(error))) is None:
            raise
        return None, lacking
    stats = compiled.memory_analysis()
    assert stats is not None, "a compiled program knows its memory"
    sizes = {
        "arguments": stats.argument_size_in_bytes,
        "results": stats.output_size_in_bytes - stats.alias_size_in_bytes,
        "temporaries": stats.temp_size_in_bytes,
        "program": stats.generated_code_size_in_bytes,
    }
    return compiled.as_text(), {name: float(size) for name, size in sizes.items()}


def memory_lacking(message: str) -> dict[str, float] | None:
    """{"used", "limit"} in bytes, from what the compiler says when a program does not fit; None for another error."""
    found = re.search(r"Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm", message)
    if found is None:
        return None
    used, limit = (float(found[i]) * _GIGA[found[i + 1]] for i in (1, 3))
    return {"used": used, "limit": limit}


def _exchanges(collectives: list[Any], topology: Topology, places: list[Any]) -> list[dict[str, Any]]:
    """One row for each kind and size of group."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for one in collectives:
        row = rows.setdefault(
            (one.kind, len(one.group)),
            {"kind": one.kind, "group": len(one.group), "count": 0, "bytes": 0.0, "seconds": 0.0, "hidden_s": 0.0},
        )
        seconds = exchange_seconds(one, topology, places)
        row["count"] += 1
        row["bytes"] += one.wire_bytes
        row["seconds"] += seconds
        row["hidden_s"] += seconds * one.hidden
    return sorted(rows.values(), key=lambda row: -row["seconds"])


def _say(what: str) -> None:
    print(what, flush=True)


if __name__ == "__main__":
    main()
