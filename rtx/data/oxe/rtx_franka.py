"""The Franka arms of the RT-X mix: Freiburg's play data (taco_play), cable routing, VIOLA, TOTO.

taco_play       actions: target pose xyz m, rpy; gripper -1..1        robot_obs: pose, gripper width at index 6, joints
cable_routing   velocities xyz and about z, no gripper                robot_state: xyz, quaternion xyzw
viola           the controller's own units; gripper -1 open, 1 closed ee_states: 4x4 pose, column after column
toto            velocities; open_gripper                              state: joints only
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rtx.data.oxe.arms import View, arm, images, keys
from rtx.data.oxe.moves import between, drift, motion_switch, moved, toward, values
from rtx.data.record import DatasetRecord, DepthKey, Switch, Trajectory
from rtx.data.standardize import canonical_action, cut, pose_matrix, reached
from rtx.embodiment import CANONICAL, Layout
from rtx.robots import fields
from rtx.robots.hardware import FRANKA_HAND_M
from rtx.robots.oxe import FRANKA_TACO_PLAY
from rtx.robots.rotations import to_matrix

_CABLE_HZ, _TOTO_HZ = 10.0, 30.0
_TEXT = ("observation/natural_language_instruction",)
_NO_TASK = "the sentence says nothing of the task (Octo blanks it)"


def standardize_taco_play(trajectory: Trajectory, *, motion: str, gripper: str) -> Trajectory:
    """robot_obs: position, rpy, gripper width (index 6; index 7 is the first joint), joints (7), last gripper action."""
    target, obs = values(trajectory, "action/actions"), values(trajectory, "observation/robot_obs")
    rot = to_matrix(obs[:, 3:6], "rpy")
    opened = (1 + target[:, 6]) / 2
    return moved(
        trajectory,
        motion,
        command=toward(obs[:, :3], rot, target[:, :3], to_matrix(target[:, 3:6], "rpy")),
        pos=obs[:, :3],
        rot=rot,
        gripper=opened if gripper == "one_is_open" else 1 - opened,
        opening=obs[:, 6] / FRANKA_HAND_M,
        terminate=values(trajectory, "action/terminate_episode") > 0.5,
    )


def standardize_cable_routing(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """The rate of turn is about z; both routes yield it in the yaw's place."""
    state = values(trajectory, "observation/robot_state")
    linear, angular = values(trajectory, "action/world_vector"), values(trajectory, "action/rotation_delta")
    return moved(
        trajectory,
        motion,
        command=drift(linear, angular, _CABLE_HZ),
        pos=state[:, :3],
        rot=to_matrix(state[:, 3:], "quat_xyzw"),
        gripper=None,
        opening=None,
        terminate=values(trajectory, "action/terminate_episode") > 0.5,
    )


def standardize_viola(trajectory: Trajectory) -> Trajectory:
    """Padding steps, whose pose is all zeros, are cut before motion is measured."""
    trajectory = cut(trajectory, np.any(values(trajectory, "observation/ee_states") != 0, axis=-1))
    pos, rot = pose_matrix(values(trajectory, "observation/ee_states"))
    return reached(
        trajectory,
        pos=pos,
        rot=rot,
        gripper=(1 - values(trajectory, "action/gripper_closedness_action")) / 2,
        opening=values(trajectory, "observation/gripper_states")[:, 0] / FRANKA_HAND_M,
        terminate=values(trajectory, "action/terminate_episode") > 0.5,
    )


def standardize_toto(trajectory: Trajectory, *, commands: str) -> Trajectory:
    """open_gripper is an openness; the RT-X notebook copies it into closedness as it is."""
    pos, rot = values(trajectory, "action/world_vector"), values(trajectory, "action/rotation_delta")
    gripper, terminate = values(trajectory, "action/open_gripper"), values(trajectory, "action/terminate_episode") > 0.5
    joints: Float[np.ndarray, "t 7"] = values(trajectory, "observation/state")
    if commands == "targets":
        return between(
            trajectory, target_pos=pos, target_rot=to_matrix(rot, "rpy"), gripper=gripper, terminate=terminate, proprio=joints
        )
    hz = _TOTO_HZ if commands == "velocities" else 1.0
    action = canonical_action(pos / hz, to_matrix(rot / hz, "rpy"), gripper, terminate)
    return trajectory | {"action": action, "proprio": joints.astype(np.float32)}


_CABLE_VIEWS = {
    "primary": View("image", 128, 128),
    "secondary": View("top_image", 128, 128, mounting="above the board"),
    "tertiary": View("wrist225_image", 128, 128, mounting="wrist, at 225 degrees"),
    "wrist": View("wrist45_image", 128, 128, mounting="wrist, at 45 degrees"),
}
_VIOLA_VIEWS = {"primary": View("agentview_rgb", 224, 224), "wrist": View("eye_in_hand_rgb", 224, 224)}
_TOTO_VIEWS = {"primary": View("image", 480, 640)}
_HAND = fields.gripper_state(closed=0, opened=FRANKA_HAND_M, unit="m")

