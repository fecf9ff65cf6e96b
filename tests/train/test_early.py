"""Which validation was the best, and when to stop: from the lines alone, so that a resumed run decides alike."""

import json

from rtx.train.config import RunConfig
from rtx.train.early import Best, figure

RUN = RunConfig(eval_every=10, save_every=10, patience=2, watch="mine")


def line(step, l1, **other):
    return {"step": step, "kind": "val", "loss": 9.0, "l1": 9.0, "sets": {"mine": {"loss": 1.0, "l1": l1}, **other}}


def test_it_is_over_when_nothing_better_came_for_as_long_as_it_was_to_wait():
    best = Best(RUN)
    seen = []
    for step, l1 in ((10, 0.5), (20, 0.3), (30, 0.4), (40, 0.3)):
        best.add(step, line(step, l1))
        seen.append((best.step, best.is_over))
    assert seen == [(10, False), (20, False), (20, False), (20, True)]
    assert best.pinned == 20


def test_without_patience_it_only_looks():
    best = Best(RunConfig())
    for step in range(5):
        best.add(step, line(step, 1.0))
    assert (best.step, best.is_over, best.pinned) == (0, False, -1)


def test_what_is_compared_is_the_error_of_actions_of_the_set_that_is_watched():
    assert figure(line(1, 0.25), "mine") == 0.25
    assert figure(line(1, 0.25)) == 9.0
    assert figure({"loss": 2.0, "sets": {"mine": {"loss": 1.5}}}, "mine") == 1.5
    assert figure({}) is None
    assert figure({"loss": float("nan")}) is None


def test_a_run_that_goes_on_knows_what_came_before(tmp_path):
    lines = [{"step": 5, "kind": "train", "loss": 0.1}, *(line(step, l1) for step, l1 in ((10, 0.5), (20, 0.6), (30, 0.7)))]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert Best.of_run(tmp_path, RUN).is_over
    resumed = Best.of_run(tmp_path, RUN, up_to=20)
    assert (resumed.step, resumed.is_over) == (10, False)
    resumed.add(30, lines[-1])
    assert resumed.is_over


def test_patience_needs_a_checkpoint_of_each_validation():
    assert RUN.problems() == []
    for wrong in (RunConfig(patience=1, eval_every=15, save_every=10), RunConfig(patience=1, eval_every=0)):
        assert any("run.patience needs" in text for text in wrong.problems())
