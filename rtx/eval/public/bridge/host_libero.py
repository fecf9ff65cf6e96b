"""LIBERO for rtx_bridge.py. Asks nothing: its question about folders is answered before it is imported."""

# mypy: ignore-errors
# Of any Python that a suite runs in, and typed by none: its packages are not here.

import importlib.util
import os
import tempfile

import numpy as np
from libero_expert import Expert, World

_IDLE = np.array([0.0, 0, 0, 0, 0, 0, -1])  # open, standing still
_SETTLING = 10
_SIZE = 256
_CAMERAS = {"primary": "agentview_image", "wrist": "robot0_eye_in_hand_image"}
_STATE = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")


def _write_config():
    if os.environ.get("LIBERO_CONFIG_PATH") or os.path.exists(os.path.expanduser("~/.libero/config.yaml")):
        return
    folder = tempfile.mkdtemp(prefix="libero-")
    package = os.path.join(os.path.dirname(importlib.util.find_spec("libero").origin), "libero")
    names = {"benchmark_root": "", "bddl_files": "bddl_files", "init_states": "init_files", "assets": "assets"}
    lines = [f"{name}: {os.path.join(package, part)}" for name, part in names.items()] + [f"datasets: {folder}"]
    with open(os.path.join(folder, "config.yaml"), "w") as file:
        file.write("\n".join(lines) + "\n")
    os.environ["LIBERO_CONFIG_PATH"] = folder


class Host:
    def __init__(self):
        os.environ.setdefault("MUJOCO_GL", "egl")
        _write_config()
        from libero.libero import benchmark, get_libero_path
        from libero.libero.envs import OffScreenRenderEnv

        self._benchmarks, self._folder, self._make = benchmark.get_benchmark_dict(), get_libero_path, OffScreenRenderEnv
        self._name, self._env, self._states, self._text = None, None, None, ""
        self._observation, self._expert, self._drawn = None, None, True

    def reset(self, task, seed):
        if task != self._name:
            self._load(task)
        # LIBERO adds to this list at each reset, which moves what is drawn after it: a scene would hang on those before it.
        self._env.env.object_property_initializers.clear()
        self._env.seed(0)  # as published evaluations do: it places what no initial state holds
        self._env.reset()
        self._observation = self._env.set_init_state(self._states[seed % len(self._states)])
        for _ in range(_SETTLING):
            self._observation, *_ = self._env.step(_IDLE)
        return self._told(success=False)

    def step(self, action):
        self._observation, _, done, _ = self._env.step(np.asarray(action, np.float64))
        return self._told(success=bool(done))

    def look(self):
        self._draw(True)
        return {"images": self._images()}

    def expert(self):
        self._draw(False)  # until somebody looks: most of a step's time goes into pictures
        self._expert = Expert(World(self._env.env))

    def act(self):
        return {"action": self._expert()}

    def _load(self, task):
        suite, _, number = task.rpartition("-")
        tasks = self._benchmarks[suite]()
        found = tasks.get_task(int(number))
        path = os.path.join(self._folder("bddl_files"), found.problem_folder, found.bddl_file)
        if self._env is not None:
            self._env.close()
        self._env = self._make(bddl_file_name=path, camera_heights=_SIZE, camera_widths=_SIZE)
        self._states, self._text, self._name = tasks.get_task_init_states(int(number)), found.language, task
        self._drawn = True
        for name in set(self._env.env._observables) - {*_STATE, *_CAMERAS.values()}:  # nobody asks for these
            self._env.env.modify_observable(name, "enabled", False)

    def _draw(self, on):
        if on == self._drawn:
            return
        env, self._drawn = self._env.env, on
        for name in _CAMERAS.values():
            env.modify_observable(name, "enabled", on)
            if on:  # in time with the others, as set_init_state leaves them
                env._observables[name].update(2 * env.model_timestep, env._obs_cache, force=True)
        if on:
            self._observation = env._get_observations()

    def _images(self):
        """robosuite 1.4 hands pictures out upside down; the published data sets turn them by half a turn."""
        return {role: np.ascontiguousarray(self._observation[key][::-1, ::-1]) for role, key in _CAMERAS.items()}

    def _told(self, *, success):
        seen = self._observation
        hand = np.concatenate([seen["robot0_eef_pos"], seen["robot0_eef_quat"]]).astype(np.float64)
        return {
            "state": {"hand": hand, "fingers": np.asarray(seen["robot0_gripper_qpos"], np.float64)},
            "instruction": self._text, "success": success,
        }  # fmt: skip
