"""Jerk, held time and age of actions of the three ways to execute chunks, under latency, on a simulated arm.

    python benchmarks/execution.py [--seconds 60] [--arm sim_panda]

The arm (MuJoCo, its own controller, behind the guard) follows a slow circle by the whole loop of `rtx drive`. The policy knows
the circle, but each answer has an error of its own, as samples of a policy have, and answers come after the latency given.
Time is simulated: the figures do not depend on the machine.
"""

from __future__ import annotations

import argparse

import numpy as np

from rtx.control.execution import EXECUTIONS, make_executor
from rtx.control.guard import Guard
from rtx.control.host import LocalGuard
from rtx.control.loop import drive
from rtx.control.simulated import LateAsker, SimulatedClock
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

    `conditioned`: it begins with what was committed, as models do that can be told.
    """

    def __init__(self, adapter: Adapter, center: np.ndarray, hz: float, *, conditioned: bool) -> None:
        self._adapter, self._center, self._hz, self._conditioned = adapter, center, hz, conditioned
        self._rng = np.random.default_rng(3)
        self.misses: list[float] = []

    def __call__(self, state, committed) -> ActionChunk:
        here = np.asarray(self._adapter.proprio(state.proprio), np.float64)[:3]
        self.misses.append(float(np.linalg.norm(self._at(state.stamp_ns) - here)))
        times = state.stamp_ns + (np.arange(1, CHUNK + 1) * 1e9 / self._hz).astype(np.int64)
        wanted = np.stack([self._at(int(t)) for t in times])
        # what is behind is caught up over the whole chunk: a policy that rushes there at once is another problem
        catch_up = (here - self._at(state.stamp_ns)) * (1 - np.arange(1, CHUNK + 1) / CHUNK)[:, None]
        path = np.concatenate([here[None], wanted + catch_up])
        actions = np.zeros((CHUNK, CANONICAL_ARM.width), np.float32)
        actions[:, :3] = np.diff(path, axis=0) + self._rng.normal(0, ERROR_M_S / self._hz, 3)
        actions[:, 6] = 1.0
        if self._conditioned:
            actions[: len(committed)] = committed[:CHUNK]
        valid = state.stamp_ns + round(CHUNK * 1e9 / self._hz)
        return ActionChunk(
            actions=actions, names=CANONICAL_ARM.dim_names, control_hz=self._hz, stamp_ns=state.stamp_ns, valid_until_ns=valid
        )  # fmt: skip

    def _at(self, now_ns: int) -> np.ndarray:
        turn = 2 * np.pi * (now_ns * 1e-9 - 1000.0) / SECONDS_A_ROUND
        return self._center + RADIUS_M * np.array([np.cos(turn) - 1, np.sin(turn), 0.0])


def measure(arm: str, name: str, latency_s: float, seconds: float, *, conditioned: bool) -> tuple[str, ...]:
    clock = SimulatedClock()
    driver = SimDriver(arm, image_size=16, clock_ns=clock.now_ns)
    adapter, hz = Adapter(driver.embodiment), driver.embodiment.control_hz
    guard = Guard(driver, adapter, driver.embodiment.limits)
    start = np.asarray(adapter.proprio(guard.connect().proprio), np.float64)[:3]
    policy = CirclePolicy(adapter, start, hz, conditioned=conditioned)
    asker = LateAsker(policy, clock, lambda: latency_s)
    report = drive(
        LocalGuard(guard, clock.now_ns), asker, make_executor(name), adapter, hz=hz, seconds=seconds, clock=clock
    )  # fmt: skip
    guard.close()
    s = report.smoothness
    return (
        name + (", told" if conditioned else ""), f"{1e3 * latency_s:.0f}", f"{s.jerk_rms_m_s3:.2f}", f"{s.seam_m_s:.3f}",
        f"{1e3 * s.staleness_p50_s:.0f} / {1e3 * s.staleness_p99_s:.0f}", f"{s.held:.0%}",
        f"{1e3 * np.mean(policy.misses):.0f}", str(len(report.stops)),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arm", default="sim_panda")
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    head = ("execution", "latency ms", "jerk rms m/s^3", "seam m/s", "age p50 / p99 ms", "held", "off the path mm", "stops")
    ways = [(name, False) for name in EXECUTIONS] + [("prefetch", True)]
    rows = [measure(args.arm, name, latency, args.seconds, conditioned=told) for latency in LATENCIES_S for name, told in ways]
    print(text_table(head, rows))


if __name__ == "__main__":
    main()
