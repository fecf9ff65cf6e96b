"""HTML and SVG taken apart by a parser that fails where elements do not nest or the network could be reached."""

import re
from html.parser import HTMLParser

VOID = {"meta", "circle", "line", "polyline", "br"}


class Checker(HTMLParser):
    """Collects tags and text, and fails where elements do not nest."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def check(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def check_closed(page: str) -> None:
    """Nothing is fetched and nothing runs."""
    checker = check(page)
    assert "script" not in {tag for tag, _ in checker.tags}
    for _, attributes in checker.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "poster"):
                assert value.startswith("data:")
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page
