"""Jerk, held time and age of actions of the three ways to execute chunks, under latency, on a simulated arm.

    python -m benchmarks.execution [--seconds 40] [--arm sim_panda]

The arm (MuJoCo, its own controller, behind the guard) follows a slow circle by the whole loop of `rtx drive`. The policy knows
the circle, but each answer has an error of its own, as samples of a policy have, and answers come after the latency given.
Time is simulated: the figures do not depend on the machine. Nothing is drawn, for nobody looks: the whole table takes two
minutes of an idle core.
"""

from __future__ import annotations

import argparse

import numpy as np

from rtx.control.execution import EXECUTIONS, make_executor, soft_weights
from rtx.control.guard import Guard
from rtx.control.host import LocalGuard
from rtx.control.loop import drive
from rtx.control.simulated import LateAsker, SimulatedClock
from rtx.drivers.driver import RobotState
from rtx.drivers.sim import SimDriver
from rtx.embodiment import CANONICAL_ARM
from rtx.robots.adapter import Adapter
from rtx.spec import ActionChunk
from rtx.tables import text_table

CHUNK = 8
LATENCIES_S = (0.0, 0.1, 0.3, 0.6)
RADIUS_M, SECONDS_A_ROUND = 0.08, 8.0
ERROR_M_S = 0.03  # of an answer's velocity


class CirclePolicy:
    """From where the hand is measured to where the circle will be, `CHUNK` steps ahead; each answer drifts by its own error.

    `told`: it goes on from where what is committed will have led, and is drawn to what was planned with the weights of
    real-time chunking, as a model that is guided does.
    """

    def __init__(self, adapter: Adapter, center: np.ndarray, hz: float, *, told: bool) -> None:
        self._adapter, self._center, self._hz, self._told = adapter, center, hz, told
        self._rng = np.random.default_rng(3)
        self.misses: list[float] = []

    def __call__(self, state: RobotState, committed: np.ndarray, planned: np.ndarray) -> ActionChunk:
        here = np.asarray(self._adapter.proprio(state.proprio), np.float64)[:3]
        self.misses.append(float(np.linalg.norm(self._at(state.stamp_ns) - here)))
        old = np.concatenate([committed, planned])[:CHUNK] if self._told else committed[:0]
        held = min(len(committed), len(old))
        actions = np.zeros((CHUNK, CANONICAL_ARM.width), np.float32)
        actions[:, 6] = 1.0
        actions[held:, :3] = self._steps(state.stamp_ns, here + old[:held, :3].sum(axis=0), held)
        weight = np.concatenate([np.ones(held), soft_weights(len(old) - held)])[:, None]
        actions[: len(old), :3] = weight * old[:, :3] + (1 - weight) * actions[: len(old), :3]
        valid = state.stamp_ns + round(CHUNK * 1e9 / self._hz)
        return ActionChunk(
            actions=actions, names=CANONICAL_ARM.dim_names, control_hz=self._hz, stamp_ns=state.stamp_ns, valid_until_ns=valid
        )  # fmt: skip

    def _steps(self, start_ns: int, there: np.ndarray, first: int) -> np.ndarray:
        """From `there`, where the hand is after `first` periods, to the end of the chunk; each with the answer's error."""
        if first == CHUNK:
            return np.zeros((0, 3))
        times = start_ns + (np.arange(first, CHUNK + 1) * 1e9 / self._hz).astype(np.int64)
        wanted = np.stack([self._at(int(t)) for t in times])
        # what is behind is caught up over the whole chunk: a policy that rushes there at once is another problem
        path = wanted + (there - wanted[0]) * (1 - np.arange(len(times)) / (len(times) - 1))[:, None]
        return np.diff(path, axis=0) + self._rng.normal(0, ERROR_M_S / self._hz, 3)

    def _at(self, now_ns: int) -> np.ndarray:
        turn = 2 * np.pi * (now_ns * 1e-9 - 1000.0) / SECONDS_A_ROUND
        return self._center + RADIUS_M * np.array([np.cos(turn) - 1, np.sin(turn), 0.0])


class Blind(SimDriver):
    """Without cameras."""

    def read(self) -> RobotState:
        with self._lock:
            return RobotState(images={}, proprio=self.env.look(render=False).proprio, stamp_ns=self._clock_ns())


def measure(arm: str, name: str, latency_s: float, seconds: float, *, told: bool) -> tuple[str, ...]:
    clock = SimulatedClock()
    driver = Blind(arm, clock_ns=clock.now_ns)
    adapter, hz = Adapter(driver.embodiment), driver.embodiment.control_hz
    guard = Guard(driver, adapter, driver.embodiment.limits)
    start = np.asarray(adapter.proprio(guard.connect().proprio), np.float64)[:3]
    policy = CirclePolicy(adapter, start, hz, told=told)
    asker = LateAsker(policy, clock, lambda: latency_s)
    report = drive(
        LocalGuard(guard, clock.now_ns), asker, make_executor(name), adapter, hz=hz, seconds=seconds, clock=clock
    )  # fmt: skip
    guard.close()
    s = report.smoothness
    return (
        name + (", told" if told else ""), f"{1e3 * latency_s:.0f}", f"{s.jerk_rms_m_s3:.2f}", f"{s.seam_m_s:.3f}",
        f"{1e3 * s.staleness_p50_s:.0f} / {1e3 * s.staleness_p99_s:.0f}", f"{s.held:.0%}",
        f"{1e3 * np.mean(policy.misses):.0f}", str(len(report.stops)),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arm", default="sim_panda")
    parser.add_argument("--seconds", type=float, default=40.0)
    args = parser.parse_args()
    head = ("execution", "latency ms", "jerk rms m/s^3", "seam m/s", "age p50 / p99 ms", "held", "off the path mm", "stops")
    ways = [(name, False) for name in EXECUTIONS] + [("prefetch", True)]
    rows = [measure(args.arm, name, latency, args.seconds, told=told) for latency in LATENCIES_S for name, told in ways]
    print(text_table(head, rows))


if __name__ == "__main__":
    main()
