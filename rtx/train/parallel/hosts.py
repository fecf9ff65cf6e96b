"""The processes of a run, one on each host: how they find each other, and who does what.

    join()              flags, torchrun's variables, SLURM, a TPU pod; nothing of the kind = one process
    share(mesh)         which rows of each batch this process reads
    global_batch(...)   those rows on this host's devices, as its part of one array: nothing travels between hosts

Every process runs the same programs in the same order. The first alone claims the run folder and writes metrics and logs;
every process writes its own parts of a checkpoint, so the folder must be one that all hosts see.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh

from rtx import tpu
from rtx.errors import UserError, WorldError
from rtx.train.parallel.mesh import batch_sharding, num_row_shards

log = logging.getLogger(__name__)

_GONE = ("Gloo", "NCCL", "CoordinationService", "coordination service", "Connection closed by peer", "Socket closed")
"""Texts in what jax raises when it waited for another process that is no more."""


@dataclass(frozen=True)
class Hosts:
    """This process among those of the run."""

    index: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> Hosts:
        return cls(jax.process_index(), jax.process_count())

    @property
    def is_first(self) -> bool:
        return self.index == 0


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What `jax.distributed.initialize` is told; () and None are left to its own detection."""

    how: str
    coordinator: str | None = None
    process_id: int | None = None
    num_processes: int | None = None
    local_devices: tuple[int, ...] = ()


