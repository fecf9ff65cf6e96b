"""Asks a policy server for actions: one question at a time, answers matched by number, never a hang, never a stale answer.

    connect -> hello (robots, cameras, proprio, action names) -> act -> Actions | PolicyError(code)

Times are this machine's monotonic clock throughout: the server only adds how long actions stay valid to the stamp it is given,
so the two clocks need not agree.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from rtx_client.wire import MAX_MESSAGE_BYTES, WireError, pack, unpack

PROTOCOL = "rtx-policy-1"


class PolicyError(RuntimeError):
    """The server answered with an error. `code` says what to do about it:

    bad_message      the request was not built as the protocol says: a defect, or an older client
    bad_observation  it does not fit the policy's contract; the message says what was expected
    overloaded       more robots or episodes than the server keeps up with: hold, ask again
    policy_failed    the policy gave no usable answer: hold
    internal         a defect in the server, which logged it: hold
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


@dataclass(frozen=True, kw_only=True)
class Actions:
    """`actions` float32 `[k, a]`: canonical, physical units, one per control period, dimension i is `names[i]`.

    The first belongs at `stamp_ns` (monotonic clock of this machine); none may be executed after `valid_until_ns`.
    """

    actions: np.ndarray
    names: tuple[str, ...]
    control_hz: float
    stamp_ns: int
    valid_until_ns: int


class PolicyClient:
    """A connection to one policy server. `hello` is what it promises. Several threads may share it; they take turns."""

    def __init__(self, host: str = "127.0.0.1", port: int = 8000, *, timeout_s: float = 10.0) -> None:
        """Connects. `timeout_s` bounds connecting and each answer.

        Raises ConnectionError where there is no policy server, TimeoutError where it says nothing.
        """
        self._address, self._timeout_s = f"[{host}]:{port}" if ":" in host else f"{host}:{port}", timeout_s
        self._lock, self._next_id = threading.Lock(), 0
        self._open = contextlib.ExitStack()
        try:
            # proxy=None: a robot's server is on its own network, whatever the shell's http_proxy says
            connection = connect(
                f"ws://{self._address}", open_timeout=timeout_s, max_size=MAX_MESSAGE_BYTES, compression=None, proxy=None
            )
            self._socket = self._open.enter_context(connection)
        except (InvalidHandshake, ConnectionClosed, EOFError) as error:
            raise ConnectionError(f"{self._address} answers, but is no policy server: {error}") from error
        except TimeoutError as error:
            raise TimeoutError(f"no answer from {self._address} within {timeout_s} s") from error
        except OSError as error:
            raise ConnectionError(f"cannot connect to {self._address}: {error}; is `rtx serve` running there?") from error
        self.hello = self._greeting()

    @property
    def robots(self) -> tuple[str, ...]:
        """What `act` takes as `robot`."""
        return tuple(self.hello["robots"])

    def act(
        self,
        *,
        images: Mapping[str, np.ndarray],
        proprio: np.ndarray,
        instruction: str,
        robot: str,
        image_mask: Mapping[str, np.ndarray] | None = None,
        stamp_ns: int | None = None,
        episode: int | str | None = None,
    ) -> Actions:
        """The next actions of `robot`.

        `images[role]`: uint8 RGB `[h, w, 3]`, or the last t frames `[t, h, w, 3]`, oldest first, any size. `proprio`: `[p]` or
        `[t, p]` as `hello["robots"][robot]["proprio"]` lists it. `image_mask[role]`: bool `[t]`, False for a lost frame; all
        True if left out. `stamp_ns`: `time.monotonic_ns()` of the newest frame; now if left out.

        `episode`: any number or text that names it. The server then keeps its frames, so send the newest one only; another
        name begins a new episode, and so does a new client. Worth it where `hello["history"]` is more than 1.

        Raises PolicyError where the server refuses, TimeoutError, ConnectionError where the connection is gone (make a new
        client), WireError for values that cannot be sent.
        """
        request = {
            "type": "act", "robot": robot, "instruction": instruction, "images": dict(images), "proprio": proprio,
            "stamp_ns": time.monotonic_ns() if stamp_ns is None else stamp_ns,
        }  # fmt: skip
        if image_mask is not None:
            request["image_mask"] = dict(image_mask)
        if episode is not None:
            request["episode"] = episode
        answer = self._ask(request)
        return Actions(
            actions=np.array(answer["actions"]),  # a copy: what comes off the wire is read-only
            names=tuple(answer["names"]),
            control_hz=answer["control_hz"],
            stamp_ns=answer["stamp_ns"],
            valid_until_ns=answer["valid_until_ns"],
        )

    def close(self) -> None:
        self._open.close()

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _greeting(self) -> dict[str, Any]:
        try:
            hello = self._receive(time.monotonic() + self._timeout_s)
            if hello.get("type") != "hello" or hello.get("protocol") != PROTOCOL:
                raise ConnectionError(f"{self._address} speaks {hello.get('protocol')!r}, this client {PROTOCOL!r}")
        except BaseException:
            self._open.close()
            raise
        return hello

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._next_id += 1
            data = pack({**request, "id": self._next_id})
            if len(data) > self.hello["max_message_bytes"]:
                raise WireError(
                    f"the request has {len(data)} bytes, the server takes {self.hello['max_message_bytes']}; send fewer or "
                    f"smaller pictures (the policy sees {self.hello['image_size']} pixels)"
                )
            deadline = time.monotonic() + self._timeout_s
            self._send(data)
            while True:
                answer = self._receive(deadline)
                # An answer to a question that timed out is old news; one without a number is about this question.
                if answer.get("id") in (self._next_id, None):
                    break
        if answer.get("type") == "error":
            raise PolicyError(str(answer.get("code")), str(answer.get("message")))
        if answer.get("type") != "actions":
            raise ConnectionError(f"{self._address} answered with {answer.get('type')!r}; expected actions")
        return answer

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except ConnectionClosed as error:
            raise ConnectionError(f"the connection to {self._address} is gone: {error}") from error

    def _receive(self, deadline: float) -> dict[str, Any]:
        try:
            data = self._socket.recv(timeout=max(deadline - time.monotonic(), 0.0))
        except TimeoutError as error:
            raise TimeoutError(f"no answer from {self._address} within {self._timeout_s} s; hold") from error
        except ConnectionClosed as error:
            raise ConnectionError(f"the connection to {self._address} is gone: {error}") from error
        try:
            message = unpack(data) if isinstance(data, bytes) else None
        except WireError as error:
            raise ConnectionError(f"{self._address} sent something that is no message of a policy server: {error}") from error
        if not isinstance(message, dict):
            raise ConnectionError(f"{self._address} sent something that is no message of a policy server")
        return message
