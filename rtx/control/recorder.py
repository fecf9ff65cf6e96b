"""Records demonstrations from a driver while somebody, or something, moves the arm.

    operator.begin --> every control period: driver.read --> mover.move, if there is one --> operator.is_over?
                         `--> states, pictures (JPEG), commands; or the motion between states --> operator.keep --> episode file

A mover is what moves the arm through rtx (the scripted expert of the simulation): its commands are what is recorded. Without
one, something else moves the arm, and the actions are computed from consecutive states (`rtx.robots.between`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from rtx.control.episode_file import Take, import_h5py, next_number, write_episode
from rtx.control.loop import Clock, MonotonicClock
from rtx.drivers.driver import Driver, RobotState
from rtx.embodiment import Embodiment
from rtx.errors import UserError
from rtx.images import encode_jpeg
from rtx.robots.between import Between

JPEG_QUALITY = 95
LATE = 0.5  # of a period: a state that comes later than this is counted
_FEWEST = 2  # steps of an episode


@runtime_checkable
class Operator(Protocol):
    """Who decides: a person at a terminal, or a script."""

    def begin(self, number: int) -> str | None:
        """Waits until episode `number` may start, and says its instruction; None ends the recording."""

    def is_over(self, steps: int) -> bool:
        """Whether the episode ends now. Does not wait."""

    def keep(self, summary: str) -> bool:
        """Whether to keep what was recorded."""


@runtime_checkable
class Mover(Protocol):
    """Moves the arm through the driver."""

    def move(self, state: RobotState) -> np.ndarray | None:
        """Starts this period's command and returns it, as sent; None: nothing that could be recorded was sent."""


@dataclass
class Recorded:
    """What a recording came to."""

    files: list[Path] = field(default_factory=list)
    discarded: int = 0


@dataclass
class _Rows:
    """What was read, and sent, so far."""

    states: list[np.ndarray] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    pictures: dict[str, list[bytes]] = field(default_factory=dict)
    commands: list[np.ndarray] = field(default_factory=list)
    late: int = 0

    def add(self, state: RobotState) -> None:
        self.states.append(np.array(state.proprio, np.float64))
        self.stamps.append(state.stamp_ns)
        for role, picture in state.images.items():
            self.pictures.setdefault(role, []).append(encode_jpeg(np.ascontiguousarray(picture), JPEG_QUALITY))


def record(
    driver: Driver,
    out: Path,
    operator: Operator,
    *,
    robot: Embodiment,
    mover: Mover | None = None,
    max_seconds: float = 120.0,
    clock: Clock | None = None,
    on_ready: Callable[[], object] = lambda: None,
) -> Recorded:
    """Episodes into `out`, after those that are there, until the operator ends it. The driver is closed at the end.

    Raises UserError, before anything is connected, where actions cannot be computed from what the robot measures; WorldError
    where the driver fails: the episodes kept so far are whole, the one under way is not kept.
    """
    import_h5py()
    between = Between(robot) if mover is None else None
    done, clock = Recorded(), clock or MonotonicClock()
    try:
        driver.connect()
        _check_roles(driver.read(), robot)
        on_ready()
        while (instruction := operator.begin(number := next_number(out))) is not None:
            rows = _episode(driver, operator, mover, clock, hz=robot.control_hz, max_seconds=max_seconds)
            take = _take(rows, lambda: between or Between(robot), instruction)
            if take is None or not operator.keep(_summary(take, rows, robot.control_hz)):
                done.discarded += 1
                continue
            done.files.append(write_episode(out, number, take, robot=robot.name, control_hz=robot.control_hz))
    finally:
        driver.close()
    return done


def _check_roles(state: RobotState, robot: Embodiment) -> None:
    if missing := [role for role in robot.roles if role not in state.images]:
        source = f"--camera {missing[0]}=v4l2:/dev/video0"
        raise UserError(f"no picture of {', '.join(missing)}, a camera of {robot.name!r}; name its source: {source}")


def _episode(driver: Driver, operator: Operator, mover: Mover | None, clock: Clock, *, hz: float, max_seconds: float) -> _Rows:
    """Read at the control rate; a late period is counted, and does not make the next ones hurry."""
    rows, period_ns = _Rows(), round(1e9 / hz)
    next_ns = clock.now_ns()
    while not operator.is_over(len(rows.states)) and len(rows.states) <= max_seconds * hz:
        clock.sleep_until(next_ns)
        rows.late += rows.states != [] and clock.now_ns() - next_ns > LATE * period_ns
        next_ns = max(next_ns, clock.now_ns() - period_ns) + period_ns
        state = driver.read()
        rows.add(state)
        if mover is not None and (sent := mover.move(state)) is not None:
            rows.commands.append(np.array(sent, np.float64))
    return rows


def _take(rows: _Rows, between: Callable[[], Between], instruction: str) -> Take | None:
    """None for what is too short to be one. Without commands the last state only ends the last action."""
    has_commands = len(rows.commands) == len(rows.states)
    count = len(rows.states) - (not has_commands)
    if count < _FEWEST:
        return None
    states = np.stack(rows.states)
    return Take(
        instruction=instruction,
        states=states[:count],
        actions=np.stack(rows.commands) if has_commands else between()(states),
        stamp_ns=np.array(rows.stamps[:count], np.int64),
        pictures={role: encoded[:count] for role, encoded in rows.pictures.items()},
    )


def _summary(take: Take, rows: _Rows, hz: float) -> str:
    late = f"; {rows.late} states came late: look at what else this computer does" if rows.late else ""
    return f"{len(take)} steps, {len(take) / hz:.1f} s, {take.instruction!r}{late}"
