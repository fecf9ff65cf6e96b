"""Asks a policy server for actions: every answer matched to its question, never a hang, never a stale answer.

    Client(url) -> hello checked -> act -> Actions | Hold(code): hold still | PolicyError(code): a person is needed
                                    ask, later poll -> Actions | None | the same errors

Times are this machine's monotonic clock throughout: the server only adds how long actions stay valid to the stamp it is given,
so the two clocks need not agree. A connection that is lost is made anew by itself; what was asked on it is never answered.
"""

from __future__ import annotations

import collections
import concurrent.futures
import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from rtx_client import handshake
from rtx_client.errors import Hold, PolicyError
from rtx_client.link import Address, Link
from rtx_client.questions import Actions, Question, Questions
from rtx_client.wire import WireError, pack

log = logging.getLogger("rtx_client")

MAX_OPEN = 8  # questions under way; a robot that has more is faster than its server, and the next answers would be old
_OPEN_S = 5.0  # for TLS, the handshake and the hello


class Client:
    """A robot's connection to one policy server. Several threads may share it.

    `hello` is what the server promises. `counts` says how often what happened: "asked", "answered", "dropped" (answers to no
    question under way: late, foreign), "connected", and each error's code.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        robot: str | None = None,
        expects: Mapping[str, Any] | None = None,
        timeout_s: float = 1.0,
        patience_s: float = 0.0,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Connects to `url`: "ws://HOST:PORT", "wss://..." (TLS) or "HOST:PORT".

        `token`: what `rtx serve` was told. `tls`: for a certificate of your own, `ssl.create_default_context(cafile=...)`.
        `robot`: whom `act` and `ask` are for, if nobody else is named. `expects`: what this robot is, checked here and after
        each reconnect (`rtx_client.handshake.check` lists the keys). `timeout_s`: of each answer; about a chunk's length is
        right. `patience_s`: how long to try for the first connection, for robots that start before their server.
        `clock`: of the stamps, ns; a simulation passes its own.

        Raises ConnectionError where there is no policy server, TimeoutError where it says nothing, Unauthorized, Mismatch, and
        ValueError for a `url` that is none.
        """
        self._address, self._timeout_s, self._clock = Address.parse(url), timeout_s, clock
        self._robot, self._expects = robot, dict(expects or {})
        self._questions = Questions()
        self._asked: collections.deque[Question] = collections.deque(maxlen=2 * MAX_OPEN)  # for `poll`
        self._state, self._connection = threading.Condition(), 0  # 0: there is none
        self._error: Exception | None = None  # why there is none
        self.hello: dict[str, Any] = {}
        self._link = Link(self._address, _Ears(self), token=token, tls=tls, open_s=_OPEN_S)
        self._link.start()
        try:
            self._first_connection(patience_s)
        except BaseException:
            self.close()
            raise

    @property
    def robots(self) -> tuple[str, ...]:
        """What `act` takes as `robot`."""
        return tuple(self.hello["robots"])

    @property
    def counts(self) -> collections.Counter[str]:
        return self._questions.counts

    @property
    def connected(self) -> bool:
        return self._connection > 0

    def act(
        self,
        *,
        images: Mapping[str, np.ndarray],
        proprio: np.ndarray,
        instruction: str,
        robot: str | None = None,
        image_mask: Mapping[str, np.ndarray] | None = None,
        stamp_ns: int | None = None,
        episode: int | str | None = None,
        timeout_s: float | None = None,
        committed: np.ndarray | None = None,
        planned: np.ndarray | None = None,
    ) -> Actions:
        """The next actions of `robot`; waits for them, at most `timeout_s`.

        `images[role]`: uint8 RGB `[h, w, 3]`, or the last t frames `[t, h, w, 3]`, oldest first, any size. `proprio`: `[p]` or
        `[t, p]` as `hello["robots"][robot]["proprio"]` lists it. `image_mask[role]`: bool `[t]`, False for a lost frame; all
        True if left out. `stamp_ns`: `time.monotonic_ns()` of the newest frame; now if left out. `committed`: float32
        `[m, a]`, the actions from `stamp_ns` on that will be executed anyway (real-time chunking); `planned`: float32 `[n, a]`,
        those that were to follow them, of use where `hello["continuation"]` is "guided".

        `episode`: any number or text that names it. The server then keeps its frames, so send the newest one only; another
        name begins a new episode, and so does a new connection. Worth it where `hello["history"]` is more than 1.

        Raises Hold where there is no action just now (hold still, ask again), PolicyError where a person is needed,
        WireError for values that cannot be sent.
        """
        return self._wait(
            self._send(images, proprio, instruction, robot, image_mask, stamp_ns, episode, timeout_s, committed, planned)
        )

    def ask(
        self,
        *,
        images: Mapping[str, np.ndarray],
        proprio: np.ndarray,
        instruction: str,
        robot: str | None = None,
        image_mask: Mapping[str, np.ndarray] | None = None,
        stamp_ns: int | None = None,
        episode: int | str | None = None,
        timeout_s: float | None = None,
        committed: np.ndarray | None = None,
        planned: np.ndarray | None = None,
    ) -> int:
        """As `act`, but returns at once: the number of the question, which `poll`'s answer has as `id`.

        Raises as `act`, where that is known already.
        """
        question = self._send(images, proprio, instruction, robot, image_mask, stamp_ns, episode, timeout_s, committed, planned)
        self._asked.append(question)
        return question.id

    def poll(self) -> Actions | None:
        """The newest answer to an `ask` that was not returned yet, None while there is none. Never waits.

        An answer makes earlier questions void. Raises as `act`, once for each question. For one thread.
        """
        self._questions.give_up_overdue(time.monotonic(), self._late())
        for question in reversed(self._asked):
            if question.answer.done():
                while (older := self._asked.popleft()) is not question:
                    self._questions.give_up(older, Hold("late", "a later question was answered first"))
                return self._fresh(question.answer.result())
        return None

    def ping(self) -> float:
        """Seconds to the server and back. Raises ConnectionError, TimeoutError."""
        return self._link.ping()

    @property
    def server_date(self) -> str | None:
        """The server's wall clock when the connection was made (HTTP's Date, to the second), None if it did not tell."""
        return self._link.server_date

    def close(self) -> None:
        self._link.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _first_connection(self, patience_s: float) -> None:
        """Raises what kept it from coming about."""
        until_s = time.monotonic() + patience_s
        with self._state:
            while not self.connected:
                if isinstance(self._error, PolicyError) or (self._error and time.monotonic() >= until_s):
                    raise self._error
                self._state.wait(None if self._error is None else max(until_s - time.monotonic(), 0.0))

    def _send(
        self,
        images: Mapping[str, np.ndarray],
        proprio: np.ndarray,
        instruction: str,
        robot: str | None,
        image_mask: Mapping[str, np.ndarray] | None,
        stamp_ns: int | None,
        episode: int | str | None,
        timeout_s: float | None,
        committed: np.ndarray | None,
        planned: np.ndarray | None,
    ) -> Question:
        self._questions.give_up_overdue(time.monotonic(), self._late())
        connection, most = self._ready()
        name = robot or self._robot
        if name is None:
            raise ValueError(f"which robot is it? pass robot=, here or to Client; the policy knows {', '.join(self.robots)}")
        within_s = self._timeout_s if timeout_s is None else timeout_s
        question = self._questions.new(
            connection=connection,
            robot=name,
            stamp_ns=self._clock() if stamp_ns is None else int(stamp_ns),
            deadline_s=time.monotonic() + within_s,
        )
        request = {
            "type": "act", "id": question.id, "robot": name, "instruction": instruction, "images": dict(images),
            "proprio": proprio, "stamp_ns": question.stamp_ns, "deadline_ns": question.stamp_ns + round(1e9 * within_s),
        }  # fmt: skip
        optional = {
            "image_mask": None if image_mask is None else dict(image_mask), "episode": episode, "committed": committed,
            "planned": planned,
        }  # fmt: skip
        request.update({key: value for key, value in optional.items() if value is not None})
        try:
            data = self._packed(request, most)
        except BaseException:
            self._questions.give_up(question, Hold("disconnected", "it was never sent"))
            raise
        self._link.send(data, connection=connection, wanted=lambda: self._questions.is_open(question))
        if self._connection != connection:  # it was lost meanwhile, perhaps before anybody knew of this question
            self._questions.give_up(question, self._disconnected())
        return question

    def _packed(self, request: dict[str, Any], most: int) -> bytes:
        data = pack(request)
        if len(data) > most:
            raise WireError(
                f"the request has {len(data)} bytes, the server takes {most}; send fewer or smaller pictures "
                f"(the policy sees {self.hello.get('image_size')} pixels)"
            )
        return data

    def _ready(self) -> tuple[int, int]:
        """The connection's number and the longest message it takes. Raises Hold, or why there will be none."""
        with self._state:
            connection, error, most = self._connection, self._error, int(self.hello["max_message_bytes"])
        if not connection:
            raise error if isinstance(error, PolicyError) else self._disconnected()
        if len(self._questions) >= MAX_OPEN:
            raise Hold("busy", f"{MAX_OPEN} questions are under way already; ask again when one is answered")
        return connection, most

    def _wait(self, question: Question) -> Actions:
        try:
            return self._fresh(question.answer.result(max(question.deadline_s - time.monotonic(), 0.0)))
        except concurrent.futures.TimeoutError:
            self._questions.give_up(question, self._late())
            return self._fresh(question.answer.result(1.0))  # the error just set, or an answer that came at the same moment
        finally:
            self._questions.give_up(question, self._late())  # nothing but an interrupt leaves it open

    def _fresh(self, actions: Actions) -> Actions:
        if (over_ns := self._clock() - actions.valid_until_ns) > 0:
            self.counts["late"] += 1
            raise Hold("late", f"the answer's actions expired {over_ns / 1e6:.0f} ms ago")
        return actions

    def _late(self) -> Hold:
        return Hold("late", f"{self._address} has not answered in time; hold")

    def _disconnected(self) -> Hold:
        return Hold("disconnected", f"no connection to {self._address} ({self._error or 'lost just now'}); hold")


class _Ears:
    """What the link tells the client, in the link's thread."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def opened(self, hello: dict[str, Any], connection: int) -> None:
        client = self._client
        handshake.check(hello, client._robot, client._expects)
        if client.hello:
            handshake.check_again(client.hello, hello, client._robot)
        with client._state:
            client.hello, client._connection, client._error = hello, connection, None
            client.counts["connected"] += 1
            client._state.notify_all()
        log.info("connected: server=%s policy=%s", client._address, hello.get("policy"))

    def received(self, message: Any, connection: int) -> bool:
        self._client._questions.receive(message, connection=connection)
        return True

    def closed(self, reason: str | None, connection: int) -> None:
        client, text = self._client, reason or "this client is closed"
        with client._state:
            client._connection, client._error = 0, ConnectionError(text)
        client._questions.give_up_connection(connection, Hold("disconnected", f"{client._address} is gone: {text}; hold"))
        log.log(logging.WARNING if reason else logging.INFO, "disconnected: server=%s reason=%s", client._address, text)

    def failed(self, error: Exception) -> None:
        with self._client._state:
            self._client._error = error
            self._client._state.notify_all()
