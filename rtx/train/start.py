"""Beginning where another training ended: a checkpoint's parameters by name, everything else of the run fresh.

train.start=RUN             both have it: taken      only the new model has it (a head, adapters): made anew, counted
                            only the checkpoint has it, or in another shape: UserError, with all of them
train.start_without=RULES   what matches is not taken, whatever its shape: another head, another number of robots
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rtx.errors import UserError
from rtx.models.lora import no_match
from rtx.train import pytree
from rtx.train.checkpoint import open_checkpoint
from rtx.train.config import OptimizationConfig

log = logging.getLogger(__name__)


def starting_variables(config: OptimizationConfig, wanted: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """`path in the variables -> array` of the checkpoint at `config.start`, averaged parameters if it kept them, in the dtypes
    of `wanted` (`variable path -> array-like`, what the new model has).

    Raises UserError naming all that does not fit, or a rule that matches nothing; `open_checkpoint`'s errors where there is
    no checkpoint.
    """
    opened = open_checkpoint(config.start)
    kept = {name: np.asarray(leaf) for name, leaf in pytree.flatten(opened.variables).items()}
    left = _left(config.start_without, kept)
    found = {name: leaf for name, leaf in kept.items() if name not in left}
    lines = [f"{name}: the new model has none" for name in sorted(set(found) - set(wanted))]
    lines += [
        f"{name}: {list(leaf.shape)}, the new model has {list(wanted[name].shape)}"
        for name, leaf in sorted(found.items())
        if name in wanted and leaf.shape != wanted[name].shape
    ]
    if lines:
        head = f"train.start: the parameters of {opened.path} do not fit this model (train.start_without leaves some of them):"
        raise UserError("\n  ".join([head, *lines]))
    fresh = [name for name in wanted if name not in found]
    log.info(
        "start: from=%s taken=%d left=%d initialised=%d%s", opened.path, len(found), len(left), len(fresh),
        f" ({', '.join(fresh[:3])}{', ...' if len(fresh) > 3 else ''})" if fresh else "",
    )  # fmt: skip
    return {name: leaf.astype(wanted[name].dtype, copy=False) for name, leaf in found.items()}


def _left(rules: tuple[str, ...], kept: Mapping[str, Any]) -> set[str]:
    """Paths of `kept` that a rule matches; as in `train.freeze`, those of parameters begin after "params/"."""
    paths = {name.removeprefix("params/"): name for name in kept}
    left: set[str] = set()
    for rule in rules:
        matching = {name for path, name in paths.items() if re.search(rule, path)}
        if not matching:
            raise no_match("train.start_without", rule, paths, what="parameter of train.start")
        left |= matching
    return left
