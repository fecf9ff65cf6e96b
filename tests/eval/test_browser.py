"""The pages of an evaluation in a real browser, from a file, without a network; and that the browser notices what is wrong."""

import pytest

from rtx.eval.evaluate import evaluate
from rtx.eval.report.page import write_report
from rtx.eval.report.side_by_side import compare_folders
from rtx.eval.suite import Suite
from tests.browser import check_page, open_page
from tests.eval.point_robot import ARMS, GoalPolicy, PointRobot, contract

SUITE = Suite(name="points", arms=ARMS[:1], tasks=("go",), episodes_per_cell=2, max_seconds=3.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pages")
    for name, speed in (("one", 1.0), ("other", 0.0)):
        policies = {"trained": GoalPolicy(contract(), speed=speed), "random": GoalPolicy(contract(), speed=0.5)}
        found = evaluate(policies, SUITE, root / name, num_workers=1, make_environment=PointRobot)
        write_report(root / name / "report.html", evaluation=found)
    return root


def test_the_report_opens_and_its_videos_play(folders):
    videos = len(list((folders / "other" / "videos").glob("*.mp4")))
    assert videos > 1
    times = check_page(folders / "other" / "report.html")
    assert len(times) == videos
    assert min(times) >= 0.2


def test_the_comparison_opens(folders):
    compare_folders(str(folders / "one"), str(folders / "other"))
    assert len(check_page(folders / "one" / "compare.html")) == 2, "one film of either"


WRONG = {
    "<script>undefinedFunction()</script>": "undefinedFunction is not defined",
    "<script>console.error('out of order')</script>": "out of order",
    "<img src='http://example.com/a.png'>": "asked for http://example.com/a.png",
}


def test_what_is_wrong_is_noticed(tmp_path):
    (tmp_path / "page.html").write_text("<!doctype html><meta charset='utf-8'><title>t</title>" + "\n".join(WRONG))
    with open_page(tmp_path / "page.html") as page:
        for words in WRONG.values():
            assert any(words in problem for problem in page.problems), (words, page.problems)


def test_a_video_that_does_not_play_is_noticed(tmp_path):
    (tmp_path / "page.html").write_text(
        "<!doctype html><meta charset='utf-8'><video muted src='data:video/mp4;base64,AAAA'></video>"
    )
    with open_page(tmp_path / "page.html") as page, pytest.raises(AssertionError, match=r"NotSupportedError|does not play"):
        page.play_videos()
