"""Shard tasks in worker processes of this machine. A cluster runs the same `prepare_shard` under its own scheduler.

    parent --task--> worker: prepare_shard --> part on disk
       ^--- episodes read so far, one shared number per shard, no lock ---'

Workers are spawned, never forked: the caller may hold threads (jax, a GL context) that a fork would copy half alive. A
worker whose parent is gone, even by SIGKILL, ends itself.
"""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.connection
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from rtx.data.shard import PartMeta, ShardTask, prepare_shard
from rtx.errors import UserError, WorldError

_POLL_S = 0.2
_AHEAD = 2  # tasks per worker in the pool's queue; all at once can fill its wakeup pipe and deadlock (Python issue 105829)
_episodes: Any = None  # in a worker: the shared numbers


def run_in_processes(
    tasks: Sequence[ShardTask], *, num_workers: int, advance: Callable[[int], None]
) -> Iterator[tuple[int, PartMeta]]:
    """(position, result) as shards finish; `advance` is told of episodes while they are read.

    On any way out, tasks not begun are dropped and those under way awaited: their parts serve the next run. The first
    error of a task is raised. Raises UserError for tasks that cannot be sent, WorldError for a worker that died.
    """
    _check_can_travel(tasks)
    context = multiprocessing.get_context("spawn")
    episodes = context.RawArray("q", len(tasks))  # each written by one worker at a time: nobody can die holding a lock
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker, initargs=(episodes,))
    shown = 0
    try:
        waiting = iter(enumerate(tasks))
        futures: dict[Future[PartMeta], int] = {}
        while True:
            for i, task in itertools.islice(waiting, _AHEAD * num_workers - len(futures)):
                futures[pool.submit(_work, i, task)] = i
            if not futures:
                break
            finished, _ = wait(futures, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            read = sum(episodes)
            advance(read - shown)
            shown = read
            for future in finished:
                yield futures.pop(future), future.result()
    except BrokenProcessPool as error:
        raise WorldError(
            "a worker process died, most often for lack of memory; run the same command again (finished shards are kept), "
            "with fewer workers if it happens again"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check_can_travel(tasks: Sequence[ShardTask]) -> None:
    """Here and not in the pool's own thread, where an object that does not pickle can leave its shutdown waiting forever."""
    try:
        pickle.dumps(tasks[0].ref)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UserError(
            f"the record cannot be sent to worker processes ({error}): define standardize at the top level of a file and load "
            "it with rtx.data.record.load_records, or pass num_workers=1"
        ) from error


def _start_worker(episodes: Any) -> None:
    global _episodes
    _episodes = episodes
    end_with_parent()


def end_with_parent() -> None:
    """For a spawned process: it ends when its parent does, whatever it is doing."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _work(position: int, task: ShardTask) -> PartMeta:
    def count_one() -> None:
        _episodes[position] += 1

    return prepare_shard(task, count_one)
