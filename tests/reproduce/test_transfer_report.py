"""From the files that `rtx-transfer` leaves to its table: what is shown is said, what is not shown is not said."""

import json
from pathlib import Path

import pytest

from rtx.reproduce.stages import Stages
from rtx.reproduce.transfer_report import Findings, as_text, claims, collect, write_page
from tests.browser import check_page
from tests.reproduce.evaluations import write_evaluation

FEW, MANY, NEW = ("sim_panda", "sim_ur5e"), ("sim_iiwa",), "sim_vx300s"
EPISODES = 30
AS_IN_THE_PAPER = {"few": (24, 9), "many": (18, 27), "new": (25, 10)}
"""Solved of each task by the mixture and alone, and fine-tuned and from scratch."""


def experiment(out: Path, solved: dict[str, tuple[int, int]], *, seeds: int = 3) -> Path:
    for seed in range(seeds):
        for group, arms in (("few", FEW), ("many", MANY)):
            for arm in arms:
                runs = dict(zip(("mixture", "alone"), solved[group], strict=True))
                folder = out / "eval" / str(seed) / arm
                write_evaluation(folder, arm, {"reach": runs, "push": runs}, episodes=EPISODES)
                write_metrics(out / "runs" / str(seed) / arm, {arm: [0.30, 0.20, 0.26, 0.28]})
        runs = dict(zip(("tuned-10", "scratch-10"), solved["new"], strict=True))
        write_evaluation(out / "eval" / str(seed) / NEW, NEW, {"reach": runs, "push": runs}, episodes=EPISODES)
        write_metrics(out / "runs" / str(seed) / "mixture", {arm: [0.4, 0.25, 0.2, 0.1] for arm in (*FEW, *MANY)})
    return out


def write_metrics(run: Path, errors: dict[str, list[float]]) -> None:
    run.mkdir(parents=True)
    num_rows = len(next(iter(errors.values())))
    rows = [{"step": 5, "kind": "train", "loss": 1.0}]
    rows += [
        {"step": 10 * (i + 1), "kind": "val", "sets": {arm: {"l1": of_arm[i]} for arm, of_arm in errors.items()}}
        for i in range(num_rows)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def findings_of(out: Path, solved: dict[str, tuple[int, int]], *, seeds: int = 3) -> Findings:
    return collect(experiment(out, solved, seeds=seeds), seeds, few=FEW, many=MANY, new=NEW, new_counts=(10,))


def test_what_is_as_in_the_paper_is_said(tmp_path):
    findings = findings_of(tmp_path, AS_IN_THE_PAPER)
    assert [pair.arms for pair in findings.mixture] == [
        *["few demonstrations"] * 3, *["many demonstrations"] * 3, "sim_panda", "sim_ur5e", "sim_iiwa"
    ]  # fmt: skip
    assert findings.few.found.first.whole.trials == 3 * 2 * 2 * EPISODES
    assert findings.few.found.pairs.only_first == 3 * 2 * 2 * (24 - 9)
    few, many, new = claims(findings)
    assert few.endswith("as in the paper, the mixture is better.")
    assert many.endswith("as with the paper's small model (RT-1-X), the mixture is worse.")
    assert new == "sim_vx300s, 10 demonstrations, fine-tuned from the mixture against from scratch: better."
    text = as_text(findings, planned=3)
    assert text.startswith("3 seeds, 95 % intervals\n")
    assert "few demonstrations   all tasks  80 % (76..84; seeds 80, 80, 80)  30 % (2" in text


def test_what_is_not_shown_is_not_claimed(tmp_path):
    findings = findings_of(tmp_path, {"few": (15, 15), "many": (20, 20), "new": (9, 9)})
    few, many, new = claims(findings)
    assert "NOT as in the paper" in few
    assert "no difference shown" in many
    assert new.endswith("no difference shown.")
    assert "better" not in as_text(findings, planned=3)


def test_an_order_turned_round_is_against_the_paper(tmp_path):
    few, many, new = claims(findings_of(tmp_path, {"few": (9, 24), "many": (27, 18), "new": (10, 25)}))
    assert "AGAINST the paper" in few
    assert "unlike the paper's small model" in many
    assert new.endswith("worse.")


def test_a_seed_that_is_still_to_come_is_said(tmp_path):
    assert as_text(findings_of(tmp_path, AS_IN_THE_PAPER, seeds=1), planned=3).startswith(
        "1 seed of 3, the others are still to come"
    )
    with pytest.raises(Exception, match="results"):
        collect(tmp_path, 2, few=FEW, many=MANY, new=NEW, new_counts=(10,))


def test_held_out_errors_say_when_a_policy_had_enough(tmp_path):
    (panda, *_) = findings_of(tmp_path, AS_IN_THE_PAPER).errors
    assert panda.mixture == pytest.approx(0.1)
    assert panda.alone == pytest.approx(0.28)
    assert (panda.least, panda.least_at) == (pytest.approx(0.2), 0.5)


def test_the_page_needs_nothing_else(tmp_path):
    findings = findings_of(tmp_path, AS_IN_THE_PAPER)
    (tmp_path / "stages.json").write_text('{"training": 61.0}')
    (tmp_path / "stages_cpu.json").write_text('{"training": 90.0}')
    stages = Stages(tmp_path / "stages.json")
    page = write_page(tmp_path / "report.html", findings, plan={"seeds": 3}, stages=stages).read_text()
    for expected in ("seeds 80, 80, 80", "76 to 84 %", "training 61 s", "training 90 s", "50 %", "default-src 'none'"):
        assert expected in page
    assert check_page(tmp_path / "report.html") == []
