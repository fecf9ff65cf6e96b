"""`rtx eval`: from a checkpoint on disk to a table and a report, on the simulator; arms it does not know are left out."""

import dataclasses

import pytest

from rtx.errors import UserError
from rtx.eval.checkpoint import evaluate_checkpoint
from rtx.eval.results import load_evaluation
from tests import small_policy
from tests.saved_policy import save_policy


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return save_policy(small_policy.rt1_policy(), tmp_path_factory.mktemp("run"))


def test_it_plays_the_arms_it_knows_against_both_baselines(run_dir, tmp_path):
    text = evaluate_checkpoint(
        run_dir, tmp_path, suite="smoke", tasks=["reach"], episodes_per_cell=1, num_workers=1, language=True
    )
    evaluation = load_evaluation(tmp_path)
    assert evaluation.suite.arms == ("sim_panda",)  # the suite's sim_sawyer is a stranger to this checkpoint
    assert list(evaluation.policies) == ["trained", "untrained", "random"]
    for words in (
        "sim_panda",
        "trained solved",
        "paraphrase",
        "Against random: no difference shown",
        str(tmp_path / "report.html"),
    ):
        assert words in text
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert "<h2>Language</h2>" in (tmp_path / "report.html").read_text()


def test_an_arm_asked_for_by_name_must_be_known(run_dir, tmp_path):
    with pytest.raises(UserError, match="does not know sim_sawyer"):
        evaluate_checkpoint(run_dir, tmp_path, suite="smoke", arms=["sim_sawyer"])


def test_a_checkpoint_of_another_robot_is_refused(run_dir, tmp_path, monkeypatch):
    stranger = small_policy.contract()
    names = {"bridge_dataset": "sim_panda"}
    other = dataclasses.replace(
        stranger,
        embodiments={
            new: dataclasses.replace(stranger.embodiments[old], name=new, control_hz=3.0) for new, old in names.items()
        },
        layouts={new: stranger.layouts[old] for new, old in names.items()},
        statistics={new: stranger.statistics[old] for new, old in names.items()},
    )
    policy = small_policy.echo_policy()
    policy.contract = other
    monkeypatch.setattr("rtx.serve.policy.load_policy", lambda _: policy)
    with pytest.raises(UserError, match=r"knows no arm of suite 'quick'.*trained on bridge_dataset"):
        evaluate_checkpoint(run_dir, tmp_path)
    with pytest.raises(UserError, match="leave one out"):
        evaluate_checkpoint(run_dir, tmp_path, server="ws://127.0.0.1:1", against=run_dir)
