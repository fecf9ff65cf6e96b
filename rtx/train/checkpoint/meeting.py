"""The processes of a run agree: each says a text, all hear all of them. Through jax's coordination service, never a device.

A device collective in a thread beside the training would have to come in the same order on every host as those of the step;
a text through the coordination service has no order with them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from orbax.checkpoint import multihost

from rtx.errors import WorldError

T = TypeVar("T")

_TIMEOUT_MS = 6 * 3600 * 1000  # of slow storage; a process that is gone is noticed by its heartbeat, in minutes
_numbers = itertools.count()


class Meeting:
    """A series of agreements between all processes; each must make the same calls in the same order, from one thread at a
    time. With one process, or `alone`, everything is immediate."""

    def __init__(self, *, alone: bool = False) -> None:
        self.index: int = 0 if alone else jax.process_index()
        self.size: int = 1 if alone else jax.process_count()
        # The same everywhere, because all make the same meetings in the same order.
        self._name = "alone" if alone else f"rtx/meeting/{next(_numbers)}"
        self._calls = itertools.count()

    def say(self, text: str) -> list[str]:
        """Everybody's text, in the order of the processes, once all have said theirs. Raises WorldError if one is gone."""
        if self.size == 1:
            return [text]
        client, number = multihost.get_jax_distributed_client(), next(self._calls)
        place = f"{self._name}/{number}"
        try:
            client.key_value_set(f"{place}/{self.index}", text)
            client.wait_at_barrier(place, _TIMEOUT_MS)
            said = dict(client.key_value_dir_get(f"{place}/"))
            if number:  # all have read the last one, or they would not be here
                client.key_value_delete(f"{self._name}/{number - 1}/{self.index}")
        except jax.errors.JaxRuntimeError as error:
            raise WorldError(f"another process of this run does not answer: {error}") from error
        return [said[f"{place}/{i}"] for i in range(self.size)]

    def all_do(self, work: Callable[[], T]) -> T:
        """`work` in every process, its result here. If it fails in one it raises in all: its own error where it did,
        WorldError elsewhere."""
        try:
            result, own = work(), None
        except Exception as error:
            own = error
        problems = self.say("" if own is None else str(own) or type(own).__name__)
        if own is not None:
            raise own
        for i, problem in enumerate(problems):
            if problem:
                raise WorldError(f"process {i} of {self.size}: {problem}")
        return result

    def all_tell(self, work: Callable[[], Any]) -> list[Any]:
        """What `work` (JSON data) says in each process, to all of them; errors as `all_do`."""
        told = self.say(json.dumps(self.all_do(work)))
        return [json.loads(text) for text in told]

    def lead(self, work: Callable[[], Any]) -> None:
        """`work` in process 0 alone, the others wait for it; errors as `all_do`."""
        self.all_do(lambda: work() if self.index == 0 else None)
