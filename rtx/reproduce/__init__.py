"""Claims of the source papers as commands: each trains what it compares, plays it, and says what the figures allow to say.

stages            whose folder, which stage, how long: shared with the quickstart
parts             what the pages of the experiments have in common
rt2_cotraining    RT-2's claim about co-fine-tuning with web data
questions         what a model kept of its web data
report            its page and table
rtx_transfer      Open X-Embodiment's claim about learning from other arms
transfer_report   its page and table
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rtx.errors import unknown_name

EXPERIMENTS: Mapping[str, str] = {
    "rt2-cotraining": "fine-tuning with and without web data",
    "rtx-transfer": "one policy on all arms' data against one for each arm, and a new arm with and without it",
}
"""What each is about."""


def reproduce(name: str, out: Path, *, preset: str = "default", num_workers: int = 2) -> str:
    """Runs what is not done yet of one of `EXPERIMENTS` in the folder `out`; returns what to print.

    Raises UserError for a name or a preset that there is not, or a folder that holds something else.
    """
    if name not in EXPERIMENTS:
        raise unknown_name("experiment", name, EXPERIMENTS)
    if name == "rt2-cotraining":
        from rtx.reproduce.rt2_cotraining import rt2_cotraining

        return rt2_cotraining(out, preset=preset, num_workers=num_workers)
    from rtx.reproduce.rtx_transfer import rtx_transfer

    return rtx_transfer(out, preset=preset, num_workers=num_workers)