TACO_PLAY = DatasetRecord(
    name="taco_play",
    title="Freiburg Franka Play (TACO-RL)",
    embodiment=FRANKA_TACO_PLAY,
    images=keys(FRANKA_TACO_PLAY, primary="rgb_static", wrist="rgb_gripper"),
    depth={
        "primary": DepthKey(path="observation/depth_static"),
        "wrist": DepthKey(path="observation/depth_gripper"),
    },
    instructions=_TEXT,
    sentence_vector="observation/natural_language_embedding",
    keys={"action/actions": (7,), "action/terminate_episode": (), "observation/robot_obs": (15,)},
    standardize=standardize_taco_play,
    switches=(
        motion_switch(
            "command", command="target pose of `actions` less the measured one",
            evidence="`actions` are documented as absolute poses in the base frame; rel_actions_* have no documented unit",
        ),
        Switch(
            name="gripper",
            question="what does a gripper command of +1 mean?",
            options={
                "one_is_open": "open (Octo, OpenVLA, a converter that aligned frames)",
                "one_is_closed": "closed (the data set's text, RDT)",
            },
            default="one_is_open",
            evidence="the recording lab's own convention (CALVIN) has +1 open, and three readers of the data agree with it",
        ),
    ),
    notes=(
        "text and consumers dispute the Euler order; the first angle's range reaches +-3.2 with the gripper pointing down, so "
        "it is the roll: roll, pitch, yaw",
        "gripper width is robot_obs[6], 0 .. 0.081 m; Octo and OpenVLA read index 7, the first joint",
        "structured_language_instruction holds one of 25 task names; the sentence in natural language is used",
        "depth maps are plain float32 tensors",
    ),
)  # fmt: skip

CABLE_ROUTING = DatasetRecord(
    name="berkeley_cable_routing",
    title="Berkeley Cable Routing",
    embodiment=arm(
        "franka_cable_routing", _CABLE_VIEWS, hz=_CABLE_HZ, proprio=(fields.eef_pos(), fields.eef_rot("quat_xyzw")),
        action=(
            fields.delta_pos(unit="m/s"), fields.delta_rot("axis_angle", unit="rad/s"), fields.terminate(),
        ),
    ),
    images=images(_CABLE_VIEWS),
    instructions=_TEXT,
    sentence_vector="observation/natural_language_embedding",
    keys={
        "action/world_vector": (3,), "action/rotation_delta": (3,), "action/terminate_episode": (),
        "observation/robot_state": (7,),
    },
    standardize=standardize_cable_routing,
    layout=CANONICAL.without("gripper", "proprio.gripper"),
    switches=(
        motion_switch(
            "reached", command="velocities in m/s and rad/s over one step of 0.1 s",
            evidence="the command is called a velocity but its unit is not written down; the pose is measured",
        ),
    ),
    notes=(
        "the gripper holds a cable and is never commanded: that dimension is masked",
        "Octo and OpenVLA call robot_state joints; it is a pose, and its statistics are those of a gripper pointing down",
        "all sentences are the same and say nothing of the task (Octo blanks them)",
    ),
)  # fmt: skip

VIOLA_RECORD = DatasetRecord(
    name="viola",
    title="Austin VIOLA",
    embodiment=arm(
        "franka_viola", _VIOLA_VIEWS, hz=20.0, proprio=(fields.eef_pos(), fields.eef_rot("rot6d"), _HAND),
        action=(
            fields.delta_pos(unit="1"), fields.delta_rot("axis_angle", unit="1"), fields.gripper(closed=1, opened=-1),
            fields.terminate(),
        ),
    ),
    images=images(_VIOLA_VIEWS),
    instructions=_TEXT,
    sentence_vector="observation/natural_language_embedding",
    keys={
        "action/gripper_closedness_action": (), "action/terminate_episode": (),
        "observation/ee_states": (16,), "observation/gripper_states": (1,),
    },
    standardize=standardize_viola,
    notes=(
        "commands are in the controller's own units, so the motion is the measured one",
        "some steps are padding, all zeros: they are cut",
        _NO_TASK,
    ),
)  # fmt: skip

TOTO = DatasetRecord(
    name="toto",
    title="TOTO benchmark",
    embodiment=arm(
        "franka_toto", _TOTO_VIEWS, hz=_TOTO_HZ, proprio=(fields.joint_state(7),),
        action=(
            fields.delta_pos(unit="m/s"), fields.delta_rot("rpy", unit="rad/s"), fields.gripper(closed=0, opened=1),
            fields.terminate(),
        ),
    ),
    images=images(_TOTO_VIEWS),
    instructions=_TEXT,
    sentence_vector="observation/natural_language_embedding",
    keys={
        "action/world_vector": (3,), "action/rotation_delta": (3,), "action/open_gripper": (), "action/terminate_episode": (),
        "observation/state": (7,),
    },
    standardize=standardize_toto,
    layout=Layout(proprio=(fields.joint_state(7),)),
    switches=(
        Switch(
            name="commands",
            question="are the commands velocities, displacements of one step, or poses to go to?",
            options={
                "velocities": "m/s and rad/s, over a step of 1/30 s",
                "displacements": "metres and radians a step",
                "targets": "positions (m) and angles, of which the differences are taken; the first step is dropped",
            },
            default="velocities",
            evidence=(
                "every reader takes them for motion, and values up to 0.7 would be 21 m/s as displacements at 30 Hz; that they "
                "lie to one side of zero (-0.33 .. 0.77) would fit targets, too"
            ),
        ),
    ),
    notes=(
        "the pose is not measured, only joints",
        "480 x 640 at 30 Hz: neighbouring frames are almost identical, take a lower rate",
        _NO_TASK,
    ),
)  # fmt: skip

RTX_FRANKA: tuple[DatasetRecord, ...] = (TACO_PLAY, CABLE_ROUTING, VIOLA_RECORD, TOTO)
