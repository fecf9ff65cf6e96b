"""HTML and SVG taken apart by a parser that fails where elements do not nest, and what of it would reach the network."""

import re
from html.parser import HTMLParser

VOID = {"meta", "circle", "line", "polyline", "br", "img"}


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


def reaches(page: str) -> list[str]:
    """What in a page would run or be fetched, and the lack of a policy against it; empty for a page that needs nothing else."""
    found = re.findall(r"url\(|@import|https?://", page)
    for tag, attributes in check(page).tags:
        found += [tag] if tag == "script" else []
        found += [f"{tag} {name}" for name in attributes if name.startswith("on")]
        links = [name for name in ("src", "href", "poster") if not attributes.get(name, "data:").startswith("data:")]
        found += [f"{tag} {name}={attributes[name]}" for name in links]
    return found + ([] if "default-src 'none'" in page else ["no content security policy"])
