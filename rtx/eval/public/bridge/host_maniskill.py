"""ManiSkill 3, one environment on the CPU's physics, for rtx_bridge.py. Poses are told in the frame of the robot's base."""

# mypy: ignore-errors
# Of any Python that a suite runs in, and typed by none: its packages are not here.

import gymnasium
import mani_skill.envs  # noqa: F401  registers the tasks
import numpy as np
import torch


class Host:
    def __init__(self):
        self._task, self._env = None, None

    def reset(self, task, seed):
        if task != self._task:
            self._make(task)
        self._env.reset(seed=seed % 2**31)
        return self._told(success=False)

    def step(self, action):
        self._env.unwrapped._obs_mode = "none"  # pictures are drawn when they are asked for
        *_, info = self._env.step(torch.as_tensor(np.array(action, np.float32))[None])
        return self._told(success=bool(info["success"]))

    def look(self):
        return {"images": self._images()}

    def _make(self, task):
        if self._env is not None:
            self._env.close()
        self._env = gymnasium.make(
            task, obs_mode="rgb", control_mode="pd_ee_delta_pose", robot_uids="panda", num_envs=1, sim_backend="cpu",
            render_backend="gpu" if torch.cuda.is_available() else "cpu", max_episode_steps=10**6,
        )  # fmt: skip
        self._task = task

    def _images(self):
        base = self._env.unwrapped
        base._obs_mode = "rgb"
        data = base._get_obs_sensor_data()
        return {"primary": np.ascontiguousarray(data["base_camera"]["rgb"][0].cpu().numpy().astype(np.uint8))}

    def _told(self, *, success):
        base = self._env.unwrapped
        root = base.agent.robot.pose.inv()
        state = {"hand": _numbers(root * base.agent.tcp.pose), "fingers": base.agent.robot.get_qpos()[0, -2:].cpu().numpy()}
        for name, attributes in {"cube": ("cube", "cubeA"), "below": ("cubeB",)}.items():
            actor = next((getattr(base, a) for a in attributes if hasattr(base, a)), None)
            if actor is not None and hasattr(actor, "pose"):
                state[name] = _numbers(root * actor.pose)
        if hasattr(base, "goal_site"):
            state["goal"] = _numbers(root * base.goal_site.pose)[:3]
        return {
            "state": {name: np.asarray(value, np.float64) for name, value in state.items()},
            "instruction": "", "success": success,
        }  # fmt: skip


def _numbers(pose):
    return np.asarray(pose.raw_pose[0].cpu().numpy(), np.float64)
