"""From the files that an experiment leaves to the table: what is shown is said, what is not shown is not said."""

from pathlib import Path

import pytest

from rtx.files import write_json
from rtx.reproduce.report import as_text, claim, collect, write_page
from rtx.reproduce.stages import Stages
from tests.browser import check_page
from tests.reproduce.evaluations import write_evaluation

EPISODES = 40
AS_IN_THE_PAPER = {
    "reach_seen": {"scratch": 34, "robot": 36, "both": 37},
    "reach_unseen": {"scratch": 4, "robot": 20, "both": 30},
    "questions": {"vlm": 38, "scratch": 0, "robot": 2, "both": 37},
}


def experiment(out: Path, solved: dict[str, dict[str, int]], *, seeds: int = 3) -> Path:
    runs = ("both", "robot", "scratch")
    of_tasks = {task: {run: solved[task][run] for run in runs} for task in ("reach_seen", "reach_unseen")}
    for seed in range(seeds):
        write_evaluation(out / "eval" / str(seed), "sim_panda", of_tasks, episodes=EPISODES)
        for run, right in solved["questions"].items():
            answers = {
                f"{i} where": {"kind": "where" if i % 2 else "way", "said": "a b", "right": i < right} for i in range(EPISODES)
            }
            path = out / "questions" / str(seed) / f"{run}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"checkpoint": "1", "answers": answers})
    return out


def test_the_papers_order_is_recognised(tmp_path):
    findings = collect(experiment(tmp_path, AS_IN_THE_PAPER), 3)
    assert findings.compare("reach_unseen", "robot", "scratch").verdict == "better"
    assert findings.compare("reach_seen", "both", "robot").verdict == "no difference shown"
    assert claim(findings).startswith("As in the paper.")
    text = as_text(findings)
    assert "(c) robot and web data, from the vision-language model  75 % (95 % interval 67..82; seeds 75, 75, 75)" in text
    assert "(b) against (a): better (+40 points (95 % interval" in text
    assert "48 to 0 where they differ, p = " in text
    assert findings.rate("reach_seen", "vlm") is None
    assert {kind: len(seeds) for kind, seeds in findings.by_kind["both"].items()} == {"where": 3, "way": 3}


def test_what_is_not_shown_is_not_claimed(tmp_path):
    alike = {measure: dict.fromkeys(runs, 20) for measure, runs in AS_IN_THE_PAPER.items()}
    findings = collect(experiment(tmp_path, alike), 3)
    assert claim(findings).startswith("NOT as in the paper.")
    assert claim(findings).count("no difference shown") == 4
    assert ": better" not in as_text(findings)


def test_an_order_turned_round_is_not_the_papers(tmp_path):
    turned = {**AS_IN_THE_PAPER, "reach_unseen": {"scratch": 4, "robot": 38, "both": 20}}
    findings = collect(experiment(tmp_path, turned), 3)
    assert claim(findings).startswith("NOT as in the paper.")
    assert "(c) against (b): worse" in claim(findings)


def test_one_vision_language_model_for_all_seeds_counts_once(tmp_path):
    out = experiment(tmp_path, AS_IN_THE_PAPER)
    for seed in (1, 2):
        (out / "questions" / str(seed) / "vlm.json").unlink()
    findings = collect(out, 3)
    rate = findings.rate("questions", "vlm")
    assert rate is not None
    assert rate.whole.trials == EPISODES
    assert claim(findings).startswith("As in the paper.")
    assert "the vision-language model against" not in as_text(findings)


def test_the_page_needs_nothing_else(tmp_path):
    findings = collect(experiment(tmp_path, AS_IN_THE_PAPER), 3)
    (tmp_path / "stages.json").write_text('{"training": 61.0}')
    stages = Stages(tmp_path / "stages.json")
    page = write_page(tmp_path / "report.html", findings, plan={"steps": 3}, stages=stages).read_text()
    for expected in ("seeds 75, 75, 75", "no difference shown", "67 to 82 %", "steps 3", "training 61 s", "default-src 'none'"):
        assert expected in page
    assert check_page(tmp_path / "report.html") == []


def test_an_experiment_that_is_not_done_says_so(tmp_path):
    with pytest.raises(Exception, match="results"):
        collect(tmp_path, 1)
