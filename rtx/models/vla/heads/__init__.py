"""Continuous actions from readouts: what the backbone leaves in a few learned tokens becomes a chunk of actions.

    head = build_head("flow", chunk=k, action_dims=a)           a linen module; in `setup` of the network, or on its own
    per_sample = head.loss(readout, action, mask, rng)          readout [b, n, d], action [b, k, a], mask bool [b, k, a] -> [b]
    action = head.act(readout, rng, mask, promise)              [b, k, a] in [-1, 1]; held rows of the promise come back

A sample's loss is a mean over its valid entries, and 0 where it has none (web data). Entries that are not valid reach neither
the loss nor the network. Heads compute in float32.
"""

from __future__ import annotations

from rtx.errors import look_up
from rtx.models.vla.heads.diffusion import DiffusionHead
from rtx.models.vla.heads.flow import FlowHead
from rtx.models.vla.heads.l1 import L1Head

Head = DiffusionHead | FlowHead | L1Head
"""The kinds of heads: each has `loss` and `act` as above."""

HEADS: dict[str, type[Head]] = {"l1": L1Head, "diffusion": DiffusionHead, "flow": FlowHead}


def build_head(name: str, *, chunk: int, action_dims: int, width: int = 256) -> Head:
    """An unbound head; `width` is that of its hidden layers. Raises UserError for an unknown name."""
    return look_up("action head", name, HEADS)(chunk=chunk, action_dims=action_dims, width=width)


__all__ = ["HEADS", "DiffusionHead", "FlowHead", "Head", "L1Head", "build_head"]
