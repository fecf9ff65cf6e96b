"""A plan's facts, from a process that compiles for chips that are not here.

The process has an environment of its own: jax on the CPU, libtpu as compiler only, nobody asked for a TPU. So an installed
libtpu changes nothing for any other run, and this one nothing for the caller.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rtx
from rtx.errors import UserError, WorldError
from rtx.plan.chips import Topology
from rtx.train.config import TrainConfig, config_to_json

STAGES = ("operations", "compilation", "reading the program")
"""What the process says it is at when it compiles."""
CALCULATED = "calculated"
"""What it says of each configuration when it only calculates."""

_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",  # no questions to a cloud's metadata server
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # of a machine that it need not be; what is compiled for is said apart
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # its lock is for those who use a TPU
    "TPU_STDERR_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "JAX_ENABLE_COMPILATION_CACHE": "0",
}
_DROPPED = ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "LIBTPU_INIT_ARGS", "TPU_PROCESS_ADDRESSES")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of one step; bytes, operations and seconds of one chip unless told otherwise."""

    mesh: dict[str, int]
    weights: dict[str, float]  # of `abstract.Weights`
    memory: dict[str, float]  # arguments, results, temporaries, program; or what was used of which limit, if it does not fit
    needed: float  # operations of all chips, without what is computed again
    executed: float  # operations of all chips, with it
    uncounted: list[str] = field(default_factory=list)
    unknown_loops: int = 0
    compile_s: float = 0.0
    times: dict[str, float] | None = None  # of `roofline.Times`; None where it does not fit
    flops: float = 0.0  # products in the compiled program
    bytes: float = 0.0  # memory traffic of the compiled program
    cycles: float = 0.0  # as the compiler estimates them
    exchanges: list[dict[str, Any]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)  # of `hlo.Module`
    compiled: bool = True  # else by calculation

    @property
    def used(self) -> float:
        """Bytes of a chip's memory."""
        return self.memory["used"] if "used" in self.memory else sum(self.memory.values())

    @property
    def fits(self) -> bool:
        return self.times is not None


def measure(config: TrainConfig, topology: Topology, *, stage: Callable[[str], None] = lambda what: None) -> Measured:
    """Compiles `config`'s step for `topology`, a TPU slice; minutes. `stage` hears what it is at.

    Raises UserError for a configuration that does not fit the slice or without libtpu, WorldError where the compiler fails.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("plans for TPUs need their compiler, libtpu: pip install 'rtx-robotics[tpu]' (Linux x86-64)")
    (found,) = _in_process([config], topology, compile=True, heard=stage)
    return found


def calculate_all(
    configs: Sequence[TrainConfig], topology: Topology, *, done: Callable[[], None] = lambda: None
) -> list[Measured]:
    """By calculation, in seconds, for any topology. `done` is called after each.

    Raises UserError for a configuration that does not fit the topology.
    """
    return _in_process(configs, topology, compile=False, heard=lambda what: done() if what == CALCULATED else None)


def _in_process(
    configs: Sequence[TrainConfig], topology: Topology, *, compile: bool, heard: Callable[[str], None]
) -> list[Measured]:
    with tempfile.TemporaryDirectory(prefix="rtx-plan-") as folder:
        request, result, errors = (Path(folder) / name for name in ("request.json", "result.json", "errors.txt"))
        asked = {"configs": [config_to_json(one) for one in configs], "topology": topology.name, "compile": compile}
        request.write_text(json.dumps(asked))
        command = [sys.executable, "-m", "rtx.plan.child", str(request), str(result)]
        with (
            errors.open("wb") as stderr,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=_environment(), text=True) as child,
        ):
            try:
                assert child.stdout is not None
                for line in child.stdout:
                    heard(line.strip())
            except BaseException:
                child.kill()
                raise
        if child.returncode or not result.exists():
            raise WorldError(f"planning for {topology.name} failed (exit code {child.returncode}):\n{_last_lines(errors)}")
        found = json.loads(result.read_text())
    if "error" in found:
        raise UserError(found["error"])
    return [Measured(**one) for one in found["found"]]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    root = str(Path(rtx.__file__).resolve().parents[1])
    return kept | _ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, [root, kept.get("PYTHONPATH", "")]))}


def _last_lines(path: Path, count: int = 20) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
