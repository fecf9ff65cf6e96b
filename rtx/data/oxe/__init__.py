"""The Open X-Embodiment catalogue: one record per data set, gathered from small themed files."""

from __future__ import annotations

from collections.abc import Mapping

from rtx.data.oxe.austin import AUSTIN
from rtx.data.oxe.bridge import BRIDGE
from rtx.data.oxe.droid import DROID
from rtx.data.oxe.franka_cmu import CMU_FRANKA
from rtx.data.oxe.franka_joints import FRANKA_JOINTS
from rtx.data.oxe.franka_lab import FRANKA_LAB
from rtx.data.oxe.franka_stanford import STANFORD
from rtx.data.oxe.simulated_franka import SIMULATED_FRANKA
from rtx.data.oxe.single_arms import SINGLE_ARMS
from rtx.data.record import DatasetRecord

OXE: Mapping[str, DatasetRecord] = {
    record.name: record
    for group in (
        BRIDGE,
        AUSTIN,
        DROID,
        CMU_FRANKA,
        FRANKA_JOINTS,
        FRANKA_LAB,
        STANFORD,
        SIMULATED_FRANKA,
        SINGLE_ARMS,
    )
    for record in group
}
"""Every record by name. Each themed file has one tuple of records; add a new file's tuple here."""
