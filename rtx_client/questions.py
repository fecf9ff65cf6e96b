"""Questions under way and their answers: each answer goes to the question with its number, or nowhere.

ask -> Question(id) --sent--> ... --answer with this id, in time, of this connection--> Actions | error
                                  '-- any other answer: counted, dropped
"""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtx_client.errors import Hold, PolicyError, from_server


@dataclass(frozen=True)
class Actions:
    """`actions` float32 `[k, a]`: canonical, physical units, one per control period, dimension i is `names[i]`.

    The first belongs at `stamp_ns` (monotonic clock of this machine); none may be executed after `valid_until_ns`.
    `id` is that of the question. `timing_ms` is what the server says of its own time, by stage.
    """

    actions: np.ndarray
    names: tuple[str, ...]
    control_hz: float
    stamp_ns: int
    valid_until_ns: int
    id: int
    timing_ms: Mapping[str, float]


@dataclass(frozen=True)
class Question:
    """`connection`: the number of the one it is asked on; an answer on another is none of its own. `deadline_s`: monotonic."""

    id: int
    connection: int
    robot: str
    stamp_ns: int
    deadline_s: float
    answer: Future[Actions]


class Questions:
    """All that await an answer. Called from the robot's threads and from the link's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # A random start: no number of another client, or of this robot's last run, is ever one of ours.
        self._next_id = int.from_bytes(os.urandom(6), "big")
        self._open: dict[int, Question] = {}
        self.counts: collections.Counter[str] = collections.Counter()

    def new(self, *, connection: int, robot: str, stamp_ns: int, deadline_s: float) -> Question:
        with self._lock:
            self._next_id += 1
            question = Question(self._next_id, connection, robot, stamp_ns, deadline_s, Future())
            self._open[question.id] = question
            self.counts["asked"] += 1
        return question

    def __len__(self) -> int:
        return len(self._open)

    def is_open(self, question: Question) -> bool:
        return question.id in self._open

    def give_up(self, question: Question, error: PolicyError) -> None:
        """Nobody waits for it any more: an answer that still comes is late."""
        with self._lock:
            given_up = self._open.pop(question.id, None) is not None
            self.counts[error.code] += given_up
        if given_up:
            question.answer.set_exception(error)

    def give_up_overdue(self, now_s: float, error: PolicyError) -> None:
        """All whose time is over, also those that nobody has looked after."""
        with self._lock:
            overdue = [question for question in self._open.values() if question.deadline_s < now_s]
        for question in overdue:
            self.give_up(question, error)

    def give_up_connection(self, connection: int, error: PolicyError) -> None:
        """All questions on a connection that has ended."""
        for question in self._of(connection):
            self.give_up(question, error)

    def _of(self, connection: int) -> list[Question]:
        with self._lock:
            return [question for question in self._open.values() if question.connection == connection]

    def receive(self, message: Any, *, connection: int) -> None:
        """Gives an answer to its question. Raises Hold (`bad_answer`) for a message that is no answer at all."""
        if not isinstance(message, dict) or message.get("type") not in ("actions", "error"):
            raise Hold("bad_answer", "the server sent something that is no message of a policy server")
        if message["type"] == "error" and message.get("id") is None:
            # The server could not read a number: it is about something we sent, so nothing we sent is sure of an answer.
            return self.give_up_connection(connection, from_server(str(message.get("code")), str(message.get("message"))))
        question = self._take(message.get("id"), connection)
        if question is None:
            return None
        try:
            if message["type"] == "error":
                raise from_server(str(message.get("code")), str(message.get("message")))
            actions = _read_actions(message, question)
        except PolicyError as error:
            self.counts[error.code] += 1
            question.answer.set_exception(error)
        else:
            self.counts["answered"] += 1
            question.answer.set_result(actions)
        return None

    def _take(self, id: Any, connection: int) -> Question | None:
        with self._lock:
            question = self._open.get(id) if type(id) is int else None
            if question is None or question.connection != connection:
                self.counts["dropped"] += 1  # of another robot, or of a question given up
                return None
            return self._open.pop(question.id)


def _read_actions(message: Mapping[str, Any], question: Question) -> Actions:
    """Raises Hold where anything about the answer is not as it must be: it may move an arm."""
    actions, names, hz = message.get("actions"), message.get("names"), message.get("control_hz")
    stamp, until = message.get("stamp_ns"), message.get("valid_until_ns")
    problem = None
    if not isinstance(actions, np.ndarray) or actions.dtype != np.float32 or actions.ndim != 2 or not len(actions):
        problem = "actions are no float32 [k, a]"
    elif not isinstance(names, list) or len(names) != actions.shape[1] or not all(isinstance(n, str) for n in names):
        problem = f"{actions.shape[1]} values an action, but other names"
    elif not np.isfinite(actions).all():
        problem = "actions are not finite"
    elif stamp != question.stamp_ns:
        problem = f"it answers the observation of {stamp!r}, asked was that of {question.stamp_ns}"
    elif type(until) is not int or not isinstance(hz, (int, float)) or not hz > 0:
        problem = "it lacks valid_until_ns or control_hz"
    if problem is not None:
        raise Hold("bad_answer", f"answer {question.id} is not usable: {problem}")
    timing = message.get("timing_ms")
    return Actions(
        actions=np.array(actions),  # a copy: what comes off the wire is read-only
        names=tuple(message["names"]),
        control_hz=float(message["control_hz"]),
        stamp_ns=question.stamp_ns,
        valid_until_ns=message["valid_until_ns"],
        id=question.id,
        timing_ms=dict(timing) if isinstance(timing, dict) else {},
    )
