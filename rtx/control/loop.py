"""Drives a robot by a policy, one control period after the other.

    state = robot.read() --> ask the server, if the executor wants an answer and none is under way
                         --> offer what was answered --> take this period's action --> guard

Nothing in it is safety: it may hang, be killed or send nonsense, and the guard (`rtx.control.guard`) holds the robot.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rtx.control.asking import Asker
from rtx.control.execution import Action, Executor
from rtx.control.guard import Status
from rtx.control.host import GuardedRobot
from rtx.control.judge import Command, Converts
from rtx.control.recording import Recording
from rtx.control.smoothness import Smoothness, Trace
from rtx.drivers.driver import RobotState
from rtx.spec import to_json

_PATIENCE = 0.5  # of a period: how long an arm with nothing to do waits for an answer that may be on its way


@runtime_checkable
class Clock(Protocol):
    """The robot's monotonic clock."""

    def now_ns(self) -> int: ...

    def sleep_until(self, moment_ns: int) -> None: ...


class MonotonicClock:
    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, moment_ns: int) -> None:
        time.sleep(max(0.0, (moment_ns - time.monotonic_ns()) * 1e-9))


@dataclass(frozen=True, kw_only=True)
class DriveReport:
    """`ended`: why the drive did. `stops`: why the guard stopped the robot, each time. Both counts are by reason."""

    periods: int
    executed: int
    ended: str
    stops: tuple[str, ...]
    unanswered: Mapping[str, int]
    unused: Mapping[str, int]
    refusals: Mapping[str, int]
    smoothness: Smoothness


class DriveLog:
    """One JSON line a period: what was measured, what was sent. With no folder it keeps nothing.

    `recording` gets the pictures, with state and action as the policy has them.
    """

    def __init__(self, folder: Path | None, *, recording: Recording | None = None) -> None:
        self._recording = recording
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._file = None if folder is None else open(folder / "drive.jsonl", "a", encoding="utf-8")  # noqa: SIM115

    def add(
        self, state: RobotState, proprio: np.ndarray, action: Action | None, status: Status, now_ns: int
    ) -> None:  # fmt: skip
        """`proprio`: the state as the policy has it."""
        if self._recording is not None and action is not None:
            self._recording.add(state.images, proprio, action.values, now_ns)
        if self._recording is not None and status.mode == "stopped":
            self._recording.cut(status.reason)
        if self._file is None:
            return
        line: dict[str, Any] = {
            "now_ns": now_ns,
            "state_ns": state.stamp_ns,
            "proprio": state.proprio.tolist(),
            "mode": status.mode,
        }
        if action is not None:
            line["action"], line["stamp_ns"] = action.values.tolist(), action.stamp_ns
        self._file.write(json.dumps(to_json(line)) + "\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._recording is not None:
            self._recording.close()


def drive(
    robot: GuardedRobot,
    asker: Asker,
    executor: Executor,
    adapter: Converts,
    *,
    hz: float,
    seconds: float | None = None,
    clock: Clock | None = None,
    on_stopped: Callable[[Status], bool] | None = None,
    obey_terminate: bool = False,
    log: DriveLog | None = None,
) -> DriveReport:
    """Arms the robot and drives it for `seconds` (None: until it is stopped for good), or until Ctrl-C, then stops it softly.

    `on_stopped` is told when the guard has stopped the robot and says whether to arm it again; without one a stop is the end.
    `obey_terminate`: an action that says "terminate" ends the drive too. Raises WorldError where guard, driver or server fail
    in a way that holding still does not mend; the robot is stopped first.
    """
    clock, log = clock or MonotonicClock(), log or DriveLog(None)
    trace, stops, number, executed = Trace(hz), list[str](), 0, 0
    period_ns, periods = round(1e9 / hz), 0
    robot.arm()
    # Arming holds: a command at once would wait half a period in the guard, and all after it; the next hold is a period later.
    clock.sleep_until(clock.now_ns() + round(0.75 * period_ns))
    next_ns = start_ns = clock.now_ns()
    status, ended = robot.status(), "its time was over"
    try:
        while seconds is None or clock.now_ns() - start_ns < seconds * 1e9:
            state = robot.read()
            action = _action(asker, executor, state, clock, patience_s=_PATIENCE / hz)
            now_ns = clock.now_ns()
            if action is not None:
                number, executed = number + 1, executed + 1
                robot.submit(
                    Command(number=number, values=action.values, stamp_ns=action.stamp_ns, valid_until_ns=action.valid_until_ns)
                )
            status = robot.status()
            periods += 1
            proprio = np.asarray(adapter.proprio(state.proprio), np.float64)
            trace.add(
                proprio[:3],
                age_ns=None if action is None else now_ns - action.stamp_ns,
                stamp_ns=0 if action is None else action.stamp_ns,
            )
            log.add(state, proprio, action, status, now_ns)
            if status.mode == "stopped":
                stops.append(status.reason)
                if on_stopped is None or not on_stopped(status):
                    ended = "the robot was stopped"
                    break
                executor.reset()
                asker.forget()
                robot.arm()
                next_ns = clock.now_ns()
            if obey_terminate and action is not None and _terminates(executor, action):
                ended = "the policy said that the task is done"
                break
            next_ns = max(next_ns + period_ns, clock.now_ns() - period_ns)  # a late period does not make the next ones hurry
            clock.sleep_until(next_ns)
    except KeyboardInterrupt:
        ended = "a person interrupted it"
    finally:
        robot.stop("the drive is over")
        log.close()
    return DriveReport(
        periods=periods, executed=executed, ended=ended, stops=tuple(stops), unanswered=asker.counts, unused=executor.counts,
        refusals=status.refusals, smoothness=trace.measured(),
    )  # fmt: skip


def _action(asker: Asker, executor: Executor, state: RobotState, clock: Clock, *, patience_s: float) -> Action | None:
    _offer(asker, executor, clock, 0.0)
    if executor.wants(clock.now_ns()) and not asker.waiting:
        now_ns = clock.now_ns()
        asker.ask(state, executor.committed(now_ns), executor.planned(now_ns))
        _offer(asker, executor, clock, 0.0)
    if (action := executor.take(clock.now_ns())) is not None:
        return action
    _offer(asker, executor, clock, patience_s)
    return executor.take(clock.now_ns())


def _offer(asker: Asker, executor: Executor, clock: Clock, wait_s: float) -> None:
    if (chunk := asker.poll(wait_s)) is not None:
        executor.offer(chunk, clock.now_ns())


def _terminates(executor: Executor, action: Action) -> bool:
    places = executor.space.slices
    return "terminate" in places and float(action.values[places["terminate"]][0]) > 0.5


def report_text(report: DriveReport) -> str:
    """For a person."""
    s = report.smoothness
    lines = [
        f"ended: {report.ended}",
        f"{report.periods} control periods, {report.executed} actions sent, {s.held:.0%} held",
        f"jerk {s.jerk_rms_m_s3:.2f} m/s^3 rms",
        f"actions {1e3 * s.staleness_p50_s:.0f} ms old (p99 {1e3 * s.staleness_p99_s:.0f} ms)",
    ]
    for what, counts in (("unanswered", report.unanswered), ("unused answers", report.unused), ("guard", report.refusals)):
        if counts:
            lines.append(f"{what}: " + ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items())))
    return "\n".join([*lines, *(f"stopped: {reason}" for reason in report.stops)])


def write_report(report: DriveReport, folder: Path) -> None:
    (folder / "report.json").write_text(json.dumps(to_json(dataclasses.asdict(report)), indent=1) + "\n")
