"""SimplerEnv for rtx_bridge.py, in its prepackaged visual matching form. Poses are told in the frame of the robot's base."""

# mypy: ignore-errors
# Of any Python that a suite runs in, and typed by none: its packages are not here.

import numpy as np
import simpler_env
from simpler_env.utils.env.observation_utils import get_image_from_maniskill2_obs_dict


class Host:
    def __init__(self):
        self._task, self._env, self._observation, self._success = None, None, None, False

    def reset(self, task, seed):
        if task != self._task:
            if self._env is not None:
                self._env.close()
            self._env, self._task = simpler_env.make(task), task
        # The suite's fixed starts; it takes the number modulo theirs.
        self._observation, _ = self._env.reset(seed=seed % 2**32, options={"obj_init_options": {"episode_id": seed % 2**16}})
        self._success = False
        return self._told()

    def step(self, action):
        self._observation, _, done, _, _ = self._env.step(np.asarray(action, np.float64))
        self._success = self._success or bool(done)
        return self._told()

    def look(self):
        return {"images": self._images()}

    def _images(self):
        image = get_image_from_maniskill2_obs_dict(self._env.unwrapped, self._observation)
        return {"primary": np.ascontiguousarray(image[..., :3])}

    def _told(self):
        env = self._env.unwrapped
        pose = env.agent.robot.pose.inv() * env.tcp.pose
        joints = env.agent.robot.get_active_joints()
        fingers = [i for i, joint in enumerate(joints) if "finger" in joint.name]
        limits = np.array([joints[i].get_limits()[0] for i in fingers])
        share = (env.agent.robot.get_qpos()[fingers] - limits[:, 0]) / (limits[:, 1] - limits[:, 0])
        # Fingers of the WidowX slide apart; those of Google's robot turn towards each other.
        opening = float(np.mean(share)) if "widowx" in env.robot_uid else 1 - float(np.mean(share))
        return {
            "state": {"hand": np.concatenate([pose.p, pose.q]).astype(np.float64), "opening": np.float64(opening)},
            "instruction": env.get_language_instruction(),
            "success": self._success,
        }  # fmt: skip
