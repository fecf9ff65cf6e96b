"""Gripper commands whose sense the sources dispute, and those that no one recorded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from rtx.data.record import Switch

FLAGS: Mapping[str, tuple[int, ...]] = {"is_last": (), "is_terminal": ()}
"""What `rtx.data.standardize.ended` reads."""


def polarity_switch(*, evidence: str) -> Switch:
    """What a gripper command of 1 means. RDT says closed wherever it is disputed in this catalogue."""
    return Switch(
        name="gripper",
        question="what does a gripper command of 1 mean?",
        options={"one_is_closed": "closed (RDT)", "one_is_open": "open (Octo and OpenVLA pass it through)"},
        default="one_is_closed",
        evidence=evidence,
    )


def openness(command: Float[np.ndarray, " t"], gripper: str) -> Float[np.ndarray, " t"]:
    """A command in 0..1 as openness, by the option of `polarity_switch`."""
    return 1 - command if gripper == "one_is_closed" else command


def afterwards(opening: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """The opening at the start of the next step: the command of a set that records none. The last step keeps its own."""
    return np.append(opening[1:], opening[-1:])
