"""Loader: an endless stream of batches that is the same on any number of hosts and after any interruption.

    sample numbers --order.py--> Plan --rows in slices, threads--> Batch --in order, a few ahead--> the train loop

All there is to save is the next sample number. Each batch in flight is a set of slices of rows, filled by a pool of threads
straight into the batch's own memory, so memory is prefetch + 1 batches however large the mixture; `Loader.memory` says how much
before the first. An error in a thread comes out of `next` with data set, episode, step, file and byte.

Threads and no processes: of the 440 us that a 256 x 256 JPEG takes on a 2 GHz core the interpreter is held for 18, so twenty
cores can be kept busy, and no batch has to be carried from one process to another.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from rtx.data.assemble import PADDING_SAMPLE, Assembler, Plan, batch_digest
from rtx.data.mixture import Mixture
from rtx.data.order import Order
from rtx.data.tokenizers import Tokenizers
from rtx.embodiment import Fit
from rtx.errors import UserError, unknown_name
from rtx.spec import Batch, Contract

__all__ = ["Loader", "LoaderState", "batch_digest", "one_pass"]

_MAX_ROWS_PER_SLICE = 32
_HELD_BATCHES = 2  # by the consumer: one in use, one on its way to the device


@dataclass(frozen=True, kw_only=True)
class LoaderState:
    """Where a stream stands, and which stream it is. `dataclasses.asdict` and `LoaderState(**data)` are its JSON."""

    next_sample: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class LoaderMemory:
    """What a loader will hold at most, in bytes, known before its first batch."""

    batch: int  # one batch
    num_batches: int  # prepared ahead, being prepared, and two that the consumer holds
    frames: int  # decoded pictures that stay, once all were seen
    rows: int  # lists of the samples that filters leave
    mapped: int  # step tables: pages of files, which the system takes back when memory gets short

    @property
    def total(self) -> int:
        return self.batch * self.num_batches + self.frames + self.rows

    def __str__(self) -> str:
        parts = [f"{self.num_batches} batches of {self.batch / 1e6:,.1f} MB"]
        parts += [f"{self.frames / 1e6:,.0f} MB of decoded pictures"] if self.frames else []
        parts += [f"{self.rows / 1e6:,.0f} MB of row lists"] if self.rows else []
        return f"at most {self.total / 1e6:,.0f} MB ({', '.join(parts)}); tables mapped from disk {self.mapped / 1e6:,.1f} MB"


class Loader:
    """Iterator of `spec.Batch` in host memory, without end.

    with Loader(mixture, batch_size=64, history=2, chunk=4, roles=("primary", "wrist"), image_size=(64, 64),
                tokenizers=Tokenizers.alike(tokenizer.encode), seed=0) as loader:
        for batch in loader: ...
    """

    def __init__(
        self,
        mixture: Mixture,
        *,
        batch_size: int,
        history: int,
        chunk: int,
        roles: Sequence[str],
        image_size: tuple[int, int],
        fit: Fit = "stretch",
        tokenizers: Tokenizers,
        seed: int,
        split: str = "train",
        host_index: int = 0,
        num_hosts: int = 1,
        start: int = 0,
        num_threads: int | None = None,
        prefetch: int = 2,
        cache_bytes: int = 0,
        depth: Sequence[str] = (),
        goals: bool = False,
        frame_actions: bool = False,
    ) -> None:
        """`batch_size` is global: host i of n gets rows i/n to (i+1)/n of each batch, so the hosts' batches one after the
        other are the one-host batch. `start` is the first sample number. `num_threads` defaults to the cores this process
        may use. `cache_bytes` > 0 keeps decoded pictures if those of the whole mixture fit.

        `depth` asks for the depth maps of these cameras (`Batch.depth`), nearest pixel, at `image_size`; `goals` for a later
        frame of the same episode (`Batch.goal`), drawn from the sample's own step to the last. `frame_actions` gives the
        actions of the history's frames, [b, history, a], not the `chunk` ahead: for models that act at every frame.

        `image_mask` is True where that camera has a real frame at that time: False for history padding and absent cameras.
        Raises UserError for arguments that cannot work, all of them at once.
        """
        problems = _problems(batch_size, history, chunk, roles, image_size, host_index, num_hosts, start, prefetch)
        problems += _depth_problems(mixture, depth)
        if problems:
            raise UserError("loader: " + "; ".join(problems))
        contract = mixture.contract(roles=roles, image_size=image_size, fit=fit, history=history, chunk=chunk)
        self.mixture, self.order = mixture, mixture.order(seed=seed, split=split)
        self.batch_size, self.num_threads = batch_size, num_threads or _available_cores()
        self._share = _share(batch_size, host_index, num_hosts)
        self._prefetch = prefetch
        self._assembler = Assembler(
            mixture, contract, split=split, tokenizers=tokenizers, cache_bytes=cache_bytes, depth=depth, goals=goals,
            frame_actions=frame_actions,
        )  # fmt: skip
        self._fingerprint = _fingerprint(mixture.fingerprint(split), split, seed, contract, frame_actions)
        self._next_sample = start
        self._pipeline: _Pipeline | None = None

    @property
    def caches_frames(self) -> bool:
        """Whether decoded pictures stay in memory, that is, whether `cache_bytes` was enough for all of them."""
        return self._assembler.caches_frames

    def memory(self) -> LoaderMemory:
        """What it will hold at most; as text, one line for people."""
        num_rows, contract = self._share.stop - self._share.start, self.contract()
        mapped, rows = self._assembler.table_bytes()
        return LoaderMemory(
            batch=self._assembler.batch_bytes(num_rows),
            num_batches=self._prefetch + 1 + _HELD_BATCHES,
            frames=self._assembler.num_frames * math.prod(contract.image_size) * 3 if self.caches_frames else 0,
            rows=rows,
            mapped=mapped,
        )

    def contract(self) -> Contract:
        """What a model trained on these batches promises: embodiments and statistics by data set name."""
        return self._assembler.contract

    def state(self) -> LoaderState:
        """The position after the last batch that `next` gave; batches prepared ahead do not count."""
        return LoaderState(next_sample=self._next_sample, fingerprint=self._fingerprint)

    def restore(self, state: LoaderState) -> None:
        """Goes to a saved position; batch size and hosts may differ. Raises UserError for the state of another stream."""
        if state.fingerprint != self._fingerprint:
            raise UserError(
                f"the saved data position is of another stream ({state.fingerprint}, this one is {self._fingerprint}): data"
                " sets, their content, weights, seed, cameras, image size, history or chunk changed; train with the saved"
                " configuration or start a new run"
            )
        self.close()
        self._next_sample = state.next_sample

    def epochs(self) -> dict[str, float]:
        """How often each data set was gone through up to the current position."""
        return dict(zip(self.mixture.names, self.order.epochs(self._next_sample).tolist(), strict=True))

    def close(self) -> None:
        """Stops the threads and closes the files. The loader may be used again: it goes on where it was."""
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> Batch:
        if self._pipeline is None:
            plans = _endless_plans(self.order, self._next_sample, self.batch_size, self._share)
            self._pipeline = _Pipeline(self._assembler, plans, self.num_threads, self._prefetch)
        try:
            batch = next(self._pipeline)
        except BaseException:
            self.close()
            raise
        self._next_sample += self.batch_size
        return batch

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def one_pass(
    mixture: Mixture,
    *,
    batch_size: int,
    history: int,
    chunk: int,
    roles: Sequence[str],
    image_size: tuple[int, int],
    fit: Fit = "stretch",
    tokenizers: Tokenizers,
    split: str = "val",
    max_samples: int | None = None,
    host_index: int = 0,
    num_hosts: int = 1,
    num_threads: int | None = None,
    depth: Sequence[str] = (),
    goals: bool = False,
    frame_actions: bool = False,
) -> Iterator[Batch]:
    """Every window of `split` once, data set after data set, for validation: the same batches at every call.

    `max_samples` per data set takes that many evenly spaced windows instead. The last batch is filled up with rows of
    `sample` -1 and an `action_mask` of False, so shapes never change. Data sets whose split is empty give nothing.
    Raises UserError at the call, for arguments that cannot work or a split that is empty everywhere.
    """
    problems = _problems(batch_size, history, chunk, roles, image_size, host_index, num_hosts, 0, 1)
    problems += _depth_problems(mixture, depth)
    if max_samples is not None and max_samples < 1:
        problems.append(f"max_samples {max_samples} must be at least 1")
    plan = _pass_plan(mixture.num_steps(split), batch_size, max_samples) if not problems else None
    if plan is not None and not len(plan.number):
        problems.append(f"split {split!r} is empty in every data set: {', '.join(mixture.names)}")
    if problems or plan is None:
        raise UserError("loader: " + "; ".join(problems))
    contract = mixture.contract(roles=roles, image_size=image_size, fit=fit, history=history, chunk=chunk)
    assembler = Assembler(
        mixture, contract, split=split, tokenizers=tokenizers, depth=depth, goals=goals, frame_actions=frame_actions
    )
    share = _share(batch_size, host_index, num_hosts)
    plans = (plan[i + share.start : i + share.stop] for i in range(0, len(plan.number), batch_size))
    return _until_closed(_Pipeline(assembler, plans, num_threads or _available_cores(), prefetch=1))


class _Pipeline:
    """Plans to batches, in order: `prefetch` batches are prepared ahead by a pool of threads, each in slices of rows."""

    def __init__(self, assembler: Assembler, plans: Iterator[Plan], num_threads: int, prefetch: int) -> None:
        self._assembler, self._plans, self._prefetch = assembler, plans, prefetch
        self._num_threads = num_threads
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="rtx-loader")
        self._in_flight: deque[tuple[Batch, list[Future[None]]]] = deque()

    def __iter__(self) -> _Pipeline:
        return self

    def __next__(self) -> Batch:
        while len(self._in_flight) <= self._prefetch and (plan := next(self._plans, None)) is not None:
            self._in_flight.append(self._submit(plan))
        if not self._in_flight:
            raise StopIteration
        batch, slices = self._in_flight.popleft()
        for part in slices:
            part.result()
        return batch

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._assembler.close()

    def _submit(self, plan: Plan) -> tuple[Batch, list[Future[None]]]:
        num_rows = len(plan.number)
        # Two slices a thread even out their different costs; larger ones only make the last wait longer.
        step = min(_MAX_ROWS_PER_SLICE, max(1, num_rows // (2 * self._num_threads)))
        batch = self._assembler.empty(num_rows)
        cuts = (slice(i, min(i + step, num_rows)) for i in range(0, num_rows, step))
        return batch, [self._pool.submit(self._assembler.fill, batch, plan, rows) for rows in cuts]


def _until_closed(pipeline: _Pipeline) -> Iterator[Batch]:
    try:
        yield from pipeline
    finally:
        pipeline.close()


def _endless_plans(order: Order, start: int, batch_size: int, share: slice) -> Iterator[Plan]:
    for first in itertools.count(start, batch_size):
        numbers = np.arange(first + share.start, first + share.stop, dtype=np.int64)
        draws = order.lookup(numbers)
        yield Plan(number=numbers, entry=draws.entry, window=draws.window)


def _pass_plan(num_steps: Sequence[int], batch_size: int, max_samples: int | None) -> Plan:
    """The whole pass, filled up to whole batches by repeating its last row."""
    taken = [n if max_samples is None else min(n, max_samples) for n in num_steps]
    window = np.concatenate([np.arange(k, dtype=np.int64) * n // max(k, 1) for k, n in zip(taken, num_steps, strict=True)])
    entry = np.repeat(np.arange(len(taken), dtype=np.int32), taken)
    filler = -len(window) % batch_size
    return Plan(
        number=np.pad(np.arange(len(window), dtype=np.int64), (0, filler), constant_values=PADDING_SAMPLE),
        entry=np.pad(entry, (0, filler), mode="edge") if filler else entry,
        window=np.pad(window, (0, filler), mode="edge") if filler else window,
    )


def _share(batch_size: int, host_index: int, num_hosts: int) -> slice:
    return slice(batch_size * host_index // num_hosts, batch_size * (host_index + 1) // num_hosts)


def _fingerprint(mixture: str, split: str, seed: int, contract: Contract, frame_actions: bool) -> str:
    chunk = "frames" if frame_actions else contract.chunk
    parts = [mixture, split, seed, contract.roles, contract.image_size, contract.fit, contract.history, chunk]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _problems(
    batch_size: int,
    history: int,
    chunk: int,
    roles: Sequence[str],
    image_size: tuple[int, int],
    host_index: int,
    num_hosts: int,
    start: int,
    prefetch: int,
) -> list[str]:
    positive = {
        "batch_size": batch_size,
        "history": history,
        "chunk": chunk,
        "num_hosts": num_hosts,
        "image size": min(image_size),
    }
    problems = [f"{name} {value} must be at least 1" for name, value in positive.items() if value < 1]
    if len(set(roles)) != len(roles):
        problems.append(f"camera roles repeat: {', '.join(roles)}")
    if num_hosts >= 1 and batch_size % num_hosts:
        problems.append(f"batch_size {batch_size} must be a multiple of num_hosts {num_hosts}")
    if not 0 <= host_index < max(num_hosts, 1):
        problems.append(f"host_index {host_index} must be from 0 to {num_hosts - 1}")
    problems += [
        f"{name} {value} must not be negative" for name, value in (("start", start), ("prefetch", prefetch)) if value < 0
    ]
    return problems


def _depth_problems(mixture: Mixture, depth: Sequence[str]) -> list[str]:
    known = sorted({role for entry in mixture.entries for role in entry.prepared.depths})
    return [str(unknown_name("camera with depth", role, known)) for role in depth if role not in known]


def _available_cores() -> int:
    """Cores this process may use, which in a container or a batch job are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
