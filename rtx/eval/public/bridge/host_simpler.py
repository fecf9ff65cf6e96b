"""SimplerEnv for rtx_bridge.py, in its prepackaged visual matching form. Poses are told in the frame of the robot's base."""

# mypy: ignore-errors
# Of any Python that a suite runs in, and typed by none: its packages are not here.

import numpy as np
import simpler_env


class Host:
    def __init__(self):
        self._task, self._env = None, None

    def reset(self, task, seed):
        if task != self._task:
            if self._env is not None:
                self._env.close()
            # Drawn when asked for; its wrappers only convert pictures and keep a time limit, as who asks does.
            self._env, self._task = simpler_env.make(task, obs_mode="none").unwrapped, task
        # A new scene every time: nothing of what was played before is left in it.
        self._env.reset(seed=seed % 2**32, options={"reconfigure": True})
        return self._told(success=False)

    def step(self, action):
        *_, done, _, _ = self._env.step(np.array(action, np.float64))  # what came over the pipe is read-only
        return self._told(success=bool(done))

    def look(self):
        env = self._env
        env._obs_mode = "image"
        camera = "3rd_view_camera" if "widowx" in env.robot_uid else "overhead_camera"
        colour = env.get_obs()["image"][camera]["Color"][..., :3]
        env._obs_mode = "none"
        return {"images": {"primary": np.clip(colour * 255, 0, 255).astype(np.uint8)}}

    def expert(self):
        from simpler_expert import Expert

        self._expert = Expert(self._env, self._task)

    def act(self):
        return {"action": self._expert()}

    def _told(self, *, success):
        env = self._env
        pose = env.agent.robot.pose.inv() * env.tcp.pose
        opening = 1 - np.clip(env.agent.get_gripper_closedness(), 0, 1)
        return {
            "state": {"hand": np.concatenate([pose.p, pose.q]).astype(np.float64), "opening": np.float64(opening)},
            "instruction": env.get_language_instruction(), "success": success,
        }  # fmt: skip
