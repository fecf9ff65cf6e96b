"""Keeps one connection to a policy server, in a thread of its own, and makes a new one whenever it is lost.

    connect -> hello -> messages ... lost -> wait 0.05 s, 0.1 s, ... 0.5 s -> connect -> hello -> ...

No call from a robot's thread waits for the network: what is sent is handed over, what comes is handed on. A server that
restarts is found within the longest wait and one attempt; a network that died without a word, by pings.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from rtx_client.errors import PolicyError, Unauthorized
from rtx_client.handshake import read_hello
from rtx_client.wire import WireError, unpack

log = logging.getLogger("rtx_client")

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 0.5  # between attempts; doubled each time, shortened at random by up to a half
TCP_S = 1.0  # for a server's machine to answer at all
PING_EVERY_S, PONG_WITHIN_S = 2.0, 4.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
# A robot's server is on its own network, whatever the shell's http_proxy says. Before version 15 websockets knew no proxies.
_NO_PROXY: dict[str, Any] = {"proxy": None} if "proxy" in inspect.signature(connect.__init__).parameters else {}


@dataclass(frozen=True)
class Address:
    """Where a policy server is; `parse` takes what people write."""

    url: str
    host: str
    port: int

    @staticmethod
    def parse(text: str) -> Address:
        """ "ws://host:port", "wss://..." (TLS), or "host:port". Raises ValueError."""
        url = text if "://" in text else f"ws://{text}"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"{text!r} is no address of a policy server: {error}; expected ws://HOST:PORT") from error
        if parts.scheme not in ("ws", "wss") or not host:
            raise ValueError(f"{text!r} is no address of a policy server; expected ws://HOST:PORT, or wss:// for TLS")
        return Address(url, host, port or (443 if parts.scheme == "wss" else 80))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Listener(Protocol):
    """Told what happens, in the link's thread. `connection` counts from 1."""

    def opened(self, hello: dict[str, Any], connection: int) -> None:
        """A new connection. May raise PolicyError where the policy does not fit: the link then tries again."""

    def received(self, message: Any, connection: int) -> bool:
        """True for a usable message. Raises PolicyError for one that ends the connection."""

    def closed(self, reason: str | None, connection: int) -> None:
        """It is gone, what was asked on it is not answered any more; `reason` is None where `Link.close` was called."""

    def failed(self, error: Exception) -> None:
        """An attempt to connect failed; another follows."""


