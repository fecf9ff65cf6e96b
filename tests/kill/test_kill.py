"""SIGKILL a real training process, run the same command: nothing is torn or lost, and what follows is what would have."""

from pathlib import Path

import pytest

from tests.kill.lives import Death, Run
from tests.kill.matrix import FOLLOWED, SELDOM, run_matrix
from tests.kill.phases import PHASES, Plan
from tests.kill.remains import array_hashes, unlike_arrays
from tests.train.small_run import write_sets

NUM_STEPS = 144


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return [Path(one.prepared) for one in write_sets(tmp_path_factory.mktemp("kill") / "data")]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The run that nobody killed."""
    run = Run(tmp_path_factory.mktemp("kill") / "whole", data, num_steps=NUM_STEPS, settings=[SELDOM])
    assert run.live()
    return run


@pytest.mark.timeout(1200)  # half a minute, but there may be no core free for sixteen processes
def test_killed_once_in_every_phase(whole, data, tmp_path):
    plans = [
        Plan(phase="commit"),  # of the first save: nothing to go on from
        Plan(phase="before save", call=3),
        Plan(phase="device to host", call=2, moment="amid", amid_s=0.02),
        Plan(phase="async write", call=2, moment="amid", amid_s=0.02),
        Plan(phase="merge", call=2, moment="after"),
        Plan(phase="hash", call=2, moment="amid", amid_s=0.01),
        Plan(phase="manifest", call=2, moment="after"),
        Plan(phase="commit", call=2),
        Plan(phase="commit", moment="after"),
        Plan(phase="old-step removal"),
        Plan(phase="old-step files"),
        Plan(phase="restore", moment="amid", amid_s=0.1),
        Plan(phase="verify"),
        Plan(phase="read arrays", moment="after"),
    ]
    assert {plan.phase for plan in plans} == set(PHASES)
    run = Run(tmp_path / "killed", data, num_steps=NUM_STEPS, whole=whole)
    for plan in plans:
        assert not run.live(Death(plan=plan))
    assert run.live()
    assert run.findings.lines() == []
    assert sum(run.findings.kills.values()) == len(plans)
    assert run.findings.least_followed >= FOLLOWED


@pytest.mark.timeout(1200)
def test_one_process_then_two_then_one(whole, data, tmp_path):
    """The batch is the same, so are the numbers. Of the two the coordinator dies; the other ends by itself and says why."""
    run = Run(tmp_path / "elastic", data, num_steps=NUM_STEPS, whole=whole)
    assert not run.live(Death(plan=Plan(phase="before save", call=3)))
    alone = run.newest
    assert not run.live(Death(plan=Plan(phase="commit", call=2, moment="after")), num_processes=2)
    assert run.newest == alone + 16
    assert run.live()
    assert run.findings.lines() == []
    assert run.findings.compared >= NUM_STEPS
    assert run.findings.least_followed >= FOLLOWED


def test_the_same_seed_gives_the_same_bits(whole, data, tmp_path):
    again, other = (
        Run(tmp_path / str(seed), data, num_steps=NUM_STEPS, settings=[SELDOM, f"run.seed={seed}"]) for seed in (0, 1)
    )
    assert again.live()
    assert other.live()
    assert unlike_arrays(again.dir, whole.dir) == []
    assert again.steps() == whole.steps()
    parameters = [name for name in array_hashes(whole.dir) if name.startswith("variables/params/")]
    assert set(parameters) <= set(unlike_arrays(other.dir, whole.dir))


def test_findings_find(whole, data, tmp_path):
    """A run with another seed draws, loses and ends otherwise; a checkpoint with a byte too few is torn and lost."""
    run = Run(tmp_path / "other", data, num_steps=NUM_STEPS, settings=["run.seed=1"], whole=whole)
    assert not run.live(Death(plan=Plan(phase="before save", call=4)))
    assert len(run.findings.mismatches) >= 48  # loss and random bits of 24 steps: it saves every 8
    assert run.findings.torn == run.findings.lost == []
    committed = run.newest
    damaged = run.dir / "checkpoints" / str(committed) / "config.json"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert not run.live(Death(plan=Plan(phase="before save")))
    assert "config.json" in run.findings.torn[0]
    assert any(f"step {committed} was committed" in line for line in run.findings.lost)


@pytest.mark.kill
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize(("processes", "kills"), [((1,), 200), ((2,), 60), ((1, 2), 20)], ids=["one", "two", "in turn"])
def test_the_whole_matrix(tmp_path, processes, kills):
    """Half of the kills at random instants, the others in every phase before, amid and after it."""
    findings = run_matrix(tmp_path, kills=kills, seed=len(processes), processes=processes)
    assert findings.lines() == []
    assert sum(findings.kills.values()) >= kills
    assert findings.least_followed >= FOLLOWED
