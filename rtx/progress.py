"""One progress bar for whatever takes more than a few seconds: live on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Advance = Callable[..., None]
_LINE_EVERY_S = 15.0


@contextlib.contextmanager
def bar(title: str, total: int, *, done: int = 0) -> Iterator[Advance]:
    """Yields `advance(n=1, note="")`. `done` counts what an earlier run finished: it is shown, not timed.

    Writes to stderr: standard output belongs to the command's result.
    """
    if sys.stderr.isatty():
        with _live_bar(title, total, done) as advance:
            yield advance
    else:
        with _lines(title, total, done) as advance:
            yield advance


@contextlib.contextmanager
def nowhere() -> Iterator[Advance]:
    """Of a process that is one of many: another shows it."""
    yield lambda n=1, note="": None


@contextlib.contextmanager
def _live_bar(title: str, total: int, done: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=600) as progress:
        task = progress.add_task(title, total=total, completed=done, note="")
        yield lambda n=1, note="": progress.update(task, advance=n, note=note)


@contextlib.contextmanager
def _lines(title: str, total: int, done: int) -> Iterator[Advance]:
    start = last = time.monotonic()
    count = done
    first: tuple[int, float] | None = None  # what was done after the first piece, and when: it may hold a compilation

    def show(note: str) -> None:
        now = time.monotonic()
        timed = 0 if first is None else count - first[0]
        left = f", {duration((now - first[1]) / timed * (total - count))} left" if first and timed and count < total else ""
        print(f"{title}: {count}/{total}, {duration(now - start)}{left} {note}".rstrip(), file=sys.stderr, flush=True)

    def advance(n: int = 1, note: str = "") -> None:
        nonlocal count, last, first
        count += n
        first = first or (count, time.monotonic())
        if time.monotonic() - last >= _LINE_EVERY_S:
            last = time.monotonic()
            show(note)

    yield advance
    show("")


def duration(seconds: int | float) -> str:
    """`40 s`, `12 min`, `3 h 5 min`, `2 d 4 h`: as exact as a person wants to know."""
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
