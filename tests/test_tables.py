"""Columns line up under their heads."""

from rtx.tables import text_table


def test_columns_are_as_wide_as_their_widest_cell():
    assert text_table(("robot", "Hz"), [("arm", "5"), ("longer arm", "10")]).split("\n") == [
        "robot       Hz",
        "----------  --",
        "arm         5",
        "longer arm  10",
    ]


def test_a_head_without_rows():
    assert text_table(("a",), []) == "a\n-"
