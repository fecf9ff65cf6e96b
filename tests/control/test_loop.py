"""The loop: under latency each way of execution keeps its promise, stops are obeyed, and a real server drives a robot."""

import numpy as np
import pytest

from rtx.control.asking import ServerAsker, promised
from rtx.control.execution import EXECUTIONS, make_executor
from rtx.control.guard import Guard, GuardSettings
from rtx.control.host import LocalGuard
from rtx.control.loop import DriveLog, drive, report_text
from rtx.control.simulated import LateAsker, SimulatedClock
from rtx.embodiment import CANONICAL_ARM
from rtx.errors import UserError, WorldError
from rtx.robots.adapter import Adapter
from rtx.robots.limits import limits_of
from rtx.robots.sim_arms import SIM_ARMS
from rtx.spec import ActionChunk
from rtx_client import Client
from tests.control.witness import PointArm
from tests.serve.conftest import serving
from tests.small_policy import echo_policy

ROBOT = SIM_ARMS["sim_panda"]
HZ = ROBOT.control_hz


def noisy(length=8, seed=0):
    """Answers that go the same way, each with an error of its own."""
    rng = np.random.default_rng(seed)

    def answer(state, committed, planned):
        actions = np.zeros((length, 8), np.float32)
        turn = 2 * np.pi * (state.stamp_ns * 1e-9 + np.arange(length) / HZ) / 8
        actions[:, 0], actions[:, 1] = 0.01 * np.cos(turn), 0.01 * np.sin(turn)
        actions[:, :2] += rng.normal(0, 0.004, 2)
        actions[:, 6] = 1
        return ActionChunk(
            actions=actions, names=CANONICAL_ARM.dim_names, control_hz=HZ, stamp_ns=state.stamp_ns,
            valid_until_ns=state.stamp_ns + round(length / HZ * 1e9),
        )  # fmt: skip

    return answer


def driven(name, latency_s, *, seconds=40.0, answer=None, on_stopped=None, make_arm=PointArm, **options):
    clock = SimulatedClock()
    arm = make_arm(ROBOT, clock.now_ns)
    adapter = Adapter(ROBOT)
    guard = Guard(arm, adapter, ROBOT.limits, settings=GuardSettings(stop_after_s=1.0))
    guard.connect()
    asker = LateAsker(answer or noisy(), clock, latency_s if callable(latency_s) else lambda: latency_s)
    report = drive(
        LocalGuard(guard, clock.now_ns), asker, make_executor(name), adapter, hz=HZ, seconds=seconds, clock=clock,
        on_stopped=on_stopped, **options,
    )  # fmt: skip
    assert arm.problems == []
    return report, arm


@pytest.mark.parametrize("name", EXECUTIONS)
def test_without_latency_nobody_holds(name):
    report, arm = driven(name, 0.0)
    assert (report.smoothness.held, report.stops) == (0.0, ())
    assert report.executed == arm.commands == 200
    assert report_text(report).startswith("ended: its time was over\n200 control periods, 200 actions sent, 0% held")


def test_prefetch_bridges_the_latency_that_receding_waits_out():
    receding, prefetch, ensemble = (driven(name, 0.5)[0].smoothness for name in ("receding", "prefetch", "ensemble"))
    assert receding.held > 0.3
    assert prefetch.held < 0.05
    assert ensemble.held < 0.05
    assert prefetch.jerk_rms_m_s3 < 0.5 * receding.jerk_rms_m_s3
    assert ensemble.jerk_rms_m_s3 < 0.5 * receding.jerk_rms_m_s3


def test_a_policy_that_falls_silent_is_stopped_and_armed_again_only_when_somebody_says_so():
    delays = iter([0.0] * 5 + [100.0])
    report, arm = driven("receding", lambda: next(delays))
    assert len(report.stops) == 1
    assert "no fresh action" in report.stops[0]
    assert report.ended == "the robot was stopped"
    assert not arm.is_armed
    delays, said = iter([0.0] * 5 + [100.0] + [0.0] * 1000), []
    report, _ = driven("receding", lambda: next(delays), on_stopped=lambda status: said.append(status.reason) or True)
    assert len(said) == len(report.stops) == 1
    assert report.executed > 100


def test_terminate_ends_the_drive_if_it_is_to_be_obeyed():
    def done(state, committed, planned):
        chunk = noisy()(state, committed, planned)
        chunk.actions[:, 7] = 1.0
        return chunk

    obeyed = driven("receding", 0.0, answer=done, obey_terminate=True)[0]
    assert (obeyed.periods, obeyed.ended) == (1, "the policy said that the task is done")
    assert driven("receding", 0.0, answer=done, seconds=2.0)[0].periods == 10


def test_a_person_may_interrupt_it_and_the_robot_is_stopped():
    patience = iter(range(3))

    def interrupted(state, committed, planned):
        if next(patience) == 2:
            raise KeyboardInterrupt
        return noisy()(state, committed, planned)

    report, arm = driven("receding", 0.0, answer=interrupted)
    assert report.ended == "a person interrupted it"
    assert 0 < report.executed == arm.commands
    assert not arm.is_armed


def test_what_was_measured_and_sent_is_written_down(tmp_path):
    driven("receding", 0.0, seconds=2.0, log=DriveLog(tmp_path))
    assert len((tmp_path / "drive.jsonl").read_text().splitlines()) == 10


class SeeingArm(PointArm):
    def read(self):
        state = super().read()
        images = {role: np.full((16, 16, 3), 100, np.uint8) for role in ("primary", "wrist")}
        return type(state)(images=images, proprio=state.proprio, stamp_ns=state.stamp_ns)


def test_a_real_server_drives_a_robot_within_the_limits_of_its_data():
    from rtx.control.loop import MonotonicClock

    with serving(echo_policy(gain=0.02)) as server, Client(server.url, robot="sim_panda", timeout_s=20.0) as client:
        layout, statistics = promised(client.hello, "sim_panda")
        limits = limits_of(ROBOT, statistics, layout=layout)
        clock = MonotonicClock()
        arm, adapter = SeeingArm(ROBOT, clock.now_ns, limits=limits), Adapter(ROBOT)
        guard = Guard(arm, adapter, limits, layout=layout)
        guard.connect()
        asker = ServerAsker(client, adapter, robot="sim_panda", roles=("primary", "wrist"), instruction="push", timeout_s=20.0)
        executor = make_executor("receding", space=layout.action)
        report = drive(LocalGuard(guard, clock.now_ns), asker, executor, adapter, hz=HZ, seconds=1.5)
        assert arm.commands > 0
        # The witness reads the clock itself, later than the guard did: speeds are checked where time is the test's.
        assert [problem for problem in arm.problems if "m/s" not in problem and "after the last" not in problem] == []
        assert report.executed >= arm.commands
        with pytest.raises(UserError, match="knows no robot 'sim_jaco'"):
            promised(client.hello, "sim_jaco")
        blind = PointArm(ROBOT, clock.now_ns).read()
        with pytest.raises(WorldError, match="looks at primary"):
            asker.ask(blind, *np.zeros((2, 0, 8)))
        told = asker._promise(np.full((2, 8), 0.1), np.full((5, 8), 0.2))
        assert {name: rows.shape for name, rows in told.items()} == {"committed": (2, 8)}, "an echo is not drawn to a plan"
        asker._is_drawn = True
        told = asker._promise(np.full((2, 8), 0.1), np.full((5, 8), 0.2))
        assert {name: rows.shape for name, rows in told.items()} == {"committed": (2, 8), "planned": (1, 8)}, "chunks have 3"
        assert asker._promise(*np.zeros((2, 0, 8))) == {}
