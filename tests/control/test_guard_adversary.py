"""Whatever is sent, in whatever order, whenever: what reaches the driver is within limits, fresh, and executed once.

One arm here, two in `test_guard_two_arms.py`. The long run (10^5 commands): `python -m pytest -m slow
tests/control/test_guard_adversary.py -s`.
"""

import numpy as np
import pytest

from rtx.control.guard import Guard, GuardSettings
from rtx.control.guard_log import GuardLog, replay
from rtx.embodiment import CANONICAL
from rtx.robots.adapter import Adapter
from rtx.robots.sim_arms import SIM_ARMS
from tests.control.adversary import EVENTS, KINDS, Adversary
from tests.control.witness import Clock, PointArm, widened

ARMS = ("sim_panda", "sim_ur5e", "sim_iiwa", "sim_kinova3", "sim_jaco")


def attacked(name, commands, *, seed=7, log=None, broken=False, lies=False):
    embodiment, clock = SIM_ARMS[name], Clock()
    arm = PointArm(embodiment, clock)
    limits = widened(embodiment.limits, 3.0) if broken else embodiment.limits
    guard = Guard(arm, Adapter(embodiment), limits, layout=CANONICAL, settings=GuardSettings(), log=GuardLog(log))
    guard.connect()
    adversary = Adversary(guard, arm, clock, CANONICAL.action, seed=seed, lies=lies).run(commands)
    status = guard.status
    guard.close()
    return adversary, arm, status


def must_be_safe(adversary, arm, commands):
    assert arm.problems == []
    assert adversary.stale_executed() == []
    assert adversary.executed_twice() == []
    assert arm.commands > commands / 20, "hardly anything was executed: the test proves nothing"


@pytest.mark.parametrize("name", ARMS)
def test_nothing_outside_limits_or_stale_reaches_the_driver(name, tmp_path):
    adversary, arm, status = attacked(name, 400, log=tmp_path / "guard.jsonl")
    must_be_safe(adversary, arm, 400)
    assert set(adversary.sent) == set(KINDS)
    assert {"non_finite", "bad_shape", "stale", "velocity", "workspace", "not_yet"} <= set(status.refusals) | {"step_m"}
    again = replay(tmp_path / "guard.jsonl", Adapter(SIM_ARMS[name]))
    assert again.verdicts > 200
    assert again.different == ()


def test_the_witness_sees_what_a_broken_filter_lets_through():
    _, arm, _ = attacked("sim_panda", 200, broken=True)
    kinds = {problem.split()[0] for problem in arm.problems}
    assert {"leaves", "step", "velocity", "turns"} <= kinds


def test_the_witness_sees_stale_actions_that_claim_to_be_fresh():
    adversary, _, _ = attacked("sim_panda", 200, lies=True)
    assert len(adversary.stale_executed()) > 5


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_hundred_thousand_commands(tmp_path):
    figures = []
    for seed, name in enumerate(ARMS):
        adversary, arm, status = attacked(name, 20_000, seed=seed, log=tmp_path / f"{name}.jsonl")
        must_be_safe(adversary, arm, 20_000)
        assert set(adversary.happened) == set(EVENTS)
        again = replay(tmp_path / f"{name}.jsonl", Adapter(SIM_ARMS[name]))
        assert again.different == ()
        figures.append((name, adversary.number, arm.commands, again.verdicts, adversary.rearmed, dict(adversary.happened)))
        print(figures[-1], status.refusals)
    assert sum(sent for _, sent, *_ in figures) >= 100_000
    assert np.all([executed > 0 for _, _, executed, *_ in figures])
