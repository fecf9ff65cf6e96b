"""Without a terminal the bar is lines on stderr; standard output stays free for results."""

import pytest

from rtx import progress


def test_lines_count_what_was_done_before(capsys):
    with progress.bar("write", total=5, done=2) as advance:
        advance(2)
        advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("write: 5/5")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (119.0, "119 s"), (121, "2 min"), (7300, "2 h 2 min"), (200_000, "2 d 8 h")]
)
def test_durations(seconds, words):
    assert progress.duration(seconds) == words
