"""A released RT-1-X as a checkpoint of ours: `load_policy` serves it like one that was trained here.

Its eleven action tokens lie between fixed bounds, and each data set was scaled into them before training. Both are lines
through the middle, so they go into the contract as the range [q01, q99] of each robot:

    model space -1 .. 1   <->   tokens 0 .. 511   <->   bounds   <-- times scale --   physical action

    world_vector +-2, rotation_delta +-pi/2, gripper_closedness +-1, base rotation +-pi, base displacement +-1
    Google robot: as is (m, rad)        WidowX: 0.05 m is 1.75, 0.25 rad is 1.4, so the bounds are +-0.0571 m and +-0.2805 rad

Its pictures were padded to 256 x 320 (`Contract.fit`). It says nothing about states (the network has no such input): the
contract's robots have the canonical one with every dimension unknown. Source: google-deepmind/open_x_embodiment,
`models/rt1.py` and `colabs/Minimal_Training_Example.ipynb`.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from rtx.embodiment import CANONICAL, CANONICAL_ARM, ActionSpace, Layout
from rtx.errors import UserError
from rtx.models.rt1x.config import RT1XConfig, rt1x
from rtx.models.sentences import SentenceTable
from rtx.robots import fields
from rtx.robots.google_robot import GOOGLE_ROBOT
from rtx.robots.rt1x_bounds import BASE_DISPLACEMENT, BASE_ROTATION, BRIDGE_SCALE, ROTATION_DELTA, WORLD_VECTOR
from rtx.robots.widowx import WIDOWX_250
from rtx.spec import Contract, FieldStatistics, Statistics

ENCODER = "universal-sentence-encoder-large/5"
_SOURCE = "bounds of RT-1-X's action tokens and its per-set scaling"

ARM_ON_BASE = Layout(action=ActionSpace(fields=(*CANONICAL_ARM.fields, *fields.base_delta()))).without("proprio")
ARM = CANONICAL.without("proprio")


def bounds_as_statistics(layout: Layout, *, world_scale: float = 1.0, rotation_scale: float = 1.0) -> Statistics:
    """The token bounds in the physical units of a data set whose actions were multiplied by these scales before training."""
    reach = {
        "delta_pos": WORLD_VECTOR / world_scale, "delta_rot": ROTATION_DELTA / rotation_scale,
        "base_delta_pos": BASE_DISPLACEMENT, "base_delta_yaw": BASE_ROTATION,
    }  # fmt: skip
    low = layout.action.per_dim(lambda f: -reach[f.name] if f.name in reach else f.low)
    high = layout.action.per_dim(lambda f: reach.get(f.name, f.high))
    zeros = np.zeros(layout.proprio_width)
    return Statistics(
        action=_between(low, high), proprio=_between(zeros, zeros), num_episodes=0, source=_SOURCE
    )  # none of the data was counted here


def _between(low: np.ndarray, high: np.ndarray) -> FieldStatistics:
    lows, highs = tuple(map(float, low)), tuple(map(float, high))
    middle, spread = tuple(map(float, (low + high) / 2)), tuple(map(float, (high - low) / math.sqrt(12)))
    return FieldStatistics(mean=middle, std=spread, min=lows, max=highs, q01=lows, q99=highs, count=0)


def rt1x_contract() -> Contract:
    """The two robots RT-1-X was published and evaluated with, under the names of their data sets."""
    return Contract(
        roles=("primary",), image_size=(256, 320), fit="pad", history=15, chunk=1,
        embodiments={"fractal20220817_data": GOOGLE_ROBOT, "bridge": WIDOWX_250},
        layouts={"fractal20220817_data": ARM_ON_BASE, "bridge": ARM},
        statistics={
            "fractal20220817_data": bounds_as_statistics(ARM_ON_BASE),
            "bridge": bounds_as_statistics(ARM, world_scale=BRIDGE_SCALE[0], rotation_scale=BRIDGE_SCALE[1]),
        },
    )  # fmt: skip


def convert_rt1x(
    path: Path,
    out: Path,
    *,
    sentences: SentenceTable | None = None,
    contract: Contract | None = None,
    config: RT1XConfig | None = None,
) -> Path:
    """Reads the released checkpoint at `path` (either format), checks every leaf, writes `out/checkpoints/0`; returns that.

    `sentences`: the vectors of the instructions it will be given; without one it knows the empty instruction only.
    `contract`: for robots other than `rt1x_contract`'s. `config`: of a network other than the released one. Raises
    UserError and WorldError as `read_released` and `save`, and UserError where `out` holds a checkpoint already.
    """
    from rtx.models.families import model_to_json
    from rtx.models.rt1x.model import RT1X
    from rtx.models.rt1x.released import read_released
    from rtx.train.checkpoint import SideFiles, save

    config = config or rt1x()
    if (out / "checkpoints" / "0").exists():
        raise UserError(f"{out} holds a checkpoint already; give a new folder")
    table = sentences or SentenceTable((), np.zeros((0, config.sentence_width), np.float32), encoder=ENCODER)
    if table.width != config.sentence_width:
        raise UserError(f"the sentence table has vectors of {table.width}, RT-1-X reads {config.sentence_width} ({ENCODER})")
    side = SideFiles(
        contract=contract or rt1x_contract(), model=model_to_json(RT1X(config)), tokenizer=table.to_json(), data={}, config={}
    )
    return save(out / "checkpoints", step=0, state={"variables": read_released(path, config)}, side=side)
