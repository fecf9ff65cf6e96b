"""What a server needs of a policy; `rtx.serve.policy.Policy` is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rtx.spec import ActionChunk, Contract, Observation

if TYPE_CHECKING:
    from rtx.models.protocol import Continuation


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

    @property
    def continuation(self) -> Continuation:
        """What an answer makes of what a robot will do meanwhile."""

    def act_batch(
        self, observations: Sequence[Observation], robots: Sequence[str], sessions: Sequence[Any] = ()
    ) -> list[ActionChunk]:
        """`sessions`: made by `session`, the episodes that observations go on, all different; None: no episode; () for none.

        Where it raises, no episode has gone on.
        """

    def session(self, robot: str) -> Session: ...
