"""Serves one policy to any number of robots, on one port: websockets and HTTP in, one compiled call for all who wait.

    /          websocket: `rtx_client`, and openpi's clients as they are     rtx.serve.connections
    /act       POST: OpenVLA's clients as they are                            rtx.serve.openvla
    /healthz   ok while the process lives      /readyz   200 when the policy is compiled, before that 503
    /metrics   for Prometheus                                                 rtx.serve.metrics

The port opens at once and answers 503 until the policy is compiled, so that no robot ever waits for a compiler. Bound to
loopback by default; for other hosts a token or TLS is demanded (`rtx.serve.auth`). Web pages are never answered: requests with
an Origin header are refused, or any page could talk to a server on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from rtx.errors import UserError, WorldError
from rtx.serve import messages
from rtx.serve.act import act_handler
from rtx.serve.auth import check_exposure, is_allowed, is_local
from rtx.serve.batching import Batcher, Limits
from rtx.serve.connections import Connections
from rtx.serve.desk import Desk
from rtx.serve.metrics import CONTENT_TYPE, Metrics
from rtx.serve.names import Names
from rtx.serve.openvla import MAX_BODY_BYTES
from rtx.serve.recorder import Recorder
from rtx.serve.servable import Servable
from rtx_client.wire import pack

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OPEN_TO_ALL = ("/healthz", "/readyz")  # for what watches processes; they tell nothing
_FAREWELL_S = 2.0  # for requests under way when the server stops


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server that is ready. `stop` may be called from any thread; `serve` then returns."""

    host: str
    port: int
    stop: Callable[[], None]
    tls: bool = False
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def url(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Options:
    """`batch_wait_s`: how long a question may wait for those of other robots, to be answered with them. `limits`: of what
    waits. `names`: what foreign clients' keys mean. `token`: what clients must know. `record`: a folder to record into.
    """

    batch_wait_s: float = 0.002
    limits: Limits = field(default_factory=Limits)
    names: Names = field(default_factory=Names)
    token: str | None = None
    tls: ssl.SSLContext | None = None
    record: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.batch_wait_s <= 1:
            raise UserError(f"a question can wait 0 to 1000 ms for others, got {1e3 * self.batch_wait_s:g}")


def serve(
    policy: Servable,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    max_batch: int = 8,
    options: Options | None = None,
    opened: Callable[[Running], None] | None = None,
    ready: Callable[[Running], None] | None = None,
) -> None:
    """Opens the port, calls `opened`, compiles, calls `ready`, and serves until SIGINT, SIGTERM or `Running.stop`.

    `port=0` takes a free one. `max_batch` observations are answered by one call; every size up to it is compiled first.
    Raises UserError for a host that is none or that strangers reach without a token or TLS, WorldError where the port is taken
    or forbidden.
    """
    options = options or Options()
    check_exposure(host, token=options.token, tls=options.tls)
    server = _Server(policy, options, host=host, port=port, max_batch=max_batch)
    asyncio.run(server.run(opened=opened, ready=ready))


class _Server:
    def __init__(self, policy: Servable, options: Options, *, host: str, port: int, max_batch: int) -> None:
        self._policy, self._options, self._host, self._port, self._max_batch = policy, options, host, port, max_batch
        self._metrics = Metrics()
        self._batcher = Batcher(
            policy, max_batch=max_batch, wait_s=options.batch_wait_s, metrics=self._metrics, limits=options.limits
        )
        self._recorder: Recorder | None = None
        self._connections: Connections | None = None
        self._act: Handler | None = None
        self._stopped = asyncio.Event()

    async def run(self, *, opened: Callable[[Running], None] | None, ready: Callable[[Running], None] | None) -> None:
        runner = web.AppRunner(self._application(), access_log=None, handle_signals=False, shutdown_timeout=_FAREWELL_S)
        await runner.setup()
        thinking: asyncio.Task[None] | None = None
        try:
            running = await self._listen(runner)
            _stop_on_signals(asyncio.get_running_loop(), self._stopped)
            if opened is not None:
                opened(running)
            await self._until_stopped(asyncio.create_task(self._prepare()))
            thinking = asyncio.create_task(self._batcher.run())
            if ready is not None and not self._stopped.is_set():
                ready(running)
            await self._until_stopped(thinking)
        finally:
            self._metrics.ready.set(0)
            if self._connections is not None:
                await self._connections.close()
            await runner.cleanup()
            await _end(thinking)
            if self._recorder is not None:
                await asyncio.to_thread(self._recorder.close)

    async def _until_stopped(self, work: asyncio.Task[None]) -> None:
        """Until `work` is done or somebody says stop; raises what ended it."""
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait({stopped, work}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if work.done():
            work.result()

    async def _prepare(self) -> None:
        policy, options = self._policy, self._options
        told: list[tuple[float, str]] = []

        def compile_all() -> None:
            seconds = policy.warm_up(range(1, self._max_batch + 1))
            told.append((seconds, policy.fingerprint))

        await self._batcher.in_thread(compile_all)
        ((seconds, fingerprint),) = told
        if options.record is not None:
            self._recorder = Recorder(
                options.record, policy.contract, policy=policy.name, checkpoint=fingerprint, metrics=self._metrics
            )
        desk = Desk(policy, self._batcher, self._metrics, names=options.names, recorder=self._recorder)
        self._act = act_handler(desk)
        hello = messages.hello(policy.contract, policy=policy.name, fingerprint=fingerprint, continuation=policy.continuation)
        self._connections = Connections(desk, hello=pack(hello))
        self._metrics.ready.set(1)
        robots = ",".join(policy.contract.embodiments)
        log.info("policy=%s checkpoint=%s robots=%s warm_up_s=%.1f", policy.name, fingerprint, robots, seconds)

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._admit])
        application.router.add_get("/", self._robot)
        application.router.add_post("/act", self._openvla)
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/readyz", self._readiness)
        application.router.add_get("/metrics", self._count)
        return application

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if "Origin" in request.headers:
            raise web.HTTPForbidden(text="web pages are not answered\n")
        if request.path not in _OPEN_TO_ALL and not is_allowed(request.headers.get("Authorization"), self._options.token):
            self._metrics.requests.labels("http", "unauthorized").inc()
            raise web.HTTPUnauthorized(
                text="unauthorized: send the server's token, Authorization: Bearer TOKEN\n",
                headers={"WWW-Authenticate": "Bearer"},
            )
        try:
            return await handler(request)
        except (web.HTTPException, asyncio.CancelledError):
            raise
        except Exception:  # the edge of a request: logged whole here, a number there
            log.exception("request failed: path=%s", request.path)
            raise web.HTTPInternalServerError(text="internal: the server's log has the rest\n") from None

    async def _robot(self, request: web.Request) -> web.StreamResponse:
        if self._connections is None:
            raise _not_ready()
        if request.headers.get("Upgrade", "").lower() != "websocket":
            text = "this is a websocket; docs/protocol.md tells what to say\n"
            raise web.HTTPUpgradeRequired(text=text, headers={"Upgrade": "websocket"})
        return await self._connections.handle(request)

    async def _openvla(self, request: web.Request) -> web.StreamResponse:
        if self._act is None:
            raise _not_ready()
        return await self._act(request)

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readiness(self, _: web.Request) -> web.Response:
        if self._connections is None or self._stopped.is_set():
            raise _not_ready()
        return web.Response(text="ready\n")

    async def _count(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _listen(self, runner: web.AppRunner) -> Running:
        host, port, tls = self._host, self._port, self._options.tls
        try:
            await web.TCPSite(runner, host, port, ssl_context=tls).start()
        except socket.gaierror as error:
            raise UserError(
                f"cannot serve on host {host!r}: {error.strerror}; use 127.0.0.1 or an address of this machine"
            ) from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise WorldError(f"port {port} of {host} is taken by another program; choose another with --port") from error
            raise WorldError(f"cannot serve on {host}:{port}: {error.strerror or error}") from error
        if not is_local(host) and self._options.token is None:
            log.warning("host=%s no token: whoever reaches this port can use the policy", host)
        if not is_local(host) and tls is None:
            log.warning("host=%s no TLS: the token and the pictures can be read on the way", host)
        stop = functools.partial(_set_from_outside, asyncio.get_running_loop(), self._stopped)
        return Running(host=host, port=int(runner.addresses[0][1]), stop=stop, tls=tls is not None, metrics=self._metrics)


def _not_ready() -> web.HTTPServiceUnavailable:
    return web.HTTPServiceUnavailable(text="not ready: the policy is being compiled\n", headers={"Retry-After": "1"})


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task  # raises what ended it, if that was not us


def _set_from_outside(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped already
        loop.call_soon_threadsafe(event.set)


def _stop_on_signals(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no signals
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
