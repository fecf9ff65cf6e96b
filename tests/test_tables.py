"""Columns line up under their heads."""

from rtx.tables import Cell, html_table, text_table


def test_columns_are_as_wide_as_their_widest_cell():
    assert text_table(("robot", "Hz"), [("arm", "5"), ("longer arm", "10")]).split("\n") == [
        "robot       Hz",
        "----------  --",
        "arm         5",
        "longer arm  10",
    ]


def test_a_head_without_rows():
    assert text_table(("a",), []) == "a\n-"


def test_html_escapes_texts_and_keeps_finished_cells():
    table = html_table(["<a>", "b"], [["1 & 2", Cell("<td class='x'>3</td>")]], last=["s", "t"])
    assert "<thead><tr><th>&lt;a&gt;</th><th>b</th></tr></thead>" in table
    assert "<tr><td>1 &amp; 2</td><td class='x'>3</td></tr><tr class='sum'><td>s</td><td>t</td></tr>" in table
    assert "<thead>" not in html_table((), [["a"]])
