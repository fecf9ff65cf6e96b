"""What a server needs of a policy; `rtx.serve.policy.Policy` is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from rtx.spec import ActionChunk, Contract, Observation


@runtime_checkable
class Session(Protocol):
    """An episode under way; `rtx.serve.session.Session` is one."""

    def act(self, observation: Observation) -> ActionChunk: ...


@runtime_checkable
class Servable(Protocol):
    @property
    def contract(self) -> Contract: ...

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """Of all that decides its actions. May take seconds the first time."""

    def warm_up(self, batch_sizes: Sequence[int]) -> float: ...

    def check(self, observation: Observation, *, robot: str) -> None:
        """Raises UserError for an observation that `act_batch` would refuse. Called from another thread than `act_batch`."""

    def act_batch(self, observations: Sequence[Observation], robots: Sequence[str]) -> list[ActionChunk]: ...

    def session(self, robot: str) -> Session: ...
