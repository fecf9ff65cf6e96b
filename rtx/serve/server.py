"""Serves one policy to any number of robots: websockets in, one compiled call at a time for all who wait, websockets out.

    robot 1 --+                                                      +--> robot 1
    robot 2 --+--> unpack, check --> queue --> act_batch, a thread --+--> robot 2
    robot 3 --+    (refuse alone)   (bounded)                        +--> robot 3

A robot that names its episode (`rtx.serve.messages`) sends one new frame a step: the server keeps the frames, one episode a
connection, and asks the policy's session in the same thread. Without a name the server keeps nothing.

The port opens when the policy is compiled, so an open port means ready; `GET /healthz` on it says ok. Bound to loopback by
default. There is no authentication yet: whoever can reach the port can ask for actions. Web pages cannot: requests with
an Origin header are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import ipaddress
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, runtime_checkable

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from rtx.errors import UserError, WorldError
from rtx.serve import messages
from rtx.spec import ActionChunk, Contract, Observation
from rtx_client.wire import MAX_MESSAGE_BYTES, WireError, pack, unpack

log = logging.getLogger(__name__)

_MAX_WAITING = 64  # observations in the queue; one more is told `overloaded`, since its answer would come too late
_MAX_EPISODES = 64  # connections with an episode under way: 6 MB each for RT-1-X, on host and device


@runtime_checkable
class Session(Protocol):
    """An episode under way; `rtx.serve.session.Session` is one."""

    def act(self, observation: Observation) -> ActionChunk: ...


@runtime_checkable
class Servable(Protocol):
    """What a server needs of a policy; `rtx.serve.policy.Policy` is one."""

    @property
    def contract(self) -> Contract: ...

    @property
    def name(self) -> str: ...

    def warm_up(self, batch_sizes: Sequence[int]) -> float: ...

    def check(self, observation: Observation, *, robot: str) -> None:
        """Raises UserError for an observation that `act_batch` would refuse. Called from another thread than `act_batch`."""

    def act_batch(self, observations: Sequence[Observation], robots: Sequence[str]) -> list[ActionChunk]: ...

    def session(self, robot: str) -> Session: ...


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server that is ready. `stop` may be called from any thread; `serve` then returns."""

    host: str
    port: int
    stop: Callable[[], None]

    @property
    def url(self) -> str:
        return f"ws://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def serve(
    policy: Servable,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    max_batch: int = 8,
    ready: Callable[[Running], None] | None = None,
) -> None:
    """Compiles, opens the port, calls `ready`, and serves until SIGINT, SIGTERM or `Running.stop`.

    `port=0` takes a free one. `max_batch` observations are answered by one call; every size up to it is compiled first.
    Raises UserError for a host that is none, WorldError where the port is taken or forbidden.
    """
    seconds = policy.warm_up(range(1, max_batch + 1))
    log.info("policy=%s robots=%s warm_up_s=%.1f", policy.name, ",".join(policy.contract.embodiments), seconds)
    asyncio.run(_serve(policy, host=host, port=port, max_batch=max_batch, ready=ready))


