"""Without a terminal the bar is lines on stderr; standard output stays free for results."""

from rtx import progress


def test_lines_count_what_was_done_before(capsys):
    with progress.bar("write", total=5, done=2) as advance:
        advance(2)
        advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("write: 5/5")
