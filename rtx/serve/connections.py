"""Robots on websockets: greeted, then each message read, queued and answered; one task for reading, one for each answer.

    socket --read--> message --queue--> future --task--> answer --> socket
                        |                                  at most `_MAX_UNDER_WAY` of a connection: then it is not read on
                        `--> refused at once, with a code

A client's first words say what it is: a map with a type is ours (`rtx.serve.messages`), one without an openpi client's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from typing import Any

from aiohttp import WSMsgType, web

from rtx.serve import messages
from rtx.serve.desk import Desk
from rtx.serve.names import foreign_request
from rtx.serve.openpi import is_openpi, openpi_answer
from rtx.serve.refusals import Mismatch, refusal_of
from rtx_client.wire import MAX_MESSAGE_BYTES, WireError, pack, unpack

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 256
_MAX_UNDER_WAY = 16
_HEARTBEAT_S = 20.0  # a robot that has lost its network is noticed after one and a half of it


class Connections:
    """All websockets of a server."""

    def __init__(self, desk: Desk, *, hello: bytes) -> None:
        self._desk, self._hello = desk, hello
        self._open: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if len(self._open) >= MAX_CONNECTIONS:
            raise web.HTTPServiceUnavailable(text=f"busy: {MAX_CONNECTIONS} robots are connected already\n")
        # + 1: aiohttp refuses from the number on
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES + 1, compress=False, heartbeat=_HEARTBEAT_S)
        await socket.prepare(request)
        self._count(socket, is_open=True)
        log.info("connected: peer=%s", request.remote)
        try:
            with contextlib.suppress(ConnectionError):
                await socket.send_bytes(self._hello)
                await _Robot(socket, self._desk).serve()
        finally:
            self._count(socket, is_open=False)
            log.info("disconnected: peer=%s code=%s", request.remote, socket.close_code)
        return socket

    async def close(self) -> None:
        """Says goodbye to everybody."""
        goodbyes = (socket.close(code=1001, message=b"the server stops") for socket in list(self._open))
        await asyncio.gather(*goodbyes, return_exceptions=True)

    def _count(self, socket: web.WebSocketResponse, *, is_open: bool) -> None:
        (self._open.add if is_open else self._open.discard)(socket)
        self._desk.metrics.connections.set(len(self._open))


class _Robot:
    """One connection; it is its own line."""

    def __init__(self, socket: web.WebSocketResponse, desk: Desk) -> None:
        self._socket, self._desk = socket, desk
        self._mismatch: Mismatch | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        try:
            async for message in self._socket:
                if message.type == WSMsgType.BINARY:
                    self._take(message.data)
                elif message.type == WSMsgType.TEXT:
                    self._refuse(WireError("a text frame; messages are msgpack in binary frames"), None, openpi=False)
                while len(self._under_way) >= _MAX_UNDER_WAY:
                    await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in self._under_way:
                task.cancel()
            self._desk.leave(self)

    def _take(self, data: bytes) -> None:
        arrived, id, openpi = time.monotonic(), None, False
        try:
            message = unpack(data)
            id, openpi = messages.request_id(message), is_openpi(message)
            if messages.kind_of(message) == "hello":
                self._start(self._send(pack(self._greet(message))))
                self._counted("websocket", "ok")
                return
            if self._mismatch is not None:
                raise self._mismatch
            policy = self._desk.policy
            request = foreign_request(message, self._desk.names, policy.contract) if openpi else messages.request(message)
            answer = self._desk.ask(request, self)
        except Exception as error:  # the edge of a request: it is answered with a code, defects of ours are logged whole
            self._refuse(error, id, openpi=openpi)
            return
        self._start(self._answer(request, answer, arrived=arrived, openpi=openpi))

    def _greet(self, message: dict[str, Any]) -> dict[str, Any]:
        """Raises Mismatch, which then stands until the robot says something that fits."""
        said, contract = messages.greeting(message), self._desk.policy.contract
        self._mismatch = None
        movable = [name for name in contract.embodiments if contract.action_mask(name).any()]
        if said.robot not in movable:
            self._mismatch = Mismatch(f"robot {said.robot!r} is none of this policy's: {', '.join(movable)}")
        elif different := messages.differences(said, contract):
            self._mismatch = Mismatch("; ".join(different))
        if self._mismatch is not None:
            raise self._mismatch
        return messages.welcome(said.robot, id=said.id)

    async def _answer(self, request: messages.Request, answer: asyncio.Future[Any], *, arrived: float, openpi: bool) -> None:
        try:
            chunk = await answer
            self._desk.record(request, chunk, self)
            taken = time.monotonic() - arrived
            if openpi:
                data = pack(openpi_answer(chunk, infer_ms=1e3 * taken))
            else:
                data = pack(messages.answer(chunk, id=request.id, timing_ms={"total": 1e3 * taken}))
        except Exception as error:  # as above
            await self._send(self._refusal(error, request.id, openpi=openpi))
            return
        door = _door(openpi)
        self._counted(door, "ok")
        self._desk.metrics.seconds.labels(door).observe(taken)
        await self._send(data)

    def _refuse(self, error: Exception, id: int | str | None, *, openpi: bool) -> None:
        self._start(self._send(self._refusal(error, id, openpi=openpi)))

    def _refusal(self, error: Exception, id: int | str | None, *, openpi: bool) -> bytes | str:
        code, text = refusal_of(error, id=id)
        self._counted(_door(openpi), code)
        return f"{code}: {text}" if openpi else pack(messages.error(code, text, id=id))

    async def _send(self, data: bytes | str) -> None:
        with contextlib.suppress(ConnectionError):  # hung up: nobody wants it
            await (self._socket.send_str(data) if isinstance(data, str) else self._socket.send_bytes(data))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _counted(self, door: str, code: str) -> None:
        self._desk.metrics.requests.labels(door, code).inc()


def _door(openpi: bool) -> str:
    return "openpi" if openpi else "websocket"
