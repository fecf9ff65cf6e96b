"""Two data sets of Universal Robots' arms: Columbia's PushT (a pusher in the plane) and RoboAI's UR5e.

The UR5 of Berkeley's AUTOLAB has a file of its own; RoboAI's state is taken to follow its layout.
"""

from __future__ import annotations

import numpy as np

from rtx.data.oxe.arms import View, arm, images
from rtx.data.oxe.moves import motion_switch, values
from rtx.data.oxe.polarity import FLAGS, afterwards
from rtx.data.record import DatasetRecord, Trajectory
from rtx.data.standardize import canonical_action, canonical_proprio, ended, reached
from rtx.embodiment import CANONICAL, Field
from rtx.robots import fields
from rtx.robots.rotations import to_matrix


def standardize_pusht(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """x and y of the pusher are measured; its height and rotation stay, so their motion is zero, and known."""
    xy = values(trajectory, "observation/robot_state")
    pos = np.pad(xy, ((0, 0), (0, 1)))
    terminate = values(trajectory, "action/terminate_episode") > 0.5
    if motion == "reached":
        return reached(trajectory, pos=pos, rot=None, gripper=None, opening=None, terminate=terminate)
    rot = to_matrix(values(trajectory, "action/rotation_delta"), "rpy")
    action = canonical_action(values(trajectory, "action/world_vector"), rot, None, terminate)
    return trajectory | {"action": action, "proprio": canonical_proprio(pos, None, None)}


def standardize_robo_ai(trajectory: Trajectory) -> Trajectory:
    """state: joints (6), position (3), quaternion xyzw (4), gripper closed (1), action blocked (1)."""
    state = values(trajectory, "observation/robot_state")
    opening = 1 - state[:, 13]
    return reached(
        trajectory,
        pos=state[:, 6:9],
        rot=to_matrix(state[:, 9:13], "quat_xyzw"),
        gripper=afterwards(opening),
        opening=opening,
        terminate=ended(trajectory),
    )


_PUSHT_VIEWS = {
    "primary": View("image", 240, 320),
    "wrist": View("wrist_image", 240, 320, mounting="listed as a wrist camera, but not one in the usual sense"),
}
_ROBO_AI_VIEWS = {"primary": View("image", 480, 640)}

UR5: tuple[DatasetRecord, ...] = (
    DatasetRecord(
        name="columbia_cairlab_pusht_real",
        title="Columbia PushT (real)",
        embodiment=arm(
            "ur5_pusht", _PUSHT_VIEWS, hz=10.0, hardware="ur5",
            action=(fields.delta_pos(), fields.delta_rot(), fields.terminate()),
            proprio=(Field(name="eef_xy", width=2, unit="m", frame="base"),),
        ),
        images=images(_PUSHT_VIEWS),
        instructions=("observation/natural_language_instruction",),
        sentence_vector="observation/natural_language_embedding",
        keys={
            "action/world_vector": (3,), "action/rotation_delta": (3,), "action/terminate_episode": (),
            "observation/robot_state": (2,),
        },
        standardize=standardize_pusht,
        layout=CANONICAL.without("gripper", "proprio.eef_pos.2", "proprio.eef_rot", "proprio.gripper"),
        switches=(
            motion_switch(
                "command",
                command="the recorded world_vector, m (RT-X form), as it is",
                evidence="a documented delta in the base frame; other choice if it should turn out to be scaled",
            ),
        ),
        val_split="test",
        notes=(
            "the tool is a pusher: the recorded gripper action means nothing and is masked",
            "the instruction is the same in every episode",
            "the held-out episodes are the split test",
        ),
    ),
    DatasetRecord(
        name="robo_ai_u_r5e",
        title="RoboAI UR5e",
        embodiment=arm(
            "ur5e_robo_ai", _ROBO_AI_VIEWS, hz=5.0, hardware="ur5e",
            action=(fields.delta_pos(), fields.delta_rot(), fields.gripper(closed=1, opened=0)),
            proprio=(
                fields.joint_state(6), fields.eef_pos(), fields.eef_rot("quat_xyzw"),
                fields.gripper_state(closed=1, opened=0), Field(name="action_blocked", width=1, unit="1"),
            ),
        ),
        images=images(_ROBO_AI_VIEWS),
        instructions=("language_instruction",),
        keys={"observation/robot_state": (15,), **FLAGS},
        standardize=standardize_robo_ai,
        notes=(
            "control frequency not recorded: 5.0 is a placeholder",
            "the layout of the 15 numbers of robot_state is not published; they are read as AUTOLAB's UR5, whose 15 they match",
            "the recorded action has no published meaning, so neither motion nor gripper is taken from it: both are measured",
            "gripper command: the state of the gripper in the next step",
            "number of episodes not published; no reward or discount keys",
        ),
    ),
)  # fmt: skip
