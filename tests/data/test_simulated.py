"""Replay: for each arm's own keys, standardized actions lead from the measured pose to the pose that was commanded.

The raw steps are made here from poses by scipy, by the words of the table in `rtx.data.simulated`.
"""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtx.data.catalogue import RECORDS
from rtx.data.simulated import SIMULATED
from rtx.robots.sim_arms import SIM_ARMS

T = 6


def column(values):
    return np.asarray(values, np.float32).reshape(T, 1)


def joined(*parts):
    return np.concatenate([np.asarray(p).reshape(T, -1) for p in parts], -1).astype(np.float32)


def wxyz(rotation):
    return np.roll(rotation.as_quat(), 1, axis=-1)


def panda(p, r, g, d, dr, target, command):
    return joined(d, dr.as_euler("xyz"), command), {"state": joined(p, r.as_quat(), g)}


def sawyer(p, r, g, d, dr, target, command):
    last = np.arange(T) == T - 1
    action = {
        "world_vector": joined(d),
        "rotation_delta": joined(dr.as_euler("xyz")),
        "gripper_closedness_action": column(1 - 2 * command),
        "terminate_episode": np.stack([last, ~last, np.zeros(T)], -1).astype(np.int32),
    }
    return action, {"ee_position": joined(p), "ee_quat_wxyz": joined(wxyz(r)), "gripper_closed": column(1 - g)}


def ur5e(p, r, g, d, dr, target, command):
    action = {
        "translation_cm": joined(100 * d),
        "rotation_axis_angle": joined(dr.as_rotvec()),
        "gripper_closedness": column(1 - command),
    }
    return action, {"robot_state": joined(p, wxyz(r), 1 - g)}


def iiwa(p, r, g, d, dr, target, command):
    action = joined(target[0], wxyz(target[1]), 1 - command)
    return action, {"tcp_position": joined(p), "tcp_rpy": joined(r.as_euler("xyz")), "gripper": column(1 - g)}


def kinova3(p, r, g, d, dr, target, command):
    tool = r.inv() * target[1]
    action = {
        "translation_tool": joined(r.inv().apply(d)),
        "rotation_tool_axis_angle": joined(tool.as_rotvec()),
        "gripper_percent": column(100 * (1 - command)),
    }
    return action, {"ee_pose": joined(p, r.as_quat()), "gripper_percent": column(100 * (1 - g))}


def jaco(p, r, g, d, dr, target, command):
    action = {
        "world_vector": joined(d),
        "rotation_delta_deg": joined(dr.as_euler("xyz", degrees=True)),
        "gripper": column(2 * command - 1),
    }
    return action, {"end_effector_pose_deg": joined(p, r.as_euler("xyz", degrees=True)), "gripper": column(2 * g - 1)}


def vx300s(p, r, g, d, dr, target, command):
    return joined(d, dr.as_euler("xyz"), command), {"state": joined(p, r.as_euler("xyz"), g)}


RAW = {"panda": panda, "sawyer": sawyer, "ur5e": ur5e, "iiwa": iiwa, "kinova3": kinova3, "jaco": jaco, "vx300s": vx300s}


@pytest.mark.parametrize("arm", RAW)
def test_actions_lead_from_the_measured_pose_to_the_commanded_one(arm):
    record = SIMULATED[f"sim_{arm}"]
    rng = np.random.default_rng(3)
    p, r, g = rng.uniform(-0.5, 0.5, (T, 3)), Rotation.random(T, random_state=1), rng.uniform(size=T)
    d, dr = rng.uniform(-0.05, 0.05, (T, 3)), Rotation.from_rotvec(rng.uniform(-0.4, 0.4, (T, 3)))
    command = np.array([0, 1, 1, 0, 1, 0], np.float64)
    action, observation = RAW[arm](p, r, g, d, dr, (p + d, dr * r), command)
    last = np.arange(T) == T - 1
    trajectory = {"action": action, "observation": observation, "is_last": last, "is_terminal": last}
    check_keys(record, trajectory)
    out = record.standardize(trajectory)
    np.testing.assert_allclose(out["action"][:, :3], d, atol=1e-6)
    led_to = Rotation.from_euler("xyz", out["action"][:, 3:6].astype(np.float64)) * r
    assert (led_to * (dr * r).inv()).magnitude().max() < 1e-5
    np.testing.assert_allclose(out["action"][:, 6], command, atol=1e-6)
    assert out["action"][:, 7].tolist() == last.astype(float).tolist()
    matrix = r.as_matrix()
    np.testing.assert_allclose(out["proprio"], joined(p, matrix[..., 0], matrix[..., 1], g), atol=1e-5)


def check_keys(record, trajectory):
    """The record reads exactly these keys, in these shapes."""
    found = {}
    for name in ("action", "observation"):
        value = trajectory[name]
        found |= {f"{name}/{k}": v.shape[1:] for k, v in value.items()} if isinstance(value, dict) else {name: value.shape[1:]}
    assert {k: v for k, v in record.keys.items() if not k.startswith("is_")} == found


def test_an_episode_that_was_cut_off_does_not_terminate():
    record = SIMULATED["sim_panda"]
    p, r = np.zeros((T, 3)), Rotation.identity(T)
    action, observation = panda(p, r, np.ones(T), p, r, None, np.ones(T))
    last = np.arange(T) == T - 1
    out = record.standardize({"action": action, "observation": observation, "is_last": last, "is_terminal": np.zeros(T, bool)})
    assert not out["action"][:, 7].any()


def test_every_simulated_arm_has_a_record():
    assert set(SIMULATED) == set(SIM_ARMS) == {name for name in RECORDS if name.startswith("sim_")}
    assert SIMULATED["sim_ur5e"].images["wrist"].channel_order == "bgr"
    assert all(record.embodiment == SIM_ARMS[name] for name, record in SIMULATED.items())
