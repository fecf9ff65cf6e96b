"""Runs a guard in a process or thread of its own, beside the policy's loop, and talks to it through a pipe.

    loop (policy, network, pictures)                       guard's process
      GuardedRobot.read / submit / arm / stop  -- msgpack -->  pipe --+
      another process: echo stop > FOLDER/e-stop  -------->  FIFO ----+--> Guard.tick --> driver
      kill -USR1 PID  ------------------------------------>  signal --+

The guard waits for whichever comes first, or for its own next moment. A loop that hangs sends nothing: the guard holds, then
stops. A loop that is killed closes the pipe: the guard stops softly, goes on standing still for a while and lets go. Its
process has a session of its own, so a Ctrl-C in the terminal reaches the loop and not the guard.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from rtx.control.guard import Guard, GuardSettings, Status
from rtx.control.guard_log import GuardLog
from rtx.control.judge import Command, Converts
from rtx.drivers.driver import Driver, RobotState
from rtx.embodiment import CANONICAL, Layout, Limits
from rtx.errors import UserError, WorldError
from rtx_client.wire import WireError, pack, unpack

log = logging.getLogger(__name__)

Place = Literal["process", "thread"]
_ANSWER_S = 5.0  # for a read or an order; a guard that takes longer is in a driver that hangs
_START_S = 120.0  # a simulator builds its model the first time
_LINGER_S = 30.0  # a guard whose loop is gone stands still for so long before it lets go of the robot
_LONGEST_WAIT_S = 0.5


@dataclass(frozen=True, kw_only=True)
class GuardSetup:
    """What a guard is made of, in its own process: `driver` and `adapter` are module-level functions or partials of such."""

    driver: Callable[[], Driver]
    adapter: Callable[[], Converts]
    limits: Limits
    layout: Layout = CANONICAL
    settings: GuardSettings = dataclasses.field(default_factory=GuardSettings)
    log: Path | None = None  # refusals and what became of the robot, JSON lines
    e_stop: Path | None = None  # a FIFO to be made: whatever is written to it stops the robot
    linger_s: float = _LINGER_S


@runtime_checkable
class GuardedRobot(Protocol):
    """A robot behind its guard, as the loop sees it. All but `submit` raise WorldError where the guard does not answer."""

    def read(self) -> RobotState: ...

    def submit(self, command: Command) -> None: ...

    def arm(self) -> None: ...

    def stop(self, reason: str) -> None: ...

    def status(self) -> Status: ...

    def close(self) -> None: ...


class LocalGuard:
    """A guard in the caller's own thread, ticking when it is called: for simulations whose clock the caller holds."""

    def __init__(self, guard: Guard, clock_ns: Callable[[], int]) -> None:
        self.guard, self._clock_ns = guard, clock_ns

    def read(self) -> RobotState:
        self.guard.tick(self._clock_ns())
        return self.guard.read()

    def submit(self, command: Command) -> None:
        self.guard.submit(command)
        self.guard.tick(self._clock_ns())

    def arm(self) -> None:
        self.guard.arm(self._clock_ns())

    def stop(self, reason: str) -> None:
        self.guard.stop(reason, now_ns=self._clock_ns())

    def status(self) -> Status:
        self.guard.tick(self._clock_ns())
        return self.guard.status

    def close(self) -> None:
        self.guard.close()


