"""Claims of the source papers as commands: each trains what it compares, plays it, and says what the figures allow to say.

stages            whose folder, which stage, how long: shared with the quickstart
rt2_cotraining    RT-2's claim about co-fine-tuning with web data
questions         what a model kept of its web data
report            the page and the table
"""

from __future__ import annotations

from pathlib import Path

from rtx.errors import unknown_name

EXPERIMENTS = ("rt2-cotraining",)


def reproduce(name: str, out: Path, *, preset: str = "default", num_workers: int = 2) -> str:
    """Runs what is not done yet of one of `EXPERIMENTS` in the folder `out`; returns what to print.

    Raises UserError for a name or a preset that there is not, or a folder that holds something else.
    """
    if name not in EXPERIMENTS:
        raise unknown_name("experiment", name, EXPERIMENTS)
    from rtx.reproduce.rt2_cotraining import rt2_cotraining

    return rt2_cotraining(out, preset=preset, num_workers=num_workers)
