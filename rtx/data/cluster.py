"""Shard tasks on a Ray cluster: the same `prepare_shard` as in local processes, one CPU each, parts on a folder all share.

    here --task--> any machine: prepare_shard --> part in OUT/parts, which every machine mounts
     ^--------------- its head ----------------'

A worker or a machine that dies is replaced by Ray and its shard done again; parts are whole or absent, so nothing is counted
twice, and an interrupted run is taken up by the next one, on a cluster or not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import os
import pickle
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rtx.data.shard import PartMeta, ShardTask, prepare_shard
from rtx.errors import UserError, WorldError
from rtx.files import disk_errors

_RETRIES = 3  # of a shard whose worker or machine died
_AHEAD = 2  # tasks per CPU in Ray's hands: enough for it to see that more machines would help


def run_on_cluster(
    tasks: Sequence[ShardTask], *, address: str, advance: Callable[[int], None]
) -> Iterator[tuple[int, PartMeta]]:
    """(position, result) as shards finish, whose episodes `advance` is told. The first error of a task is raised.

    `address`: "auto" (the cluster of this machine), "HOST:PORT", "ray://HOST:PORT". Uses a connection that is open already.
    After an error, tasks not sent yet are dropped and those under way awaited: their parts serve the next run (taking a task
    back just as it ends can crash Ray itself). An interrupt awaits nothing; what runs ends with the connection. Raises
    UserError if there is no such cluster or a machine of it does not see the files, WorldError for a shard whose worker died
    again and again.
    """
    with _connected(address) as ray, _sign(tasks[0].part.parent) as sign:
        work = ray.remote(num_cpus=1, max_retries=_RETRIES)(_work)
        sent: dict[Any, int] = {}
        waiting = iter(enumerate(tasks))
        try:
            while True:
                room = max(1, _AHEAD * int(ray.cluster_resources().get("CPU", 1))) - len(sent)
                for i, task in itertools.islice(waiting, max(0, room)):
                    sent[work.remote(_packed(task), str(sign))] = i
                if not sent:
                    return
                (done, *_), _ = ray.wait(list(sent), num_returns=1)
                meta = _result(ray, done, tasks[sent[done]])
                advance(tasks[sent[done]].num_episodes)
                yield sent.pop(done), meta
        except (Exception, GeneratorExit):
            if sent:
                ray.wait(list(sent), num_returns=len(sent))
            raise


def _work(packed: tuple[bytes, str, bytes], sign: str) -> PartMeta:
    """On some machine of the cluster."""
    data, file, text = packed
    here = f"the cluster's machine {socket.gethostname()} does not see"
    if not Path(sign).is_file():
        raise UserError(f"{here} {Path(sign).parent}; choose an output folder that all machines mount under this path")
    with tempfile.TemporaryDirectory() as folder:
        task: ShardTask = pickle.loads(data)
        if file and not (Path(file).is_file() and Path(file).read_bytes() == text):
            copy = Path(folder) / Path(file).name
            copy.write_bytes(text)
            task = dataclasses.replace(task, ref=dataclasses.replace(task.ref, file=str(copy)))
        if isinstance(task.path, Path) and not task.path.is_file():
            raise UserError(f"{here} {task.path}; put the data set where all machines mount it, or in a bucket")
        return prepare_shard(task)


def _packed(task: ShardTask) -> tuple[bytes, str, bytes]:
    """The task, and the user's file its record comes from: other machines may not have it."""
    try:
        data = pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UserError(
            f"the record cannot be sent to a cluster ({error}): define standardize at the top level of a file and load it with "
            "rtx.data.record.load_records"
        ) from error
    return data, task.ref.file, Path(task.ref.file).read_bytes() if task.ref.file else b""


def _result(ray: Any, reference: Any, task: ShardTask) -> PartMeta:
    try:
        meta: PartMeta = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError | WorldError | OSError):
            raise error.cause from None
        if isinstance(error.cause, ImportError) or "ModuleNotFoundError" in str(error):
            reason = str(error).strip().split("\n")[-1]
            raise UserError(
                f"a machine of the cluster lacks a package ({reason}); install rtx-robotics on all of them"
            ) from error
        raise
    except ray.exceptions.RayError as error:
        reason = str(error).strip().split("\n")[0]
        raise WorldError(
            f"{task.path}: its worker died {_RETRIES + 1} times, most often for lack of memory "
            f"({type(error).__name__}: {reason}); run the same command again, finished shards are kept"
        ) from error
    return meta


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError("a cluster needs Ray, which is not installed: pip install rtx-robotics[ray]") from error
    if ray.is_initialized():
        yield ray
        return
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"no Ray cluster at {address!r} ({reason}); start one with `ray start --head` and `ray start --address=HOST:6379` "
            "on the other machines"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself would wait minutes for a server that is not there. Raises OSError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


@contextlib.contextmanager
def _sign(folder: Path) -> Iterator[Path]:
    """A small file by which a worker knows that it sees the folder the parts go to, and not one of its own of that name."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sign = folder / f".sign.{secrets.token_hex(8)}"
        sign.touch()
    try:
        yield sign
    finally:
        sign.unlink(missing_ok=True)
