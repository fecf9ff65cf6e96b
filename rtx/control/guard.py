"""The last instance before the driver: every command is judged, silence becomes a hold, long silence a soft stop.

    stopped --arm()--> holding --fresh command--> running
       ^                  ^                          |
       |                  `-- no fresh action in 2 periods
       `-- silence for longer, stop(), e-stop, a driver's error, a clock that goes backward; only arm() leads out of it

Has no policy and no clock: who runs it (`rtx.control.host`, or a test) says what time it is and calls `tick` when something
came or `next_ns` is due. Commands are executed at most once, at most one for each control period.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rtx.control.guard_log import GuardLog
from rtx.control.judge import Command, Converts, Judge, Judgement
from rtx.drivers.driver import Driver, RobotState
from rtx.embodiment import CANONICAL, Layout, Limits
from rtx.errors import UserError, WorldError
from rtx.robots.safety import SOONEST

LIMITS_OFF = "I know the arm may hit something"
"""What must be written, to the letter, to turn limits off."""

Mode = Literal["stopped", "holding", "running"]
_IGNORED = frozenset({"not_armed", "before_arming", "repeated", "overtaken", "superseded"})  # not worth interrupting a motion
_MOST_WAITING = 64
_STATE_SHARE = 0.25  # of a period: a state no older than this, with no motion since, is measured enough


@dataclass(frozen=True, kw_only=True)
class GuardSettings:
    """`hold_after_periods` without a fresh action: hold. `stop_after_s` without one: soft stop, until armed again.

    `max_age_s`: actions that answer an older observation are refused whatever they say. `limits_off`: `LIMITS_OFF` or "".
    """

    hold_after_periods: float = 2.0
    stop_after_s: float = 3.0
    max_age_s: float = 5.0
    limits_off: str = ""

    def __post_init__(self) -> None:
        positive = ("hold_after_periods", "stop_after_s", "max_age_s")
        if problems := [f"{name} {getattr(self, name)} must be positive" for name in positive if not getattr(self, name) > 0]:
            raise UserError("guard: " + "; ".join(problems))
        if self.limits_off not in ("", LIMITS_OFF):
            raise UserError(f"limits stay on: to turn them off, write exactly {LIMITS_OFF!r}")


@dataclass(frozen=True, kw_only=True)
class Status:
    """`reason`: why the robot is stopped or holding, in a sentence; `refusals`: commands held or changed, by reason."""

    mode: Mode
    reason: str
    executed: int
    refusals: Mapping[str, int]
    log_lost: int


class Guard:
    """Around one driver, which nobody else may command. One thread calls."""

    def __init__(
        self, driver: Driver, adapter: Converts, limits: Limits, *, layout: Layout = CANONICAL,
        settings: GuardSettings | None = None, log: GuardLog | None = None,
    ) -> None:  # fmt: skip
        """`limits`: those that apply (`rtx.robots.limits.limits_of`). Raises UserError for limits or fields it cannot check."""
        self._driver, self._settings, self._log = driver, settings or GuardSettings(), log or GuardLog()
        embodiment = driver.embodiment
        self._judge = Judge(
            embodiment, limits, adapter, layout=layout, max_age_s=self._settings.max_age_s,
            limited=not self._settings.limits_off,
        )  # fmt: skip
        self._period_ns = round(1e9 / embodiment.control_hz)
        self._soonest_ns = int(SOONEST * self._period_ns) + 2  # not a rounding error less than the filter asks for
        self._mode: Mode = "stopped"
        self._reason = "not armed yet"
        self._waiting: list[Command] = []
        self._state: RobotState | None = None
        self._now_ns = self._acted_ns = -(1 << 62)
        self._fresh_ns: int | None = None  # when the last command was executed; None: none since it was armed
        self._executed, self._refusals = 0, Counter[str]()
        facts = {"embodiment": embodiment, "limits": limits, "layout": layout, "settings": self._settings}
        self._log.write("guard", **facts)
        if self._settings.limits_off:
            self._log.write("limits_off", text=self._settings.limits_off)

    @property
    def status(self) -> Status:
        counts = dict(self._refusals)
        return Status(
            mode=self._mode, reason=self._reason, executed=self._executed, refusals=counts, log_lost=self._log.lost
        )  # fmt: skip

    @property
    def next_ns(self) -> int:
        """When `tick` is due at the latest, if nothing comes before."""
        if self._mode == "stopped":
            return self._now_ns + self._period_ns
        if self._waiting:
            return max(self._acted_ns + self._soonest_ns, self._now_ns)
        if self._mode == "running" and self._fresh_ns is not None:
            return self._fresh_ns + round(self._settings.hold_after_periods * self._period_ns) + 1
        return self._acted_ns + self._period_ns

    def connect(self) -> RobotState:
        """Connects the driver and reads it once. The robot stays stopped. Raises what the driver raises."""
        self._driver.connect()
        return self.read()

    def read(self) -> RobotState:
        """The robot's state now. Raises WorldError where the driver cannot tell; the robot is then stopped."""
        try:
            self._state = self._driver.read()
        except WorldError as error:
            self.stop(f"the driver cannot read the robot: {error}", now_ns=self._now_ns)
            raise
        return self._state

    def arm(self, now_ns: int) -> None:
        """From now on commands may pass, if they answer what is seen from now on. Until the first one the robot holds.

        Raises WorldError where the driver refuses, UserError where the robot's state cannot be read by the adapter.
        """
        self._driver.connect()
        state = self.read()
        self._judge.arm(state.proprio, now_ns)
        self._judge.stand_still(now_ns)  # it is told to hold below: the first step counts from here
        self._waiting.clear()
        self._now_ns = self._acted_ns = now_ns
        self._fresh_ns = None
        self._became("holding", "armed; no command yet", "armed", now_ns)
        self._driver.hold()

    def submit(self, command: Command) -> None:
        """Takes a command; `tick` judges and executes it."""
        self._waiting.append(command)
        if len(self._waiting) > _MOST_WAITING:
            del self._waiting[0]
            self._refusals["flood"] += 1

    def tick(self, now_ns: int) -> None:
        """Judges what waits, commands or holds the driver, and watches the silence. Never raises for what a policy sent."""
        if now_ns < self._now_ns:
            # Ages and speeds are differences of this clock's times: once it went backward none of them means anything.
            if self._mode != "stopped":
                self.stop(f"the clock went backward by {(self._now_ns - now_ns) * 1e-9:.3f} s", now_ns=now_ns)
            self._waiting.clear()
        self._now_ns = now_ns
        if self._waiting and (self._mode == "stopped" or now_ns - self._acted_ns >= self._soonest_ns):
            self._take_waiting(now_ns)
        if self._mode != "stopped":
            self._watch(now_ns)

    def stop(self, reason: str, *, now_ns: int, what: str = "stop") -> None:
        """Soft stop, until armed again. `what` "e_stop" where a person or another process asked for it."""
        # The mode first: should the driver hang in its soft stop, nothing passes any more.
        self._judge.disarm()
        self._became("stopped", reason, what, now_ns)
        with contextlib.suppress(WorldError):  # its fault is known or will be: there is nothing more to do from here
            self._driver.soft_stop()

    def close(self) -> None:
        """Stops and lets go of the robot."""
        self.stop("closed", now_ns=self._now_ns, what="closed")
        with contextlib.suppress(WorldError):
            self._driver.close()
        self._log.close()

    def _take_waiting(self, now_ns: int) -> None:
        waiting, self._waiting = self._waiting, []
        newest = max(command.number for command in waiting)
        for command in waiting:
            if (state := self._state_now(now_ns)) is None:
                return
            self._decide(command, state, newest=newest, now_ns=now_ns)

    def _state_now(self, now_ns: int) -> RobotState | None:
        state = self._state
        if state is not None and (self._mode == "stopped" or self._is_recent(state, now_ns)):
            return state
        with contextlib.suppress(WorldError):  # the guard has stopped
            return self.read()
        return None

    def _is_recent(self, state: RobotState, now_ns: int) -> bool:
        return state.stamp_ns > self._acted_ns and now_ns - state.stamp_ns <= _STATE_SHARE * self._period_ns

    def _decide(self, command: Command, state: RobotState, *, newest: int, now_ns: int) -> None:
        memory = self._judge.memory
        judgement = self._judge.judge(command, newest=newest, proprio=state.proprio, state_ns=state.stamp_ns, now_ns=now_ns)
        if judgement.reasons:
            self._refusals.update(judgement.reasons)
            self._log.refusal(
                command, judgement, newest=newest, proprio=state.proprio, state_ns=state.stamp_ns, now_ns=now_ns, memory=memory
            )  # fmt: skip
        if judgement.native is not None:
            self._command(judgement, now_ns)
        elif judgement.reasons[0] not in _IGNORED:
            self._hold(now_ns)

    def _command(self, judgement: Judgement, now_ns: int) -> None:
        try:
            self._driver.command(np.array(judgement.native, np.float64))
        except (UserError, WorldError) as error:
            self.stop(f"the driver refused a command: {error}", now_ns=now_ns)
            return
        self._executed += 1
        self._acted_ns = self._fresh_ns = now_ns
        if self._mode != "running":
            self._became("running", "", "running", now_ns)

    def _watch(self, now_ns: int) -> None:
        silence = 0 if self._fresh_ns is None else now_ns - self._fresh_ns
        if self._mode == "running" and silence > self._settings.hold_after_periods * self._period_ns:
            self._became("holding", f"no fresh action for {silence * 1e-9:.3f} s", "hold", now_ns)
            self._hold(now_ns)
        if self._mode != "holding":
            return
        if silence > self._settings.stop_after_s * 1e9:
            self.stop(f"no fresh action for {silence * 1e-9:.3f} s", now_ns=now_ns)
        elif now_ns - self._acted_ns >= self._period_ns:
            self._hold(now_ns)

    def _hold(self, now_ns: int) -> None:
        self._acted_ns = now_ns
        self._judge.stand_still(now_ns)
        try:
            self._driver.hold()
        except WorldError as error:
            self.stop(f"the driver cannot hold: {error}", now_ns=now_ns)

    def _became(self, mode: Mode, reason: str, what: str, now_ns: int) -> None:
        self._mode, self._reason = mode, reason
        self._log.write(what, mode=mode, now_ns=now_ns, text=reason)