async def _serve(policy: Servable, *, host: str, port: int, max_batch: int, ready: Callable[[Running], None] | None) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    batcher = _Batcher(policy, max_batch=max_batch)
    connections = _Connections(policy, batcher)
    thinking = asyncio.create_task(batcher.run())
    try:
        async with contextlib.AsyncExitStack() as stack:
            server = await _listen(stack, connections, host, port)
            _stop_on_signals(loop, stopped)
            if not _is_loopback(server):
                log.warning("host=%s there is no authentication: whoever reaches this port can use the policy", host)
            if ready is not None:
                ready(Running(host=host, port=_port(server), stop=functools.partial(_set_from_outside, loop, stopped)))
            await asyncio.wait({asyncio.create_task(stopped.wait()), thinking}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        thinking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await thinking  # raises what ended it, if that was not us


async def _listen(stack: contextlib.AsyncExitStack, connections: _Connections, host: str, port: int) -> Server:
    try:
        # origins=[None]: browsers send one, robots do not; any web page could otherwise talk to a server on loopback.
        serving = listen(
            connections.handle,
            host,
            port,
            process_request=_health,
            origins=[None],
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
        )
        return await stack.enter_async_context(serving)
    except socket.gaierror as error:
        raise UserError(
            f"cannot serve on host {host!r}: {error.strerror}; use 127.0.0.1 or an address of this machine"
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise WorldError(f"port {port} of {host} is taken by another program; choose another with --port") from error
        raise WorldError(f"cannot serve on {host}:{port}: {error.strerror or error}") from error


def _port(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


def _is_loopback(server: Server) -> bool:
    return all(ipaddress.ip_address(each.getsockname()[0]).is_loopback for each in server.sockets)


def _set_from_outside(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped already
        loop.call_soon_threadsafe(event.set)


def _stop_on_signals(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no signals
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)


def _health(connection: ServerConnection, request: HttpRequest) -> Response | None:
    return connection.respond(HTTPStatus.OK, "ok\n") if request.path == "/healthz" else None


@dataclass(frozen=True, kw_only=True)
class _Question:
    observation: Observation
    robot: str
    session: Session | None
    answer: asyncio.Future[ActionChunk]


class _Batcher:
    """Takes whatever waits, at most `max_batch` of it, asks the policy once, tells everybody; sessions one after the other."""

    def __init__(self, policy: Servable, *, max_batch: int) -> None:
        self._policy, self._max_batch = policy, max_batch
        self._queue: asyncio.Queue[_Question] = asyncio.Queue(_MAX_WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="policy")

    async def ask(self, observation: Observation, robot: str, session: Session | None) -> ActionChunk:
        """Raises asyncio.QueueFull at once if too many wait, else what the policy raises."""
        answer: asyncio.Future[ActionChunk] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Question(observation=observation, robot=robot, session=session, answer=answer))
        return await answer

    async def run(self) -> None:
        try:
            while True:
                questions = [await self._queue.get()]
                while len(questions) < self._max_batch and not self._queue.empty():
                    questions.append(self._queue.get_nowait())
                waiting = [question for question in questions if not question.answer.done()]
                await self._answer([question for question in waiting if question.session is None])
                for question in waiting:
                    if question.session is not None:  # never together: what fails together is asked again, one by one
                        await self._answer([question])
        finally:
            self._thread.shutdown(wait=False)

    async def _answer(self, questions: list[_Question]) -> None:
        if not questions:  # everybody who asked has hung up
            return
        try:
            chunks = await asyncio.get_running_loop().run_in_executor(self._thread, self._act, questions)
        except Exception as error:  # the edge between the policy and its clients: each is told, by its own request
            if len(questions) > 1:
                for question in questions:  # one robot's trouble is not the others'
                    await self._answer([question])
            elif not questions[0].answer.done():
                questions[0].answer.set_exception(error)
            return
        for question, chunk in zip(questions, chunks, strict=True):
            if not question.answer.done():
                question.answer.set_result(chunk)

    def _act(self, questions: list[_Question]) -> list[ActionChunk]:
        if (session := questions[0].session) is not None:
            return [session.act(questions[0].observation)]
        return self._policy.act_batch([q.observation for q in questions], [q.robot for q in questions])


class _Connections:
    """One per server: greets, answers each connection's requests in order, and turns errors into codes."""

    def __init__(self, policy: Servable, batcher: _Batcher) -> None:
        self._policy, self._batcher = policy, batcher
        self._episodes: dict[ServerConnection, tuple[tuple[str, int | str], Session]] = {}
        self._hello = pack(messages.hello(policy.contract, policy=policy.name))

    async def handle(self, connection: ServerConnection) -> None:
        log.info("connected: peer=%s", connection.remote_address)
        try:
            with contextlib.suppress(ConnectionClosed):
                await connection.send(self._hello)
                async for data in connection:
                    await connection.send(await self._reply(data, connection))
        finally:
            self._episodes.pop(connection, None)
        log.info("disconnected: peer=%s code=%s", connection.remote_address, connection.close_code)

    async def _reply(self, data: str | bytes, connection: ServerConnection) -> bytes:
        start, id = time.monotonic(), None
        try:
            message = unpack(data) if isinstance(data, bytes) else None
            id = messages.request_id(message)
            request = messages.request(message)
            self._policy.check(request.observation, robot=request.robot)
            session = None if request.episode is None else self._session(connection, request.robot, request.episode)
            chunk = await self._batcher.ask(request.observation, request.robot, session)
            return pack(messages.answer(chunk, id=id, timing_ms={"total": 1e3 * (time.monotonic() - start)}))
        except Exception as error:  # the edge of a request: it is answered with a code, defects of ours are logged whole
            return pack(_error(error, id))

    def _session(self, connection: ServerConnection, robot: str, episode: int | str) -> Session:
        """That of the connection, anew where another episode or robot begins. Raises _TooManyEpisodes."""
        known = self._episodes.get(connection)
        if known is None and len(self._episodes) >= _MAX_EPISODES:
            raise _TooManyEpisodes
        if known is None or known[0] != (robot, episode):
            known = self._episodes[connection] = ((robot, episode), self._policy.session(robot))
        return known[1]


class _TooManyEpisodes(Exception):
    """Of as many connections the frames are kept already."""


def _error(error: Exception, id: int | str | None) -> dict[str, Any]:
    if isinstance(error, WireError):
        return messages.error("bad_message", str(error), id=id)
    if isinstance(error, UserError):
        return messages.error("bad_observation", str(error), id=id)
    if isinstance(error, asyncio.QueueFull):
        return messages.error("overloaded", f"{_MAX_WAITING} observations are waiting already; hold and ask again", id=id)
    if isinstance(error, _TooManyEpisodes):
        text = f"{_MAX_EPISODES} episodes are under way already; send the whole history without an episode, or ask again later"
        return messages.error("overloaded", text, id=id)
    if isinstance(error, WorldError):
        log.error("request failed: id=%s error=%s", id, error)
        return messages.error("policy_failed", str(error), id=id)
    log.error("request failed: id=%s", id, exc_info=error)
    return messages.error("internal", f"{type(error).__name__} in the server; its log has the rest", id=id)
