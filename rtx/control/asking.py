"""Questions to a policy server from a robot's state, and its answers as chunks; trouble is a hold and a count."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from rtx.control.judge import Converts
from rtx.drivers.driver import RobotState
from rtx.embodiment import CANONICAL, Layout, field_slices
from rtx.errors import UserError, WorldError
from rtx.robots.rates import resample, resample_chunk
from rtx.spec import ActionChunk, Statistics
from rtx.typed_json import from_json
from rtx_client.client import Client
from rtx_client.errors import Hold, PolicyError

_POLL_S = 0.002


@runtime_checkable
class Asker(Protocol):
    """A policy that answers later. `waiting`: a question is under way. `counts`: why there was no answer, by code."""

    @property
    def waiting(self) -> bool: ...

    @property
    def counts(self) -> Mapping[str, int]: ...

    def ask(self, state: RobotState, committed: Float[np.ndarray, "m a"], planned: Float[np.ndarray, "n a"]) -> None:
        """`committed` will be executed whatever the answer is; `planned` was to follow it (`Executor`)."""

    def poll(self, wait_s: float = 0.0) -> ActionChunk | None:
        """The newest answer, None if there is none within `wait_s`. Raises WorldError where a person has to mend something."""

    def forget(self) -> None:
        """The robot was stopped: what was asked before does not count, and a new episode begins."""


class ServerAsker:
    """Asks through `rtx_client`. `robot` is a robot of the server's hello, `adapter` the robot's own."""

    def __init__(
        self, client: Client, adapter: Converts, *, robot: str, roles: Sequence[str], instruction: str, timeout_s: float,
        layout: Layout = CANONICAL, hz: float | None = None, clock_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`timeout_s`: after so long an answer is of no use; the length of a chunk is right.

        `hz`: the robot's rate, if it is not the policy's: chunks are resampled along their path (`rtx.robots.rates`).
        """
        self._layout, self._hz = layout, hz
        self._policy_hz = float(client.hello["robots"][robot]["control_hz"])
        self._chunk = int(client.hello["chunk"])
        self._is_drawn = client.hello.get("continuation") == "guided"
        self._client, self._adapter, self._robot, self._roles = client, adapter, robot, tuple(roles)
        self._instruction, self._timeout_s, self._clock_s = instruction, timeout_s, clock_s
        self._counts: Counter[str] = Counter()
        self.forget()

    @property
    def counts(self) -> Mapping[str, int]:
        return dict(self._counts)

    @property
    def waiting(self) -> bool:
        return self._until_s is not None and self._clock_s() < self._until_s

    def forget(self) -> None:
        self._episode = secrets.token_hex(8)
        self._until_s: float | None = None
        self._not_before_ns = time.monotonic_ns() if self._clock_s is time.monotonic else 0

    def ask(self, state: RobotState, committed: np.ndarray, planned: np.ndarray) -> None:
        if missing := [role for role in self._roles if role not in state.images]:
            raise WorldError(
                f"the policy looks at {', '.join(missing)}, the robot shows {', '.join(state.images) or 'nothing'}"
            )
        proprio = np.asarray(self._adapter.proprio(state.proprio), np.float32)
        self._start = _targets(proprio, self._layout)
        extra = self._promise(committed, planned)
        try:
            self._client.ask(
                images={role: state.images[role] for role in self._roles},
                proprio=proprio, instruction=self._instruction, robot=self._robot, stamp_ns=state.stamp_ns,
                episode=self._episode, timeout_s=self._timeout_s, **extra,
            )  # fmt: skip
            self._until_s = self._clock_s() + self._timeout_s
        except PolicyError as error:
            self._trouble(error)

    def poll(self, wait_s: float = 0.0) -> ActionChunk | None:
        until = self._clock_s() + wait_s
        while True:
            if (chunk := self._poll_once()) is not None or self._clock_s() >= until or not self.waiting:
                return chunk
            time.sleep(_POLL_S)

    def _poll_once(self) -> ActionChunk | None:
        try:
            actions = self._client.poll()
        except PolicyError as error:
            self._trouble(error)
            return None
        if actions is None:
            return None
        self._until_s = None
        if actions.stamp_ns < self._not_before_ns:
            self._counts["before_stop"] += 1
            return None
        chunk = ActionChunk(
            actions=np.asarray(actions.actions, np.float32), names=tuple(actions.names), control_hz=actions.control_hz,
            stamp_ns=actions.stamp_ns, valid_until_ns=actions.valid_until_ns,
        )  # fmt: skip
        if self._hz is None or self._hz == chunk.control_hz:
            return chunk
        return resample_chunk(chunk, self._layout.action, self._hz, start=self._start)

    def _promise(self, committed: np.ndarray, planned: np.ndarray) -> dict[str, Any]:
        """In whole actions of the policy's, at most a chunk of them; what is planned only where the policy makes use of it."""
        old, held = np.concatenate([committed, planned]), len(committed)
        if self._hz is not None and self._hz != self._policy_hz and len(old):
            held, whole = (int(n * self._policy_hz / self._hz + 1e-9) for n in (held, len(old)))
            old = resample(old, self._layout.action, from_hz=self._hz, to_hz=self._policy_hz, start=self._start)[:whole]
        old = old[: self._chunk].astype(np.float32)
        said = {"committed": old[:held]} | ({"planned": old[held:]} if self._is_drawn else {})
        return {name: rows for name, rows in said.items() if len(rows)}

    def _trouble(self, error: PolicyError) -> None:
        self._until_s = None
        self._counts[error.code] += 1
        if not isinstance(error, Hold):
            raise WorldError(f"the policy server refuses: {error}") from error


def _targets(proprio: np.ndarray, layout: Layout) -> np.ndarray:
    """Where the action's absolute joint targets are now, `[a]`; 0 for all else."""
    start, at, measured = np.zeros(layout.action.width), layout.action.slices, field_slices(layout.proprio)
    for field in layout.action.fields:
        if field.kind == "joint_pos" and field.name in measured:
            start[at[field.name]] = proprio[measured[field.name]]
    return start


def promised(hello: Mapping[str, Any], robot: str) -> tuple[Layout, Statistics]:
    """What a server's hello says of a robot's data. Raises UserError for a robot it does not know or an older server."""
    if robot not in hello["robots"]:
        raise UserError(
            f"the policy knows no robot {robot!r}, but {', '.join(hello['robots']) or 'none'}; name one with --policy-robot"
        )
    said = hello["robots"][robot]
    if "statistics" not in said or "layout" not in said:
        raise UserError("the server does not say what its policy was trained on, which limits come from; run `rtx serve` anew")
    return from_json(Layout, said["layout"], "hello.layout"), from_json(Statistics, said["statistics"], "hello.statistics")
