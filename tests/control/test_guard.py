"""Silence becomes a hold, long silence a stop, and only arming leads out of it. Time is the test's."""

import json

import numpy as np
import pytest

from rtx.control.guard import LIMITS_OFF, Guard, GuardSettings
from rtx.control.guard_log import GuardLog, replay
from rtx.control.judge import Command
from rtx.embodiment import CANONICAL
from rtx.errors import UserError, WorldError
from rtx.robots.adapter import Adapter
from rtx.robots.sim_arms import SIM_ARMS
from tests.control.witness import Clock, PointArm

ROBOT = SIM_ARMS["sim_panda"]  # 5 Hz
PERIOD_S = 0.2


class Bench:
    def __init__(self, path=None, **settings):
        self.clock = Clock()
        self.arm = PointArm(ROBOT, self.clock)
        self.guard = Guard(self.arm, Adapter(ROBOT), ROBOT.limits, settings=GuardSettings(**settings), log=GuardLog(path))
        self.guard.connect()
        self.number = 0

    def armed(self):
        self.guard.arm(self.clock())
        self.clock.advance(0.15)
        return self

    def send(self, *, x=0.01, values=None, number=None, age_s=0.0):
        self.number += 1
        stamp = self.clock() - round(age_s * 1e9)
        self.guard.submit(
            Command(
                number=number or self.number, values=np.array([x, 0, 0, 0, 0, 0, 1, 0]) if values is None else values,
                stamp_ns=stamp, valid_until_ns=stamp + 600_000_000,
            )
        )  # fmt: skip
        self.guard.tick(self.clock())

    def wait(self, seconds):
        """Ticks whenever the guard wants to."""
        until = self.clock() + round(seconds * 1e9)
        while self.guard.next_ns <= until:
            self.clock.now_ns = max(self.guard.next_ns, self.clock() + 1)
            self.guard.tick(self.clock())
        self.clock.now_ns = until

    @property
    def mode(self):
        return self.guard.status.mode


def test_nothing_moves_before_it_is_armed():
    bench = Bench()
    bench.send()
    assert (bench.mode, bench.arm.commands) == ("stopped", 0)
    assert bench.guard.status.refusals == {"not_armed": 1}


def test_armed_it_holds_until_the_first_command_and_then_runs():
    bench = Bench().armed()
    assert bench.mode == "holding"
    bench.wait(10.0)
    assert bench.mode == "holding"  # there was no silence yet: nothing had begun
    before = bench.arm.position
    bench.send()
    assert (bench.mode, bench.arm.commands) == ("running", 1)
    np.testing.assert_allclose(bench.arm.position - before, [0.01, 0, 0], atol=1e-6)


def test_two_periods_of_silence_hold_and_the_next_command_goes_on():
    bench = Bench().armed()
    bench.send()
    bench.wait(2 * PERIOD_S)
    assert bench.mode == "running"
    holds = bench.arm.holds
    bench.wait(0.01)
    assert (bench.mode, bench.arm.holds) == ("holding", holds + 1)
    bench.wait(1.0)
    assert bench.arm.holds == holds + 1 + 5  # it goes on holding, once a period
    bench.send()
    bench.wait(PERIOD_S / 2)  # not sooner than half a period after a hold
    assert bench.mode == "running"


def test_longer_silence_stops_softly_and_only_arming_leads_out_of_it():
    bench = Bench(stop_after_s=2.0).armed()
    bench.send()
    bench.wait(2.3)
    assert (bench.mode, bench.arm.stops) == ("stopped", 1)
    assert "no fresh action for 2" in bench.guard.status.reason
    bench.send()
    assert bench.arm.commands == 1
    bench.armed()
    bench.send()
    assert (bench.mode, bench.arm.commands) == ("running", 2)


def test_commands_that_are_refused_are_no_sign_of_life():
    bench = Bench(stop_after_s=2.0).armed()
    bench.send()
    for _ in range(12):
        bench.wait(PERIOD_S)
        bench.send(values=np.full(8, np.nan))
    assert bench.mode == "stopped"


