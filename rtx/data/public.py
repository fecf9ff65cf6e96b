"""Demonstrations recorded in public simulation suites: one record for each of their arms, all with the same keys.

    observation/<role>     jpeg         each camera, RGB
    observation/state      float32[m]   native proprio, the fields of the embodiment one after the other
    action                 float32[n]   native action, likewise
    language_instruction   string

What the native numbers mean is said once, in `rtx.robots.public_arms`; the canonical action is computed by the adapter that a
policy's actions go through, the other way round.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from rtx.data.record import DatasetRecord, ImageKey, Trajectory
from rtx.robots.adapter import Adapter
from rtx.robots.public_arms import PUBLIC_ARMS

INSTRUCTION = "language_instruction"


def image_key(role: str) -> str:
    return f"observation/{role}"


def standardize_public(trajectory: Trajectory, *, arm: str) -> Trajectory:
    """`arm`: the name in `PUBLIC_ARMS`."""
    adapter = Adapter(*PUBLIC_ARMS[arm])
    state = np.asarray(trajectory["observation"]["state"], np.float64)
    action = adapter.to_canonical(np.asarray(trajectory["action"], np.float64), proprio_native=state)
    if "terminate" in adapter.layout.action.slices:
        action[:, adapter.layout.action.slices["terminate"]] = np.asarray(trajectory["is_terminal"])[:, None]
    return trajectory | {"action": action, "proprio": adapter.proprio(state)}


def _record(arm: str) -> DatasetRecord:
    robot, layout = PUBLIC_ARMS[arm]
    return DatasetRecord(
        name=arm,
        title=f"demonstrations in a public suite, {arm}",
        license="as the suite's",
        embodiment=robot,
        layout=layout,
        images={role: ImageKey(path=image_key(role)) for role in robot.roles},
        instructions=(INSTRUCTION,),
        keys={
            "action": (robot.action.width,), "observation/state": (sum(field.width for field in robot.proprio),),
            "is_last": (), "is_terminal": (),
        },
        standardize=functools.partial(standardize_public, arm=arm),
        notes=("written by rtx suite record; simulated (docs/public_suites.md)",),
    )  # fmt: skip


PUBLIC: Mapping[str, DatasetRecord] = {arm: _record(arm) for arm in PUBLIC_ARMS}
