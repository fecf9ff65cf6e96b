"""The seven simulated arms as RLDS data sets: their keys, and how each becomes the canonical action and proprio.

Each arm keeps a convention of its own on purpose, as the real sets do. This table is the interface between who writes
the shards (`rtx/eval/sim/conventions.py`) and who reads them (the records below); paths are under `steps/`:

    set          path                                          type         meaning
    -----------  --------------------------------------------  -----------  ------------------------------------------------
    every set    is_first, is_last, is_terminal                bool         is_terminal: last step of an episode that ended
                                                                            itself (the terminate action); else False
                 reward, discount                              float32
                 (episode_metadata may hold anything)
    sim_panda    observation/image                             jpeg         primary, RGB
                 observation/wrist_image                       jpeg         wrist, RGB
                 observation/state                             float32[8]   pos m, quat_xyzw, gripper 0 closed..1 open
                 action                                        float32[7]   delta pos m, rpy rad (base), gripper 1 open 0 closed
                 language_instruction                          string
    sim_sawyer   observation/front_rgb                         jpeg         primary, RGB
                 observation/hand_rgb                          jpeg         wrist, RGB
                 observation/ee_position                       float32[3]   m
                 observation/ee_quat_wxyz                      float32[4]
                 observation/gripper_closed                    float32[1]   0 open..1 closed
                 observation/natural_language_instruction      string
                 action/world_vector                           float32[3]   delta pos m (base)
                 action/rotation_delta                         float32[3]   delta rpy rad (base)
                 action/gripper_closedness_action              float32[1]   -1 open, +1 closed
                 action/terminate_episode                      int32[3]     one-hot: terminate, arm + gripper, base
    sim_ur5e     observation/image                             jpeg         primary, RGB
                 observation/hand_image                        jpeg         wrist, channels stored as BGR
                 observation/robot_state                       float32[8]   pos m, quat_wxyz, gripper 0 open..1 closed
                 observation/natural_language_instruction      string
                 action/translation_cm                         float32[3]   delta pos cm (base)
                 action/rotation_axis_angle                    float32[3]   delta axis-angle rad (base)
                 action/gripper_closedness                     float32[1]   0 open, 1 closed
    sim_iiwa     observation/cam_front                         jpeg         primary, RGB
                 observation/cam_wrist                         jpeg         wrist, RGB
                 observation/tcp_position                      float32[3]   m
                 observation/tcp_rpy                           float32[3]   rad
                 observation/gripper                           float32[1]   0 open..1 closed
                 action                                        float32[8]   target pos m, quat_wxyz (base), gripper 1 closed
                 language_instruction                          string
    sim_kinova3  observation/rgb_front                         jpeg         primary, RGB
                 observation/rgb_hand                          jpeg         wrist, RGB
                 observation/ee_pose                           float32[7]   pos m, quat_xyzw
                 observation/gripper_percent                   float32[1]   0 open..100 closed
                 action/translation_tool                       float32[3]   delta pos m (tool frame)
                 action/rotation_tool_axis_angle               float32[3]   delta axis-angle rad (tool frame)
                 action/gripper_percent                        float32[1]   0 open, 100 closed
                 language_instruction                          string
    sim_jaco     observation/image                             jpeg         primary, RGB
                 observation/image_wrist                       jpeg         wrist, RGB
                 observation/end_effector_pose_deg             float32[6]   pos m, rpy deg
                 observation/gripper                           float32[1]   -1 closed..1 open
                 observation/natural_language_instruction      string
                 action/world_vector                           float32[3]   delta pos m (base)
                 action/rotation_delta_deg                     float32[3]   delta rpy deg (base)
                 action/gripper                                float32[1]   1 open, -1 closed
    sim_vx300s   observation/image_0                           jpeg         primary, RGB
                 observation/image_1                           jpeg         wrist, RGB
                 observation/state                             float32[7]   pos m, rpy rad (base), gripper 0 closed..1 open
                 action                                        float32[7]   delta pos m, rpy rad (base), gripper 1 open 0 closed
                 language_instruction                          string

Poses are of the end effector in the robot's base frame, measured at the start of the step; the action of a step is what
was commanded from there. R(rpy) = Rz(yaw) Ry(pitch) Rx(roll). Each key is exactly one native field or the concatenation
in the order of `SIM_ARMS[name].action` and `.proprio`. Every step, the last one too, holds a valid action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from rtx.data.record import DatasetRecord, ImageKey, Trajectory
from rtx.data.standardize import canonical_action, canonical_proprio, ended
from rtx.embodiment import RotationForm
from rtx.robots.rotations import to_matrix, transpose
from rtx.robots.sim_arms import SIM_ARMS

_FLAGS: Mapping[str, tuple[int, ...]] = {"is_last": (), "is_terminal": ()}


def _action_and_state(trajectory: Trajectory) -> tuple[dict, dict]:
    """The raw action (a vector counts as one key) and the observations, as float64."""
    action = trajectory["action"]
    raw = action if isinstance(action, dict) else {"vector": action}
    return (
        {k: np.asarray(v, np.float64) for k, v in raw.items()},
        {k: np.asarray(v, np.float64) for k, v in trajectory["observation"].items() if v.dtype != object},
    )


def _vector_deltas(trajectory: Trajectory, rotation: RotationForm) -> Trajectory:
    """Sets with observation/state and a 7-number action in canonical units already; state rotation in `rotation`."""
    action, obs = _action_and_state(trajectory)
    vector, state = action["vector"], obs["state"]
    trajectory["action"] = canonical_action(vector[:, :3], to_matrix(vector[:, 3:6], "rpy"), vector[:, 6], ended(trajectory))
    trajectory["proprio"] = canonical_proprio(state[:, :3], to_matrix(state[:, 3:-1], rotation), state[:, -1])
    return trajectory


def standardize_panda(trajectory: Trajectory) -> Trajectory:
    return _vector_deltas(trajectory, "quat_xyzw")


def standardize_vx300s(trajectory: Trajectory) -> Trajectory:
    return _vector_deltas(trajectory, "rpy")


def standardize_sawyer(trajectory: Trajectory) -> Trajectory:
    """Closedness command -1..1 and state 0..1 both turn round; terminate is the first place of a one-hot."""
    action, obs = _action_and_state(trajectory)
    trajectory["action"] = canonical_action(
        action["world_vector"],
        to_matrix(action["rotation_delta"], "rpy"),
        (1 - action["gripper_closedness_action"][:, 0]) / 2,
        action["terminate_episode"][:, 0] == 1,
    )
    rot = to_matrix(obs["ee_quat_wxyz"], "quat_wxyz")
    trajectory["proprio"] = canonical_proprio(obs["ee_position"], rot, 1 - obs["gripper_closed"][:, 0])
    return trajectory


def standardize_ur5e(trajectory: Trajectory) -> Trajectory:
    """Centimetres and axis-angle; closedness in command and state."""
    action, obs = _action_and_state(trajectory)
    trajectory["action"] = canonical_action(
        action["translation_cm"] / 100,
        to_matrix(action["rotation_axis_angle"], "axis_angle"),
        1 - action["gripper_closedness"][:, 0],
        ended(trajectory),
    )
    state = obs["robot_state"]
    trajectory["proprio"] = canonical_proprio(state[:, :3], to_matrix(state[:, 3:7], "quat_wxyz"), 1 - state[:, 7])
    return trajectory


def standardize_iiwa(trajectory: Trajectory) -> Trajectory:
    """Target poses: the delta is from the pose measured in the same step, d = p* - p, R_delta = R* R^T."""
    action, obs = _action_and_state(trajectory)
    vector, rot = action["vector"], to_matrix(obs["tcp_rpy"], "rpy")
    trajectory["action"] = canonical_action(
        vector[:, :3] - obs["tcp_position"],
        to_matrix(vector[:, 3:7], "quat_wxyz") @ transpose(rot),
        1 - vector[:, 7],
        ended(trajectory),
    )
    trajectory["proprio"] = canonical_proprio(obs["tcp_position"], rot, 1 - obs["gripper"][:, 0])
    return trajectory


def standardize_kinova3(trajectory: Trajectory) -> Trajectory:
    """Tool frame to base frame: d_base = R d_tool, R_delta_base = R R_delta_tool R^T. Percent closed."""
    action, obs = _action_and_state(trajectory)
    rot = to_matrix(obs["ee_pose"][:, 3:], "quat_xyzw")
    trajectory["action"] = canonical_action(
        np.einsum("tij,tj->ti", rot, action["translation_tool"]),
        rot @ to_matrix(action["rotation_tool_axis_angle"], "axis_angle") @ transpose(rot),
        1 - action["gripper_percent"][:, 0] / 100,
        ended(trajectory),
    )
    trajectory["proprio"] = canonical_proprio(obs["ee_pose"][:, :3], rot, 1 - obs["gripper_percent"][:, 0] / 100)
    return trajectory


def standardize_jaco(trajectory: Trajectory) -> Trajectory:
    """Degrees; gripper -1 closed..1 open in command and state."""
    action, obs = _action_and_state(trajectory)
    pose = obs["end_effector_pose_deg"]
    trajectory["action"] = canonical_action(
        action["world_vector"],
        to_matrix(np.deg2rad(action["rotation_delta_deg"]), "rpy"),
        (action["gripper"][:, 0] + 1) / 2,
        ended(trajectory),
    )
    rot = to_matrix(np.deg2rad(pose[:, 3:]), "rpy")
    trajectory["proprio"] = canonical_proprio(pose[:, :3], rot, (obs["gripper"][:, 0] + 1) / 2)
    return trajectory


def _record(
    name: str,
    standardize: Callable[[Trajectory], Trajectory],
    *,
    primary: str,
    wrist: ImageKey | str,
    language: str,
    keys: Mapping[str, tuple[int, ...]],
) -> DatasetRecord:
    wrist_key = wrist if isinstance(wrist, ImageKey) else ImageKey(path=f"observation/{wrist}")
    return DatasetRecord(
        name=name,
        title=f"simulated demonstrations, {name.removeprefix('sim_')}",
        license="Apache-2.0",
        embodiment=SIM_ARMS[name],
        images={"primary": ImageKey(path=f"observation/{primary}"), "wrist": wrist_key},
        instructions=(language,),
        keys={**keys, **_FLAGS},
        standardize=standardize,
        notes=("written by `rtx data write sim`; simulated, not a real robot",),
    )


_STEP_LANGUAGE, _OBS_LANGUAGE = "language_instruction", "observation/natural_language_instruction"

SIMULATED: Mapping[str, DatasetRecord] = {
    record.name: record
    for record in (
        _record(
            "sim_panda", standardize_panda, primary="image", wrist="wrist_image", language=_STEP_LANGUAGE,
            keys={"action": (7,), "observation/state": (8,)},
        ),
        _record(
            "sim_sawyer", standardize_sawyer, primary="front_rgb", wrist="hand_rgb", language=_OBS_LANGUAGE,
            keys={
                "action/world_vector": (3,), "action/rotation_delta": (3,), "action/gripper_closedness_action": (1,),
                "action/terminate_episode": (3,), "observation/ee_position": (3,), "observation/ee_quat_wxyz": (4,),
                "observation/gripper_closed": (1,),
            },
        ),
        _record(
            "sim_ur5e", standardize_ur5e, primary="image", language=_OBS_LANGUAGE,
            wrist=ImageKey(path="observation/hand_image", channel_order="bgr"),
            keys={
                "action/translation_cm": (3,), "action/rotation_axis_angle": (3,), "action/gripper_closedness": (1,),
                "observation/robot_state": (8,),
            },
        ),
        _record(
            "sim_iiwa", standardize_iiwa, primary="cam_front", wrist="cam_wrist", language=_STEP_LANGUAGE,
            keys={"action": (8,), "observation/tcp_position": (3,), "observation/tcp_rpy": (3,), "observation/gripper": (1,)},
        ),
        _record(
            "sim_kinova3", standardize_kinova3, primary="rgb_front", wrist="rgb_hand", language=_STEP_LANGUAGE,
            keys={
                "action/translation_tool": (3,), "action/rotation_tool_axis_angle": (3,), "action/gripper_percent": (1,),
                "observation/ee_pose": (7,), "observation/gripper_percent": (1,),
            },
        ),
        _record(
            "sim_jaco", standardize_jaco, primary="image", wrist="image_wrist", language=_OBS_LANGUAGE,
            keys={
                "action/world_vector": (3,), "action/rotation_delta_deg": (3,), "action/gripper": (1,),
                "observation/end_effector_pose_deg": (6,), "observation/gripper": (1,),
            },
        ),
        _record(
            "sim_vx300s", standardize_vx300s, primary="image_0", wrist="image_1", language=_STEP_LANGUAGE,
            keys={"action": (7,), "observation/state": (7,)},
        ),
    )
}  # fmt: skip
"""The records of this file, by name. `sim_ur5e` stores its wrist camera as BGR, as the real UR5 set does."""
