"""Eight wrong set-ups and the right one, through the served path, with a policy that was really trained.

    RTX_QUICKSTART=runs/quickstart python -m pytest -m slow tests/doctor/test_end_to_end.py

RTX_QUICKSTART is the folder of a finished `rtx quickstart`; without it one is made first (20 minutes on two cores). What is
examined is recorded anew with another seed; the faults are planted in it, or in the policy's contract.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtx.data import catalogue
from rtx.doctor.examine import Diagnosis, examine
from rtx.doctor.recording import Recorded, load_episodes
from rtx.doctor.replay import Served, serving
from rtx.quickstart import quickstart
from rtx.serve.policy import Policy, load_policy
from rtx.spec import Contract
from rtx.train.checkpoint import open_checkpoint
from tests.doctor.planted import PLANTS, base_for_tool, wrong_statistics

ARM, OTHER = "sim_kinova3", "sim_sawyer"
_RECORD = "from rtx.cli import main; main()"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory) -> Path:
    if "RTX_QUICKSTART" in os.environ:
        return Path(os.environ["RTX_QUICKSTART"])
    out = tmp_path_factory.mktemp("quickstart")
    quickstart(out, preset="small")
    return out


@pytest.fixture(name="recorded", scope="module")
def _recorded(tmp_path_factory) -> list[Recorded]:
    out = tmp_path_factory.mktemp("recorded")
    told = ["data", "write", "sim", str(out), "--arms", ARM, "--episodes", "26", "--seed", "101"]
    subprocess.run([sys.executable, "-c", _RECORD, *told], check=True)  # simulators share no process with anything of ours
    return load_episodes(out / ARM, catalogue.find(ARM), most=26)


@pytest.fixture(name="trained", scope="module")
def _trained(made) -> list[Recorded]:
    episodes = load_episodes(made / "rlds" / ARM, catalogue.find(ARM), most=150)
    return [episode for episode in episodes if episode.split == "train"]


@pytest.fixture(name="policy", scope="module")
def _policy(made) -> Policy:
    return load_policy(made / "run")


@pytest.fixture(name="url", scope="module")
def _url(policy) -> Iterator[str]:
    with serving(policy) as url:
        yield url


def examined(url: str, contract: Contract, recorded: list[Recorded], trained: list[Recorded]) -> Diagnosis:
    """How long the way takes is left out: it is this machine's, which may be doing other things, and no part of the set-up."""
    served = Served(url, ARM, contract)
    try:
        return examine(recorded, contract, ARM, served, trained=trained)
    finally:
        served.close()


def test_the_right_set_up_is_sound(url, policy, recorded, trained):
    diagnosis = examined(url, policy.contract, recorded, trained)
    assert diagnosis.is_sound, diagnosis.findings


@pytest.mark.parametrize("aspect", PLANTS)
def test_a_planted_fault_is_named(aspect, url, policy, recorded, trained):
    plant = base_for_tool if aspect == "frame" else PLANTS[aspect]  # this arm's own commands are in the tool's frame
    diagnosis = examined(url, policy.contract, [plant(episode) for episode in recorded], trained)
    assert diagnosis.findings[0].aspect == aspect, diagnosis.findings


def test_wrong_statistics_are_named(made, policy, recorded, trained):
    contract = wrong_statistics(policy.contract, ARM, OTHER)
    assert contract.fingerprint() != policy.contract.fingerprint()
    other = Policy(
        model=policy.model, variables=open_checkpoint(made / "run").variables, contract=contract, tokenizer=policy.tokenizer,
        name="wrong statistics",
    )  # fmt: skip
    with serving(other) as url:
        diagnosis = examined(url, contract, recorded, trained)
    assert diagnosis.findings[0].aspect == "statistics", diagnosis.findings
