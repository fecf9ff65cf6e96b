"""The Open X-Embodiment catalogue: one record per data set, gathered from small themed files."""

from __future__ import annotations

from collections.abc import Mapping

from rtx.data.oxe.austin import AUSTIN
from rtx.data.oxe.bimanual import BIMANUAL
from rtx.data.oxe.bridge import BRIDGE
from rtx.data.oxe.dlr import DLR
from rtx.data.oxe.droid import DROID
from rtx.data.oxe.franka_cmu import CMU_FRANKA
from rtx.data.oxe.franka_joints import FRANKA_JOINTS
from rtx.data.oxe.franka_lab import FRANKA_LAB
from rtx.data.oxe.franka_stanford import STANFORD
from rtx.data.oxe.gnm import GNM
from rtx.data.oxe.google_robot import GOOGLE_ROBOT
from rtx.data.oxe.kuka_iiwa import KUKA_IIWA
from rtx.data.oxe.lab_arms import LAB_ARMS
from rtx.data.oxe.legged import LEGGED
from rtx.data.oxe.pr2 import PR2
from rtx.data.oxe.primitives import PRIMITIVES
from rtx.data.oxe.robo_net import ROBO_NET
from rtx.data.oxe.rtx_franka import RTX_FRANKA
from rtx.data.oxe.rtx_mix import RTX_MIX
from rtx.data.oxe.simulated_franka import SIMULATED_FRANKA
from rtx.data.oxe.single_arms import SINGLE_ARMS
from rtx.data.oxe.stretch import STRETCH
from rtx.data.oxe.ur5 import UR5
from rtx.data.oxe.xarm import XARM
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
        GNM,
        GOOGLE_ROBOT,
        KUKA_IIWA,
        ROBO_NET,
        RTX_FRANKA,
        RTX_MIX,
        SIMULATED_FRANKA,
        SINGLE_ARMS,
        BIMANUAL,
        DLR,
        LAB_ARMS,
        LEGGED,
        PR2,
        PRIMITIVES,
        STRETCH,
        UR5,
        XARM,
    )
    for record in group
}
"""Every record by name. Each themed file has one tuple of records; add a new file's tuple here."""
