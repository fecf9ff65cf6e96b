"""Hello Robot's Stretch: CMU's robot, Dobb-E's hand-held stick with its gripper, and SPOC's simulated one.

SPOC's poses are AI2-THOR's (x right, y up, z forward; degrees, clockwise as seen from above). Here: x = z', y = -x', z = y',
and angles change their sign.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rtx.data.oxe.arms import View, arm, images, keys
from rtx.data.oxe.gnm import driven
from rtx.data.oxe.layouts import ARM_AND_BASE
from rtx.data.oxe.moves import motion_switch, values
from rtx.data.oxe.polarity import FLAGS
from rtx.data.record import DatasetRecord, Switch, Trajectory
from rtx.data.standardize import canonical_action, canonical_proprio, ended, reached
from rtx.embodiment import CANONICAL, CANONICAL_PROPRIO, ActionField, Field, Layout
from rtx.robots import fields
from rtx.robots.oxe import STRETCH_CMU
from rtx.robots.rotations import to_matrix

TRACKED_WITHIN_M = 10.0
"""Positions beyond are lost tracking: a demonstration moves by an arm's length. RDT clips there."""


def standardize_cmu(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """The rotation of the gripper is not measured."""
    action, state = values(trajectory, "action"), values(trajectory, "observation/state")
    pos, terminate = state[:, :3], action[:, 7] > 0.5
    if motion == "reached":
        return reached(trajectory, pos=pos, rot=None, gripper=action[:, 6], opening=state[:, 3], terminate=terminate)
    trajectory["action"] = canonical_action(action[:, :3], None, action[:, 6], terminate)
    trajectory["proprio"] = canonical_proprio(pos, None, state[:, 3])
    return trajectory


def standardize_dobbe(trajectory: Trajectory, *, rotation: str) -> Trajectory:
    if rotation == "rpy":
        rot = to_matrix(values(trajectory, "observation/rot"), "rpy")
    else:
        quat = values(trajectory, "observation/quat")
        rot = to_matrix(quat, "quat_xyzw" if rotation == "xyzw" else "quat_wxyz")
    return reached(
        trajectory,
        pos=values(trajectory, "observation/xyz"),
        rot=rot,
        gripper=values(trajectory, "action")[:, 6],
        opening=values(trajectory, "observation/gripper")[:, 0],
        terminate=ended(trajectory),
    )


def is_tracked(trajectory: Trajectory) -> bool:
    """Whether the camera knew where it was, all the time."""
    return bool(np.all(np.abs(values(trajectory, "observation/xyz")) < TRACKED_WITHIN_M))


def standardize_spoc(trajectory: Trajectory) -> Trajectory:
    """Grasps are magic: "pickup" closes, "dropoff" opens, otherwise the gripper stays as what it holds says."""
    action = values(trajectory, "action")
    wrist, agent = values(trajectory, "observation/relative_arm_location_metadata"), _agent(trajectory)
    empty = 1 - values(trajectory, "observation/an_object_is_in_hand")
    yaw = np.stack([np.zeros(len(wrist)), np.zeros(len(wrist)), -np.deg2rad(wrist[:, 3])], -1)
    result = reached(
        trajectory,
        pos=np.stack([wrist[:, 2], -wrist[:, 0], wrist[:, 1]], -1),
        rot=to_matrix(yaw, "rpy"),
        gripper=np.where(action[:, 5] > 0.5, 0.0, np.where(action[:, 6] > 0.5, 1.0, empty)),
        opening=empty,
        terminate=action[:, 7] > 0.5,
    )
    n, heading = len(result["action"]), np.stack([np.cos(agent[:, 2]), np.sin(agent[:, 2])], -1)
    result["action"] = np.concatenate([result["action"], driven(agent[:, :2], agent[:, 2])], -1)
    where = np.concatenate([agent[:, :2], heading], -1)[:n].astype(np.float32)
    result["proprio"] = np.concatenate([result["proprio"], where], -1)
    return result


def _agent(trajectory: Trajectory) -> Float[np.ndarray, "t 3"]:
    """Where the base stands: x, y (m) and yaw (rad, to the left)."""
    place = values(trajectory, "observation/last_agent_location")
    return np.stack([place[:, 2], -place[:, 0], -np.deg2rad(place[:, 4])], -1)


_DOBBE_VIEWS = {"wrist": View("wrist_image", 256, 256)}
_SPOC_VIEWS = {
    "primary": View("image", 224, 384, mounting="navigation camera, looking forward"),
    "wrist": View("image_manipulation", 224, 384, mounting="on the base, looking at the arm"),
}
_OPENNESS = fields.gripper(closed=0, opened=1)
_ONES = ("pickup", "dropoff", "done", "sub_done")
_SPOC_ACTION: tuple[ActionField, ...] = (
    ActionField(name="base_theta", width=1, kind="base_delta_rot", unit="deg", frame="base"),
    ActionField(name="base_z", width=1, kind="base_delta_pos", unit="m", frame="base"),
    ActionField(name="arm_yz", width=2, kind="delta_pos", unit="m", frame="base"),
    ActionField(name="wrist_yaw", width=1, kind="delta_rot", unit="deg", frame="base"),
    *(ActionField(name=name, width=1, kind="terminate", unit="1", low=0.0, high=1.0, normalize=False) for name in _ONES),
)

STRETCH: tuple[DatasetRecord, ...] = (
    DatasetRecord(
        name="cmu_stretch",
        title="CMU Stretch",
        embodiment=STRETCH_CMU,
        images=keys(STRETCH_CMU, primary="image"),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (8,), "observation/state": (4,)},
        standardize=standardize_cmu,
        layout=CANONICAL.without("delta_rot", "proprio.eef_rot"),
        switches=(
            motion_switch(
                "reached",
                command="the recorded action as a delta, m (Octo, OpenVLA, RDT)",
                evidence="a delta by loader convention only; the measured positions are right in either case",
            ),
        ),
        notes=(
            "the recorded rotation is mostly zero and of unknown meaning, none is measured: masked",
            "the y of the measured position is always 0 (the arm moves along x and z)",
            "gripper: 1 is taken as open, in command and state, as all loaders do",
        ),
    ),
    DatasetRecord(
        name="dobbe",
        title="Dobb-E",
        embodiment=arm(
            "stretch_dobbe", _DOBBE_VIEWS, hz=30.0, hardware="stretch", morphology="hand-held stick with a robot's gripper",
            action=(fields.delta_pos(frame="tool"), fields.delta_rot(frame="tool"), _OPENNESS),
            proprio=(fields.eef_pos(), fields.eef_rot("rpy"), fields.gripper_state(closed=0, opened=1)),
        ),
        images=images(_DOBBE_VIEWS),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={
            "action": (7,), "observation/xyz": (3,), "observation/quat": (4,), "observation/rot": (3,),
            "observation/gripper": (1,), **FLAGS,
        },
        standardize=standardize_dobbe,
        keep=is_tracked,
        switches=(
            Switch(
                name="rotation",
                question="which key is the orientation, and in which form?",
                options={
                    "xyzw": "observation/quat, scalar last",
                    "wxyz": "observation/quat, scalar first",
                    "rpy": "observation/rot as roll, pitch, yaw (RDT)",
                },
                default="xyzw",
                evidence="the set does not say; the project's own code works with scipy, whose quaternions are xyzw",
            ),
        ),
        notes=(
            "30 Hz as captured (RDT): 21 GiB in 5,208 episodes of small JPEGs make the 1.5 million frames of the project's "
            "paper; any4lerobot says 3.75 Hz, the rate that policies were trained at",
            "poses are those of the stick's camera in the frame of its tracker, not in that of a robot",
            "the recorded action is in the camera's frame and of disputed unit, so the motion is the measured one",
            "episodes with a position beyond 10 m (lost tracking) are dropped",
        ),
    ),
    DatasetRecord(
        name="spoc_robot",
        other_names=("spoc",),
        title="SPOC",
        embodiment=arm(
            "stretch_spoc", _SPOC_VIEWS, hz=5.0, hardware="stretch", morphology="arm on a wheeled base, simulated",
            action=_SPOC_ACTION,
            proprio=(
                Field(name="wrist_pose_thor", width=4, unit="m and deg", frame="base"),
                Field(name="agent_pose_thor", width=6, unit="m and deg", frame="world"),
            ),
        ),
        images=images(_SPOC_VIEWS),
        instructions=("language_instruction",),
        keys={
            "action": (9,), "observation/relative_arm_location_metadata": (4,), "observation/last_agent_location": (6,),
            "observation/an_object_is_in_hand": (),
        },
        standardize=standardize_spoc,
        layout=Layout(action=ARM_AND_BASE.action, proprio=(*CANONICAL_PROPRIO, *fields.BASE_POSE)),
        notes=(
            "discrete steps (0.2 m, 30 or 6 degrees, 0.1 or 0.02 m of the arm): no control frequency, 5.0 is a placeholder",
            "the nine numbers: base_theta, base_z, arm_y, arm_z, wrist_yaw, then flags pickup, dropoff, done, sub_done",
            "motion is taken from the measured poses of base and wrist",
            "sub_done, which only the simulator's tasks have, is left out",
            "the builder's copy ends each episode one step early, so is_last is never set",
        ),
    ),
)  # fmt: skip
