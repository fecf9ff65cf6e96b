"""Pages that need nothing else: ONE HTML file, to be opened from a disk, mailed or kept beside a checkpoint.

Styles and plots (`rtx.plots`) are inside, there is no script, and the page's own content security policy forbids the network.
Whatever comes from outside (names, instructions, paths) is escaped by who puts it in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; media-src data:; img-src data:"


def page(title: str, sections: Sequence[str]) -> str:
    """A whole HTML document in the house's looks, light or dark as the reader likes, of sections that are HTML already."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_style()}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


def _style() -> str:
    return Path(__file__).with_name("page.css").read_text()


def terms(items: Mapping[str, str]) -> str:
    """A list of terms and what they are."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in items.items()) + "</dl>"


def count(number: int, what: str) -> str:
    """`1 core`, `2 cores`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