class Link:
    """`start`, then `send` from any thread, then `close`."""

    def __init__(self, address: Address, listener: Listener, *, token: str | None, tls: ssl.SSLContext | None, open_s: float):
        """`open_s` bounds TLS, the handshake and the hello together."""
        self._address, self._listener, self._open_s = address, listener, open_s
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        tls = tls if tls or not address.url.startswith("wss:") else ssl.create_default_context()
        self._options: dict[str, Any] = {**({"ssl": tls} if tls else {}), **_NO_PROXY}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="rtx_client", daemon=True)
        self._number, self._outbox = 0, None  # type: int, asyncio.Queue[tuple[bytes, Callable[[], bool]]] | None
        self._socket: ClientConnection | None = None
        self._done = False

    def start(self) -> None:
        self._thread.start()

    def send(self, data: bytes, *, connection: int, wanted: Callable[[], bool]) -> None:
        """Hands a message over. It is not sent if the connection is another by then, or nobody wants it any more."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for this either
            self._loop.call_soon_threadsafe(self._post, data, connection, wanted)

    def close(self) -> None:
        """Ends the thread; from any thread but its own."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end)
        self._thread.join()

    def ping(self) -> float:
        """Seconds to the server and back. Raises ConnectionError, TimeoutError."""
        return asyncio.run_coroutine_threadsafe(self._ping(), self._loop).result(PONG_WITHIN_S + 1)

    @property
    def server_date(self) -> str | None:
        """The server's clock when the connection was made, if it told (HTTP's Date, to the second)."""
        response = self._socket.response if self._socket else None
        return response.headers.get("Date") if response else None

    # in the link's thread

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._run())
        if self._done:
            self._task.cancel()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._task)
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _end(self) -> None:
        self._done = True
        self._task.cancel()

    def _post(self, data: bytes, connection: int, wanted: Callable[[], bool]) -> None:
        if self._outbox is not None and connection == self._number:
            self._outbox.put_nowait((data, wanted))

    async def _ping(self) -> float:
        if self._socket is None:
            raise ConnectionError(f"no connection to {self._address}")
        start = self._loop.time()
        await asyncio.wait_for(await self._socket.ping(), PONG_WITHIN_S)
        return self._loop.time() - start

    async def _run(self) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            try:
                useful = await self._once()
            except (OSError, EOFError, InvalidHandshake, ConnectionClosed, PolicyError, asyncio.TimeoutError) as error:
                self._listener.failed(self._explained(error))
                useful = False
            except Exception as error:  # the edge of a thread: a defect of ours must not leave a robot waiting
                log.exception("the connection to %s failed", self._address)
                self._listener.failed(error)
                useful = False
            wait_s = FIRST_WAIT_S if useful else min(2 * wait_s, LONGEST_WAIT_S)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))

    async def _once(self) -> bool:
        """One connection from its beginning to its end. Returns whether any answer came; raises what kept it from beginning."""
        connection, hello = await self._open()
        reason: str | None = None
        self._number += 1
        self._socket, self._outbox = connection, asyncio.Queue()
        useful, opened = False, False
        sending = self._loop.create_task(self._send_all(connection, self._outbox))
        try:
            self._listener.opened(hello, self._number)
            opened = True
            while True:
                useful |= self._listener.received(_unpacked(await connection.recv()), self._number)
        except (ConnectionClosed, ConnectionError, PolicyError) as error:
            if not opened:
                raise
            reason = str(error)
        except asyncio.CancelledError:  # by `close`: the one time that a goodbye is due
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(connection.close(), 1.0)
            raise
        finally:
            self._socket = self._outbox = None
            sending.cancel()
            if opened:
                self._listener.closed(reason, self._number)
            connection.transport.abort()  # a goodbye to a dead network would only keep the next connection waiting
        return useful

    async def _open(self) -> tuple[ClientConnection, dict[str, Any]]:
        return await asyncio.wait_for(self._handshake(await self._tcp()), self._open_s)

    async def _tcp(self) -> socket.socket:
        """A connected socket, of the first of the host's addresses that answers."""
        host, port, error = self._address.host, self._address.port, OSError("no address")
        found = await asyncio.wait_for(self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM), self._open_s)
        for family, kind, protocol, _, where in found:
            opened = socket.socket(family, kind, protocol)
            opened.setblocking(False)
            try:
                await asyncio.wait_for(self._loop.sock_connect(opened, where), min(TCP_S, self._open_s))
            except (OSError, asyncio.TimeoutError) as failure:
                opened.close()
                error = failure if str(failure) else OSError("its machine does not answer")
            except BaseException:
                opened.close()
                raise
            else:
                return opened
        raise error

    async def _handshake(self, opened: socket.socket) -> tuple[ClientConnection, dict[str, Any]]:
        try:
            connection = await connect(
                self._address.url, sock=opened, additional_headers=self._headers, compression=None, max_size=MAX_ANSWER_BYTES,
                open_timeout=None, ping_interval=PING_EVERY_S, ping_timeout=PONG_WITHIN_S, close_timeout=1.0, max_queue=4,
                **self._options,
            )  # fmt: skip
        except BaseException:
            opened.close()
            raise
        try:
            return connection, read_hello(_unpacked(await connection.recv()))
        except BaseException:
            connection.transport.abort()
            raise

    async def _send_all(self, connection: ClientConnection, outbox: asyncio.Queue[Any]) -> None:
        with contextlib.suppress(ConnectionClosed):  # whoever reads is told, too
            while True:
                data, wanted = await outbox.get()
                if wanted():
                    await connection.send(data)

    def _explained(self, error: Exception) -> Exception:
        """The same for people: which server, what it did, what to look at."""
        if isinstance(error, PolicyError):
            return error
        if isinstance(error, InvalidStatus) and error.response.status_code in (401, 403):
            return Unauthorized(
                f"{self._address} refuses this token (HTTP {error.response.status_code}); see `rtx serve --help`"
            )
        if isinstance(error, InvalidStatus) and error.response.status_code == 503:
            return ConnectionError(f"{self._address} is not ready yet, or full (HTTP 503): try again in a while")
        if isinstance(error, ssl.SSLCertVerificationError):
            text = f"{self._address} has a certificate that this machine does not trust: {error.verify_message}; see `tls`"
            return ConnectionError(text)
        if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
            return TimeoutError(f"no answer from {self._address} within {self._open_s} s")
        if isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError) and not error.errno:
            return ConnectionError(f"{self._address} answers, but is no policy server for this client: {error}")
        if isinstance(error, (InvalidHandshake, ConnectionClosed, EOFError)):
            return ConnectionError(f"{self._address} answers, but is no policy server: {error}")
        return ConnectionError(f"cannot connect to {self._address}: {error}; is `rtx serve` running there?")


def _unpacked(data: str | bytes) -> Any:
    """Raises ConnectionError for what is no message: it then is no policy server."""
    try:
        return unpack(data) if isinstance(data, bytes) else None
    except WireError as error:
        raise ConnectionError(f"it sent something that is no message of a policy server: {error}") from error