class HostedGuard:
    """A guard in a process (the default) or thread of its own. Made by `start_guard`; one thread calls.

    `e_stop` may be called from any thread at any moment.
    """

    def __init__(self, connection: Connection, runner: Any, pid: int) -> None:
        self._connection, self._runner, self.pid = connection, runner, pid
        self._sending, self._asking, self._next = threading.Lock(), threading.Lock(), 0

    def read(self) -> RobotState:
        answer = self._ask({"type": "read"})
        images = {role: np.array(image) for role, image in answer["images"].items()}
        return RobotState(images=images, proprio=np.array(answer["proprio"]), stamp_ns=answer["stamp_ns"])

    def submit(self, command: Command) -> None:
        values = np.asarray(command.values, np.float64)
        self._send({"type": "command", **dataclasses.asdict(dataclasses.replace(command, values=None)), "values": values})

    def arm(self) -> None:
        self._ask({"type": "arm"})

    def stop(self, reason: str) -> None:
        self._ask({"type": "stop", "reason": reason, "what": "stop"})

    def e_stop(self, reason: str = "asked for by the program") -> None:
        """Stops now; does not wait for an answer."""
        self._send({"type": "stop", "reason": reason, "what": "e_stop", "id": 0})

    def status(self) -> Status:
        return Status(**self._ask({"type": "status"})["status"])

    def close(self) -> None:
        """Soft stop, lets go of the robot, ends the guard. Safe to repeat."""
        with contextlib.suppress(WorldError):
            self._ask({"type": "close"})
        self._connection.close()
        self._runner.join(_ANSWER_S)

    def __enter__(self) -> HostedGuard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _send(self, message: dict[str, Any]) -> None:
        with self._sending:
            try:
                self._connection.send_bytes(pack(message))
            except OSError as error:
                raise WorldError(f"the guard is gone: {error}; the robot stands still or was stopped, look at it") from error

    def _ask(self, message: dict[str, Any], timeout_s: float = _ANSWER_S) -> dict[str, Any]:
        with self._asking:
            self._next += 1
            self._send({**message, "id": self._next})
            return self._answer(self._next, timeout_s)

    def _answer(self, number: int, timeout_s: float) -> dict[str, Any]:
        until = time.monotonic() + timeout_s
        while self._poll(until):
            try:
                answer = unpack(self._connection.recv_bytes())
            except (EOFError, OSError) as error:
                raise WorldError("the guard is gone; the robot stands still or was stopped, look at it") from error
            if answer["id"] != number:  # of a question that timed out
                continue
            if "error" in answer:
                raise (UserError if answer["user"] else WorldError)(answer["error"])
            return dict(answer)
        raise WorldError(
            f"the guard did not answer within {timeout_s:g} s: its driver hangs; use the robot's own emergency stop"
        )

    def _poll(self, until: float) -> bool:
        try:
            return self._connection.poll(max(0.0, until - time.monotonic()))
        except OSError as error:
            raise WorldError("the guard is gone; the robot stands still or was stopped, look at it") from error


def start_guard(setup: GuardSetup, *, place: Place = "process") -> HostedGuard:
    """A guard that has connected its driver; the robot is stopped until `arm`.

    `place="process"` outlives a killed or hanging loop; a thread shares the interpreter with the policy, and serves drivers
    that cannot be made elsewhere. Raises what making or connecting the driver raises, WorldError where it takes too long.
    """
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    if place == "process":
        # Not a daemon: those are killed when the loop ends, and this one has a robot to bring to rest.
        runner: Any = multiprocessing.get_context("spawn").Process(target=_run_process, args=(setup, theirs), name="guard")
        runner.start()
        theirs.close()
        pid = int(runner.pid)
    else:
        runner = threading.Thread(target=_run, args=(setup, theirs), name="guard", daemon=True)
        runner.start()
        pid = os.getpid()
    guard = HostedGuard(ours, runner, pid)
    try:
        guard._answer(0, _START_S)
    except BaseException:
        ours.close()
        runner.join(_ANSWER_S)
        raise
    return guard


def stop_robot(path: Path) -> None:
    """E-stop from another process, by the FIFO of its guard. Raises WorldError where no guard listens."""
    try:
        fifo = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            raise WorldError(f"no guard listens at {path}: nothing was stopped; use the robot's own emergency stop") from error
        raise
    try:
        os.write(fifo, b"stop\n")
    finally:
        os.close(fifo)


def _run_process(setup: GuardSetup, connection: Connection) -> None:
    os.setsid()  # a terminal's Ctrl-C is for the loop
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _: _note(writing, signum))
    _run(setup, connection, signals=reading)


def _note(writing: int, signum: int) -> None:
    with contextlib.suppress(OSError):  # full of signals: one of them is enough
        os.write(writing, bytes([signum]))


def _run(setup: GuardSetup, connection: Connection, signals: int | None = None) -> None:
    try:
        guard = Guard(
            setup.driver(), setup.adapter(), setup.limits, layout=setup.layout, settings=setup.settings, log=GuardLog(setup.log)
        )  # fmt: skip
    except (UserError, WorldError) as error:
        _fail(connection, 0, error)
        return
    with contextlib.closing(guard), _fifo(setup.e_stop) as fifo:
        _Runner(guard, connection, signals=signals, fifo=fifo, linger_s=setup.linger_s).run()


