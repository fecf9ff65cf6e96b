"""Beginning where another training ended: a checkpoint's parameters by name, everything else of the run fresh.

train.start=RUN    both have it: taken      only the new model has it (a head, adapters): made anew, counted
                   only the checkpoint has it, or in another shape: UserError, with all of them
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import UserError
from rtx.train import pytree
from rtx.train.checkpoint import open_checkpoint

log = logging.getLogger(__name__)


def starting_variables(path: Path, wanted: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """`path in the variables -> array` of the checkpoint at `path`, averaged parameters if it kept them, in the dtypes of
    `wanted` (`variable path -> array-like`, what the new model has).

    Raises UserError naming what does not fit; `open_checkpoint`'s errors where there is no checkpoint.
    """
    opened = open_checkpoint(path)
    found = {name: np.asarray(leaf) for name, leaf in pytree.flatten(opened.variables).items()}
    lines = [f"{name}: the new model has none" for name in sorted(set(found) - set(wanted))]
    lines += [
        f"{name}: {list(leaf.shape)}, the new model has {list(wanted[name].shape)}"
        for name, leaf in sorted(found.items())
        if name in wanted and leaf.shape != wanted[name].shape
    ]
    if lines:
        raise UserError("\n  ".join([f"train.start: the parameters of {opened.path} do not fit this model:", *lines]))
    fresh = [name for name in wanted if name not in found]
    log.info(
        "start: from=%s taken=%d initialised=%d%s",
        opened.path, len(found), len(fresh), f" ({', '.join(fresh[:3])}{', ...' if len(fresh) > 3 else ''})" if fresh else "",
    )  # fmt: skip
    return {name: leaf.astype(wanted[name].dtype, copy=False) for name, leaf in found.items()}
