"""One arm each: DLR, PR2, xArm, UR5, FANUC, Sawyer, Kinova and IO-AI. What texts and statistics say of their keys.

Where the command is not what a record should take, it is written as 1.1 times the motion: a record that took it would not
come back to the poses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from tests.data.oxe.convention import Convention, column, joined, rpy, wxyz, xyzw
from tests.data.oxe.poses import Arm, Poses

COMMAND = {"motion": "command"}
OPEN_IS_1 = {"gripper": "one_is_open"}


@dataclass(frozen=True, kw_only=True)
class Switched(Convention):
    """A gripper that is open or closed, nothing between: what is commanded in a step is measured in the next.

    `rests`: the command of the last step is that of the step before it, for sets that store states of the gripper only.
    """

    rests: bool = False

    def poses(self, num_steps: int, seed: int) -> Poses:
        poses = super().poses(num_steps, seed)
        command = poses.command.copy()
        if self.rests:
            command[-1] = command[-2:][0]
        return dataclasses.replace(poses, command=command, openings=np.append(command[0], command))


def overdone(arm: Arm) -> tuple[np.ndarray, Rotation]:
    return 1.1 * arm.delta_pos, Rotation.from_rotvec(1.1 * arm.delta_rot.as_rotvec())


def exact(arm: Arm) -> tuple[np.ndarray, Rotation]:
    return arm.delta_pos, arm.delta_rot


def zxy(rotation: Rotation) -> np.ndarray:
    return rotation.as_euler("zxy")


def ypr(rotation: Rotation) -> np.ndarray:
    """Yaw, pitch, roll: the angles of R = Rz(yaw) Ry(pitch) Rx(roll) from left to right."""
    return rotation.as_euler("ZYX")


def edan(motion: Any) -> Any:
    def native(poses: Poses) -> Mapping[str, Any]:
        pos, rot = motion(poses)
        state = joined(poses.pos, zxy(poses.rot), 1 - poses.opening)
        return {"observation/state": state, "action": joined(pos, zxy(rot), 1 - poses.command)}

    return native


def sara(motion: Any, wrench: int, closed: float = 1.0) -> Any:
    def native(poses: Poses) -> Mapping[str, Any]:
        pos, rot = motion(poses)
        command = 1 - poses.command if closed else poses.command
        state = joined(poses.pos, zxy(poses.rot), np.full((len(poses), wrench), 3.0))
        return {"observation/state": state, "action": joined(pos, zxy(rot), command)}

    return native


def pr2(motion: Any, closed: float = 1.0) -> Any:
    def native(poses: Poses) -> Mapping[str, Any]:
        pos, rot = motion(poses)
        command = 1 - poses.command if closed else poses.command
        state = joined(1000 * poses.pos, rpy(poses.rot), 86.66 * poses.opening)
        return {"observation/state": state, "action": joined(1000 * pos, rpy(rot), command, poses.terminate)}

    return native


def mvp(poses: Poses) -> Mapping[str, Any]:
    """Quaternion in ROS' order; joints change by the command; gripper true when closed."""
    return {
        "observation/pose": joined(poses.pos, xyzw(poses.rot)),
        "observation/joint_pos": poses.joints(7),
        "observation/gripper": poses.opening < 0.5,
        "action": joined(poses.next_joints(7) - poses.joints(7), 1 - poses.command),
    }


def kitchen(closed: float = 1.0) -> Any:
    """The xArm's own units: millimetres and degrees, of the pose aimed at."""

    def native(poses: Poses) -> Mapping[str, Any]:
        command = 1 - poses.command if closed else poses.command
        target = joined(1000 * poses.next_pos, np.rad2deg(rpy(poses.next_rot)))
        velocity = poses.next_joints(7) - poses.joints(7)
        return {
            "observation/state": joined(poses.joints(7), velocity, np.ones((len(poses), 7))),
            "action": joined(target, command, poses.terminate),
        }

    return native


def ucsd_pick_and_place(gripper: Any) -> Any:
    """Decimetres; velocities nobody knows the unit of; the orientation's three numbers never change."""

    def native(poses: Poses) -> Mapping[str, Any]:
        state = joined(10 * poses.pos, np.tile([3.1, 0.1, 0.9], (len(poses), 1)), 8.0 * poses.opening)
        action = joined(37 * poses.delta_pos, gripper(poses))
        return {"observation/state": state, "action": action, "episode_metadata/success": True}

    return native


def utokyo_pick_and_place(motion: Any, closed: float = 1.0) -> Any:
    def native(poses: Poses) -> Mapping[str, Any]:
        pos, rot = motion(poses)
        command = 1 - poses.command if closed else poses.command
        return {
            "observation/end_effector_pose": joined(poses.pos, ypr(poses.rot)),
            "action": joined(pos, ypr(rot), command),
        }

    return native


def pusht(motion: Any) -> Any:
    def native(poses: Poses) -> Mapping[str, Any]:
        return {
            "observation/robot_state": poses.pos[:, :2],
            "action/world_vector": motion(poses)[0],
            "action/rotation_delta": np.zeros((len(poses), 3)),
            "action/terminate_episode": poses.terminate,
        }

    return native


def robo_ai(poses: Poses) -> Mapping[str, Any]:
    """The UR5 of Berkeley's AUTOLAB: joints, position, quaternion xyzw, gripper is closed, action is blocked."""
    blocked = np.zeros(len(poses))
    return {"observation/robot_state": joined(poses.joints(6), poses.pos, xyzw(poses.rot), 1 - poses.opening, blocked)}


