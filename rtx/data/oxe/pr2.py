"""The two PR2 data sets of the University of Tokyo: one arm of the robot, positions in millimetres.

    state    position (mm), rpy (rad), gripper opening (mm, 0 .. 86.7)
    action   position (mm), rpy (rad), gripper command, terminate

The text of the action says position, loaders take it for a delta: what was reached is the action.
"""

from __future__ import annotations

import dataclasses

from rtx.data.oxe.arms import keys
from rtx.data.oxe.moves import motion_switch, moved, values
from rtx.data.oxe.polarity import openness, polarity_switch
from rtx.data.record import DatasetRecord, Trajectory
from rtx.robots.oxe import PR2_STROKE_MM, PR2_TABLETOP
from rtx.robots.rotations import to_matrix


def standardize(trajectory: Trajectory, *, motion: str, gripper: str) -> Trajectory:
    action, state = values(trajectory, "action"), values(trajectory, "observation/state")
    return moved(
        trajectory,
        motion,
        command=(action[:, :3] / 1000, to_matrix(action[:, 3:6], "rpy")),
        pos=state[:, :3] / 1000,
        rot=to_matrix(state[:, 3:6], "rpy"),
        gripper=openness(action[:, 6], gripper),
        opening=state[:, 6] / PR2_STROKE_MM,
        terminate=action[:, 7] > 0.5,
    )


_MOTION = motion_switch(
    "reached",
    command="the recorded action as a delta, mm and rad (Octo, OpenVLA, RDT)",
    evidence="its text says position, loaders feed it as a delta; the measured poses are right in either case",
)
_GRIPPER = polarity_switch(evidence="RDT turns it round set by set; Octo and OpenVLA pass every disputed one through")
_ROBOTS = {
    "opening_fridge": dataclasses.replace(PR2_TABLETOP, name="pr2_opening_fridge"),
    "tabletop_manipulation": PR2_TABLETOP,
}


def _record(task: str, title: str, *notes: str) -> DatasetRecord:
    return DatasetRecord(
        name=f"utokyo_pr2_{task}_converted_externally_to_rlds",
        title=title,
        embodiment=_ROBOTS[task],
        images=keys(PR2_TABLETOP, primary="image"),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (8,), "observation/state": (7,)},
        standardize=standardize,
        switches=(_MOTION, _GRIPPER),
        notes=("positions are stored in millimetres", *notes),
    )


PR2: tuple[DatasetRecord, ...] = (
    _record("opening_fridge", "UTokyo PR2 opening fridge"),
    _record(
        "tabletop_manipulation", "UTokyo PR2 tabletop manipulation",
        "the gripper points straight down all the time: pitch is exactly 90 degrees, where roll and yaw are one",
    ),
)  # fmt: skip