def test_an_answer_to_what_was_seen_before_the_stop_is_not_executed_after_it():
    bench = Bench().armed()
    bench.send()
    bench.guard.stop("a person said so", now_ns=bench.clock(), what="e_stop")
    bench.clock.advance(0.1)
    bench.guard.arm(bench.clock())
    bench.clock.advance(0.15)
    bench.send(age_s=0.2)
    assert bench.guard.status.refusals == {"before_arming": 1}
    assert bench.arm.commands == 1


def test_a_burst_is_not_executed_faster_than_the_robot_may_move():
    bench = Bench().armed()
    for _ in range(10):
        bench.send(x=0.08)
    assert bench.arm.commands == 1
    bench.wait(PERIOD_S)
    assert bench.arm.commands == 2  # the newest
    assert bench.guard.status.refusals["superseded"] == 8
    assert bench.arm.problems == []


def test_a_clock_that_goes_backward_stops():
    bench = Bench().armed()
    bench.send()
    bench.clock.advance(-1.0)
    bench.send()
    assert bench.mode == "stopped"
    assert "backward by 1.000 s" in bench.guard.status.reason


def test_a_driver_that_fails_stops_the_robot_and_says_why():
    bench = Bench().armed()
    bench.arm.fails = True
    bench.clock.advance(0.2)
    bench.send()
    assert bench.mode == "stopped"
    assert "the cable is loose" in bench.guard.status.reason
    with pytest.raises(WorldError, match="loose"):
        bench.guard.arm(bench.clock())


def test_a_measured_state_that_is_not_finite_moves_nothing():
    bench = Bench().armed()
    bench.arm.position = np.array([np.nan, 0.0, 0.2])
    bench.clock.advance(0.2)
    bench.send()
    assert bench.arm.commands == 0
    assert set(bench.guard.status.refusals) & {"bad_state", "non_finite"}


def test_limits_go_off_by_the_exact_sentence_only_and_that_is_written_down(tmp_path):
    with pytest.raises(UserError, match="limits stay on"):
        GuardSettings(limits_off="yes")
    bench = Bench(tmp_path / "log.jsonl", limits_off=LIMITS_OFF).armed()
    bench.send(x=0.5)
    assert np.linalg.norm(bench.arm.velocity) > 1.0
    bench.clock.advance(PERIOD_S)
    bench.send(values=np.full(8, np.inf))  # what is no action is refused even so
    assert bench.arm.commands == 1
    bench.guard.close()
    events = [json.loads(line)["what"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert "limits_off" in events


def test_the_log_gives_the_same_verdicts_again_and_notices_a_changed_one(tmp_path):
    path = tmp_path / "log.jsonl"
    bench = Bench(path).armed()
    for x in (0.01, 0.9, np.nan, -0.9, np.inf, 0.3):
        bench.send(x=x)
        bench.clock.advance(PERIOD_S)
    bench.guard.close()
    adapter = Adapter(ROBOT)
    again = replay(path, adapter)
    assert (again.verdicts, again.different) == (5, ())
    path.write_text(path.read_text().replace('"step_m"', '"step_rad"', 1))
    assert len(replay(path, adapter).different) == 1
    with pytest.raises(UserError, match="no such log"):
        replay(tmp_path / "other.jsonl", adapter)


def test_the_log_tells_what_became_of_the_robot(tmp_path):
    bench = Bench(tmp_path / "log.jsonl", stop_after_s=1.0).armed()
    bench.send()
    bench.wait(2.0)
    bench.guard.close()
    events = [json.loads(line)["what"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert events == ["guard", "armed", "running", "hold", "stop", "closed"]


def test_an_arm_that_cannot_be_seen_is_refused_and_not_taken_to_be_at_zero():
    layout, clock = CANONICAL.without("proprio.eef_pos"), Clock()
    arm, adapter = PointArm(ROBOT, clock), Adapter(ROBOT, layout)
    with pytest.raises(UserError, match="cannot tell where the arm is: the policy's data do not know eef_pos"):
        Guard(arm, adapter, ROBOT.limits, layout=layout)
    Guard(arm, adapter, ROBOT.limits, layout=layout, settings=GuardSettings(limits_off=LIMITS_OFF))
