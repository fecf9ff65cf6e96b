"""Two evaluations side by side: pairs by scene and seed, rows corrected, what was not the same named, films of what differs."""

import dataclasses

import pytest

from rtx.cli import main
from rtx.errors import UserError
from rtx.eval.evaluate import evaluate
from rtx.eval.play import Settings
from rtx.eval.report.side_by_side import SideBySide, compare_folders, compare_page, side
from rtx.eval.suite import Suite
from tests.checked_html import check, reaches
from tests.eval.point_robot import ARMS, GoalPolicy, PointRobot, contract

SUITE = Suite(name="points", arms=ARMS[:2], tasks=("go",), episodes_per_cell=4, max_seconds=12.0)


def run(out, speed, suite=SUITE, **more):
    policies = {"trained": GoalPolicy(contract(), speed=speed)}
    return evaluate(policies, suite, out, num_workers=1, make_environment=PointRobot, **more)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("two")
    run(root / "good", 1.0)
    run(root / "lazy" / "eval-points", 0.0, dataclasses.replace(SUITE, episodes_per_cell=3))
    run(root / "alone", 1.0, dataclasses.replace(SUITE, name="elsewhere", arms=ARMS[:1]), settings=Settings(replan=3))
    return root


def test_it_pairs_what_both_played_and_tells_what_it_left_out(folders):
    text = compare_folders(str(folders / "good"), str(folders / "lazy"), folders / "c.html")
    assert "better (+100 points" in text
    assert "6 to 0 on the episodes where they differ" in text
    assert "6 episodes played by both, by the exact McNemar test; 2 and 0 more have no partner and were left out." in text
    rows = SideBySide(side(str(folders / "good")), side(str(folders / "lazy"))).compare_each("arm")
    assert [(name, row.only_first, row.verdict) for name, row in rows.items()] == [
        ("sim_panda", 3, "no difference shown"), ("sim_kinova3", 3, "no difference shown"),
    ]  # fmt: skip


def test_its_page_is_whole_and_shows_the_films(folders):
    both = SideBySide(side(str(folders / "lazy")), side(str(folders / "good")))
    page = compare_page(both)
    assert reaches(page) == []
    text = " ".join(check(page).text)
    assert "Episodes that only one solved" in text
    assert sum(tag == "video" for tag, _ in check(page).tags) == 4  # the first of each robot, of both
    assert "worse" in text


def test_without_a_shared_episode_it_compares_two_lots(folders):
    text = compare_folders(str(folders / "alone"), str(folders / "lazy"), folders / "d.html")
    assert "No episode is shared: two lots of 4 and 6, by Fisher's exact test." in text
    assert "Not the same: suite: elsewhere against points." in text
    assert "Not the same: actions executed of a chunk: 3 against 2." in text
    assert "better" in text


def test_the_command(folders, capsys):
    main(["eval", "compare", str(folders / "good"), f"{folders / 'lazy'}:trained"])
    assert f"Page: {folders / 'good' / 'compare.html'}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["eval", "compare", str(folders / "good"), str(folders)])
    assert "holds no results.json" in capsys.readouterr().err
    main(["eval", "--plan", "--delta", "0.2"])
    assert "93 episodes for each, if they share none" in capsys.readouterr().out


def test_the_same_twice_is_refused(folders):
    with pytest.raises(UserError, match="compared with itself"):
        compare_folders(str(folders / "good"), str(folders / "good"))
    with pytest.raises(UserError, match="policy 'other'"):
        side(f"{folders / 'good'}:other")
