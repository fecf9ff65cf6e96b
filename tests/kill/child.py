"""One life of a training process: `rtx train`, with a journal of what it did, until its end or its death.

A line of the journal is written with one system call, so nothing of it is lost with the process:

    {"start": 16}                                          restored (0: nothing to restore)
    {"step": 17, "rows": ["3f2a...", ...]}                 a batch that the loader gave, as digests of its rows
    {"step": 17, "loss": 1.5, "draw": 123456}              a step that was taken: loss, random bits of its key
    {"committed": 24}                                      a checkpoint became visible
    {"killing": "before commit 2"}                         the planned death is next
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rtx import cli
from rtx.data.loader import Loader, batch_digest
from rtx.spec import Batch
from rtx.train import checkpoint, imitation, loop  # noqa: F401 (a child is forked from a process that has imported all of it)
from rtx.train.observe import Window
from rtx.train.state import named, root_key
from tests.kill.phases import PHASES, Plan

HEARTBEAT_S = 20  # after which jax knows that a process is no more; 100 in earnest


def live(arguments: Sequence[str], environment: Mapping[str, str], journal: Path, log: Path, plan: Plan | None) -> None:
    """`rtx ARGUMENTS`; its output goes to `log`."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environment)
    warnings.filterwarnings("error")
    note = _Note(journal)
    _observe(note)
    jax.distributed.initialize = partial(jax.distributed.initialize, heartbeat_timeout_seconds=HEARTBEAT_S)
    if plan:
        plan.arm(note)
    cli.main(arguments)


class _Note:
    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._began = time.monotonic()

    def __call__(self, **values: Any) -> None:
        line = json.dumps({**values, "after_s": round(time.monotonic() - self._began, 3)}) + "\n"
        os.write(self._file, line.encode())


def _observe(note: _Note) -> None:
    _after(checkpoint, "restore", lambda restored: note(start=0 if restored is None else restored.step))
    _observe_loader(note)
    _observe_steps(note)
    PHASES["commit"].wrap(lambda rename: _noted_rename(rename, note))


def _after(owner: Any, name: str, tell: Callable[[Any], None]) -> None:
    original = getattr(owner, name)

    def told(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        tell(result)
        return result

    setattr(owner, name, told)


def _observe_loader(note: _Note) -> None:
    give = Loader.__next__

    def noted(self: Loader) -> Batch:
        batch = give(self)
        note(step=int(batch.sample[0]) // self.batch_size + 1, rows=row_digests(batch))
        return batch

    Loader.__next__ = noted  # type: ignore[method-assign]


def _observe_steps(note: _Note) -> None:
    make, add = imitation.make_step, Window.add

    def drawing(*args: Any, **kwargs: Any) -> Any:
        step = make(*args, **kwargs)

        def drawn(state: Any, batch: Any) -> Any:
            draw = jax.random.bits(jax.random.fold_in(named(root_key(state), "loss"), state.step))
            state, values = step(state, batch)
            return state, {**values, "draw": draw}

        return drawn

    def noted(self: Window, step: int, values: dict[str, Any], **more: Any) -> None:
        note(step=step, loss=float(values["loss"]), draw=int(values.pop("draw")))
        add(self, step, values, **more)

    imitation.make_step, Window.add = drawing, noted  # type: ignore[method-assign]


def _noted_rename(rename: Callable[..., None], note: _Note) -> Callable[..., None]:
    def noted(source: Any, target: Any) -> None:
        rename(source, target)
        note(committed=int(Path(target).name))

    return noted


def row_digests(batch: Batch) -> list[str]:
    """Twelve digits of each row: hosts that share a batch have the rows of the one host that has it alone."""
    num_rows = len(np.asarray(batch.sample))
    return [batch_digest(_row(batch, i))[:12] for i in range(num_rows)]


def _row(batch: Batch, i: int) -> Batch:
    def cut(value: Any) -> Any:
        if value is None:
            return None
        return {name: cut(one) for name, one in value.items()} if isinstance(value, Mapping) else value[i : i + 1]

    return dataclasses.replace(batch, **{f.name: cut(getattr(batch, f.name)) for f in dataclasses.fields(batch)})