def join(coordinator: str | None = None, process_id: int | None = None, num_processes: int | None = None) -> Hosts:
    """Finds the other processes of the run, if there are any; before anything else asks jax for a device.

    Raises UserError for half of a description, WorldError where the others do not come.
    """
    launch = find_launch(os.environ, coordinator, process_id, num_processes, has_tpu=_is_on_tpu())
    if launch is None or launch.num_processes == 1:
        return Hosts()
    try:
        jax.distributed.initialize(
            launch.coordinator, launch.num_processes, launch.process_id, list(launch.local_devices) or None,
            cluster_detection_method="deactivate" if launch.coordinator else None,
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        if launch.how == "TPU" and isinstance(error, ValueError):  # jax found no pod around it: a host of its own
            return Hosts()
        raise WorldError(
            f"no joining of the other processes ({launch.how}, coordinator {launch.coordinator or 'found by jax'}): {error}"
        ) from error
    hosts = Hosts.here()
    if not hosts.is_first:
        logging.getLogger("rtx").setLevel(logging.WARNING)  # the first says it for all
    return hosts


def find_launch(
    environment: Mapping[str, str],
    coordinator: str | None = None,
    process_id: int | None = None,
    num_processes: int | None = None,
    *,
    has_tpu: bool = False,
) -> Launch | None:
    """How this process was started, by the first that says so; None = on its own. Raises UserError for half of it."""
    given = {"--coordinator": coordinator, "--process-id": process_id, "--num-processes": num_processes}
    if any(value is not None for value in given.values()):
        if missing := [name for name, value in given.items() if value is None]:
            raise UserError(f"several processes need all of {', '.join(given)}; {', '.join(missing)} is missing")
        return _checked(Launch(how="flags", coordinator=coordinator, process_id=process_id, num_processes=num_processes))
    return _torchrun(environment) or _slurm(environment) or (Launch(how="TPU") if has_tpu else None)


def _torchrun(environment: Mapping[str, str]) -> Launch | None:
    names = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")
    found = {name: environment[name] for name in names if name in environment}
    if "RANK" not in found and "WORLD_SIZE" not in found:
        return None
    if missing := [name for name in names if name not in found]:
        raise UserError(f"{', '.join(found)} are set, so several processes are meant, but {', '.join(missing)} is not")
    port = _number(found, "MASTER_PORT") + ("TORCHELASTIC_RUN_ID" in environment)  # torchrun itself listens at its port
    several = int(environment.get("LOCAL_WORLD_SIZE", "1")) > 1  # processes on this host: a device for each
    return _checked(
        Launch(
            how="torchrun's variables",
            coordinator=f"{found['MASTER_ADDR']}:{port}",
            process_id=_number(found, "RANK"),
            num_processes=_number(found, "WORLD_SIZE"),
            local_devices=(int(environment["LOCAL_RANK"]),) if several and "LOCAL_RANK" in environment else (),
        )
    )


def _slurm(environment: Mapping[str, str]) -> Launch | None:
    """A step that `srun` started with several tasks; jax reads the rest. One task a host has all its GPUs, of several each
    has one: jax assumes the latter, so the former is said."""
    needed = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS")
    if not all(name in environment for name in needed) or int(environment["SLURM_NTASKS"]) < 2:
        return None
    is_alone = environment.get("SLURM_STEP_TASKS_PER_NODE", "").split("(")[0] == "1"
    gpus = environment.get("SLURM_GPUS_ON_NODE", "")
    return Launch(how="SLURM", local_devices=tuple(range(int(gpus))) if is_alone and gpus.isdecimal() else ())


def _checked(launch: Launch) -> Launch:
    address, colon, port = (launch.coordinator or "").rpartition(":")
    if not (address and colon and port.isdecimal()):
        raise UserError(f"coordinator {launch.coordinator!r}: expected HOST:PORT, where process 0 runs and a free port there")
    count, index = launch.num_processes or 0, -1 if launch.process_id is None else launch.process_id
    if not 0 <= index < count:
        raise UserError(f"process {index} of {count}: numbers go from 0 to the number of processes less one")
    return launch


def _number(values: Mapping[str, str], name: str) -> int:
    if not values[name].isdecimal():
        raise UserError(f"{name}={values[name]!r} is not a number")
    return int(values[name])


def _is_on_tpu() -> bool:
    """Whether this is a TPU host that is to be used as one; on a pod all its hosts find each other."""
    wanted = "tpu" in os.environ.get("JAX_PLATFORMS", "tpu")
    return wanted and importlib.util.find_spec("libtpu") is not None and tpu.has_tpu()


@contextlib.contextmanager
def lost_hosts() -> Iterator[None]:
    """What jax raises where another process has ended becomes a WorldError that says so, and is on the log at once: leaving
    may take until jax's heartbeats notice too (100 s), which then end the process."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or not any(text in str(error) for text in _GONE):
            raise
        text = (
            "another process of this run has ended, so this one ends too. The reason is in that one's output; "
            "start all of them again with the same command: they carry on from the newest checkpoint"
        )
        log.error("%s", text)
        raise WorldError(f"{text} (jax: {str(error).splitlines()[0]})") from error


def share(mesh: Mesh) -> tuple[int, int]:
    """(index, count): this process reads the index-th of `count` equal parts of each batch's rows. Processes whose devices
    hold the same rows, because "tensor" reaches over hosts, read the same.

    Raises UserError for a mesh on which the rows of hosts overlap in part.
    """
    devices = mesh.devices.reshape(num_row_shards(mesh), -1)
    found = shares([[device.process_index for device in of_rows] for of_rows in devices])
    if found is None:
        shape = ", ".join(f"run.mesh.{name}={size}" for name, size in mesh.shape.items())
        raise UserError(
            f"on this mesh ({shape}) hosts would hold parts of each other's rows; choose run.mesh.tensor to divide the devices "
            "of a host, or to be a multiple of them"
        )
    return found[jax.process_index()]


def shares(processes: Sequence[Sequence[int]]) -> dict[int, tuple[int, int]] | None:
    """(index, count) of each process, given those whose devices hold each part of the rows. None where two processes hold
    some rows in common and not all, or not equally many."""
    held: dict[int, list[int]] = {}
    for part, of_part in enumerate(processes):
        for process in sorted(set(of_part)):
            held.setdefault(process, []).append(part)
    distinct = sorted({tuple(parts) for parts in held.values()})
    if sum(map(len, distinct)) != len(processes) or len({len(parts) for parts in distinct}) > 1:
        return None
    return {process: (distinct.index(tuple(parts)), len(distinct)) for process, parts in held.items()}


def global_batch(mesh: Mesh, host_batch: Any) -> Any:
    """A pytree of host arrays, this process's share of the rows, as global arrays."""
    sharding = batch_sharding(mesh)
    if sharding.is_fully_addressable:
        return jax.device_put(host_batch, sharding)
    return jax.tree.map(lambda rows: jax.make_array_from_process_local_data(sharding, rows), host_batch)
