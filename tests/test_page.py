"""A page is whole, closed, and escapes what it is given."""

from rtx import page
from tests.checked_html import check, reaches


def test_a_page_needs_nothing_else():
    made = page.page("<run>", [f"<h1>one</h1>{page.terms({'a & b': '<i>x</i>'})}"])
    assert reaches(made) == []
    text = " ".join(check(made).text)
    assert "<run>" in text
    assert "<i>x</i>" in text
    assert "a & b" in text
    assert "prefers-color-scheme: dark" in made


def test_counts():
    assert (page.count(1, "core"), page.count(12345, "step")) == ("1 core", "12,345 steps")