@contextlib.contextmanager
def _fifo(path: Path | None) -> Iterator[int | None]:
    if path is None:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    # Also opened for writing, so that it never comes to an end when a writer leaves.
    fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield fifo
    finally:
        os.close(fifo)
        path.unlink(missing_ok=True)


def _fail(connection: Connection, number: int, error: Exception) -> None:
    with contextlib.suppress(OSError):
        connection.send_bytes(pack({"id": number, "error": str(error), "user": isinstance(error, UserError)}))


class _Runner:
    """The guard's own loop."""

    def __init__(
        self, guard: Guard, connection: Connection, *, signals: int | None, fifo: int | None, linger_s: float
    ) -> None:  # fmt: skip
        self._guard, self._connection, self._signals, self._fifo = guard, connection, signals, fifo
        self._linger_ns, self._is_done = round(linger_s * 1e9), False
        self._ends_ns: int | None = None
        self._has_loop = True

    def run(self) -> None:
        self._reply(0, self._connected)
        while not self._is_done:
            for ready in self._wait():
                self._handle(ready)
            now_ns = time.monotonic_ns()
            self._guard.tick(now_ns)
            if self._ends_ns is not None and now_ns >= self._ends_ns:
                return

    def _connected(self) -> dict[str, Any]:
        self._guard.connect()
        return {}

    def _wait(self) -> list[Any]:
        sources = [source for source in (self._signals, self._fifo) if source is not None]
        seconds = min(max((self._guard.next_ns - time.monotonic_ns()) * 1e-9, 0.0), _LONGEST_WAIT_S)
        return wait([*sources, self._connection] if self._has_loop else sources, seconds) if sources or self._has_loop else []

    def _handle(self, ready: Any) -> None:
        if ready is self._connection:
            self._receive()
        elif ready == self._signals:
            self._signalled(os.read(ready, 64))
        else:
            os.read(ready, 4096)
            self._e_stop("asked for through the e-stop file")

    def _signalled(self, numbers: bytes) -> None:
        if signal.SIGUSR1 in numbers:
            self._e_stop("asked for by SIGUSR1")
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._is_done = True  # closing stops softly first

    def _e_stop(self, reason: str) -> None:
        self._guard.stop(f"e-stop: {reason}", now_ns=time.monotonic_ns(), what="e_stop")

    def _receive(self) -> None:
        """All that has come: of several commands the newest counts."""
        try:
            while not self._is_done and self._connection.poll():
                self._obey(unpack(self._connection.recv_bytes()))
        except (EOFError, OSError):
            self._has_loop = False
            self._guard.stop("the loop is gone", now_ns=time.monotonic_ns())
            self._ends_ns = time.monotonic_ns() + self._linger_ns
        except WireError as error:
            self._guard.stop(f"the loop sent something unreadable: {error}", now_ns=time.monotonic_ns())

    def _obey(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "command":
            facts = {name: message[name] for name in ("number", "values", "stamp_ns", "valid_until_ns")}
            self._guard.submit(Command(**facts))
        elif kind == "stop" and message["what"] == "e_stop":
            self._e_stop(message["reason"])
        elif kind == "stop":
            self._reply(message["id"], lambda: self._guard.stop(message["reason"], now_ns=time.monotonic_ns()))
        elif kind == "arm":
            self._reply(message["id"], lambda: self._guard.arm(time.monotonic_ns()))
        elif kind == "status":
            self._reply(message["id"], lambda: {"status": dataclasses.asdict(self._guard.status)})
        elif kind == "read":
            self._reply(message["id"], self._read)
        else:
            self._is_done = True
            self._reply(message["id"], lambda: self._guard.stop("closed by the loop", now_ns=time.monotonic_ns()))

    def _read(self) -> dict[str, Any]:
        state = self._guard.read()
        return {"images": dict(state.images), "proprio": state.proprio, "stamp_ns": state.stamp_ns}

    def _reply(self, number: int, act: Callable[[], dict[str, Any] | None]) -> None:
        try:
            answer = act() or {}
        except (UserError, WorldError) as error:
            _fail(self._connection, number, error)
            return
        with contextlib.suppress(BrokenPipeError):  # the next poll finds out
            self._connection.send_bytes(pack({"id": number, **answer}))