def fanuc(motion: Any) -> Any:
    def native(poses: Poses) -> Mapping[str, Any]:
        pos, rot = motion(poses)
        return {
            "observation/state": joined(poses.joints(6), 1 - poses.opening, np.zeros((len(poses), 6))),
            "observation/end_effector_state": joined(poses.pos, xyzw(poses.rot)),
            "action": joined(pos, rpy(rot)),
        }

    return native


LOW, HIGH = np.array([0.2, -0.3, 0.1, -np.pi, -1.0]), np.array([0.8, 0.4, 0.6, np.pi, 1.0])


def mask_vit(scaled: bool) -> Any:
    """Yaw of a gripper that points down; -1 open, +1 closed; the position between the bounds, or in metres."""

    def native(poses: Poses) -> Mapping[str, Any]:
        pos = (poses.pos - LOW[:3]) / (HIGH[:3] - LOW[:3]) if scaled else poses.pos
        return {
            "observation/end_effector_pose": joined(pos, poses.yaw, 1 - 2 * poses.opening),
            "observation/low_bound": np.tile(LOW, (len(poses), 1)),
            "observation/high_bound": np.tile(HIGH, (len(poses), 1)),
            "action": joined(poses.delta_pos, poses.delta_rot.as_euler("xyz")[:, 2], 1 - 2 * poses.command),
        }

    return native


def io_ai(poses: Poses) -> Mapping[str, Any]:
    """Motion relative to the hand; +1 closes the gripper, -1 opens it."""
    hand = poses.rot.inv()
    action = joined(hand.apply(poses.delta_pos), ypr(hand * poses.next_rot), poses.changes)
    return {"observation/state": joined(poses.pos, wxyz(poses.rot), poses.changes), "action": action}


def d3field(motion: Any) -> Any:
    def native(poses: Poses) -> Mapping[str, Any]:
        state = np.tile(np.eye(4), (len(poses), 1, 1))
        state[:, :3, :3], state[:, :3, 3] = poses.rot.as_matrix(), poses.pos
        return {"observation/state": state, "action": motion(poses)[0]}

    return native


def _closedness(poses: Poses) -> np.ndarray:
    return column(1 - poses.command)


_SUFFIX = "_converted_externally_to_rlds"
_FAILED = {"episode_metadata/success": False}
_NO_POSE = {"steps/observation/state": np.zeros((3, 4, 4), np.float32)}
_REACHED = {"motion": "reached"}

OTHERS: Mapping[str, tuple[Convention, ...]] = {
    f"dlr_edan_shared_control{_SUFFIX}": (
        Convention(native=edan(overdone)),
        Convention(native=edan(exact), choices=COMMAND),
    ),
    f"dlr_sara_grid_clamp{_SUFFIX}": (
        Convention(native=sara(overdone, 6)),
        Convention(native=sara(exact, 6, closed=0.0), choices={**COMMAND, **OPEN_IS_1}),
    ),
    f"dlr_sara_pour{_SUFFIX}": (
        Convention(native=sara(overdone, 0)),
        Convention(native=sara(exact, 0, closed=0.0), choices={**COMMAND, **OPEN_IS_1}),
    ),
    **{
        f"utokyo_pr2_{task}{_SUFFIX}": (
            Convention(native=pr2(overdone)),
            Convention(native=pr2(exact, closed=0.0), choices={**COMMAND, **OPEN_IS_1}),
        )
        for task in ("opening_fridge", "tabletop_manipulation")
    },
    f"berkeley_mvp{_SUFFIX}": (Switched(native=mvp),),
    f"ucsd_kitchen_dataset{_SUFFIX}": (
        Convention(native=kitchen()),
        Convention(native=kitchen(closed=0.0), choices=OPEN_IS_1),
    ),
    f"ucsd_pick_and_place_dataset{_SUFFIX}": (
        Convention(native=ucsd_pick_and_place(lambda poses: poses.changes), turns="none", filtered=_FAILED),
        Convention(native=ucsd_pick_and_place(_closedness), turns="none", choices={"gripper": "one_is_closed"}),
        Convention(native=ucsd_pick_and_place(lambda poses: poses.command), turns="none", choices=OPEN_IS_1),
    ),
    f"utokyo_xarm_pick_and_place{_SUFFIX}": (
        Convention(native=utokyo_pick_and_place(overdone)),
        Convention(native=utokyo_pick_and_place(exact, closed=0.0), choices={**COMMAND, **OPEN_IS_1}),
    ),
    "columbia_cairlab_pusht_real": (
        Convention(native=pusht(exact), turns="none", flat=True),
        Convention(native=pusht(overdone), turns="none", flat=True, choices=_REACHED),
    ),
    "robo_ai_u_r5e": (Switched(native=robo_ai),),
    "berkeley_fanuc_manipulation": (
        Switched(native=fanuc(overdone)),
        Switched(native=fanuc(exact), choices=COMMAND, rests=True),
    ),
    f"stanford_mask_vit{_SUFFIX}": (
        Convention(native=mask_vit(scaled=True), turns="yaw"),
        Convention(native=mask_vit(scaled=False), turns="yaw", choices={"pose": "metres"}),
    ),
    "io_ai_tech": (Convention(native=io_ai),),
    "uiuc_d3field": (
        Convention(native=d3field(overdone), filtered=_NO_POSE),
        Convention(native=d3field(exact), turns="none", choices=COMMAND),
    ),
}
