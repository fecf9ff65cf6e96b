"""Language-Table's board with eight blocks, for rtx_bridge.py. Tasks are the suite's five reward families.

Scenes, rewards, instructions and the oracle are the suite's; a scene for which the oracle finds no plan is drawn again, as its
own evaluation does. tf_agents is replaced by the three small classes that the oracle asks of it, where it is not installed.
"""

# mypy: ignore-errors
# Of any Python that a suite runs in, and typed by none: its packages are not here.

import importlib.util
import sys
import types
from collections import namedtuple

import numpy as np


def _stand_in_for_tf_agents():
    if importlib.util.find_spec("tf_agents") is not None:
        return

    class PyPolicy:
        def __init__(self, time_step_spec=None, action_spec=None, **_):
            pass

        def action(self, time_step, policy_state=()):
            return self._action(time_step, policy_state)

    names = {
        "tf_agents": {}, "tf_agents.policies": {}, "tf_agents.policies.py_policy": {"PyPolicy": PyPolicy},
        "tf_agents.trajectories": {},
        "tf_agents.trajectories.policy_step": {"PolicyStep": namedtuple("PolicyStep", "action state info", defaults=((), ()))},
        "tf_agents.trajectories.time_step": {"TimeStep": namedtuple("TimeStep", "step_type reward discount observation")},
    }  # fmt: skip
    for name, members in names.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        sys.modules[name] = module
    for name in names:
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])


class Host:
    def __init__(self):
        _stand_in_for_tf_agents()
        from language_table.environments import blocks, language_table
        from language_table.environments.oracles import push_oracle_rrt_slowdown
        from language_table.environments.rewards import (
            block2absolutelocation,
            block2block,
            block2block_relative_location,
            block2relativelocation,
            separate_blocks,
        )

        self._rewards = {
            "block2block": block2block.BlockToBlockReward,
            "block2absolutelocation": block2absolutelocation.BlockToAbsoluteLocationReward,
            "block2block_relative_location": block2block_relative_location.BlockToBlockRelativeLocationReward,
            "block2relativelocation": block2relativelocation.BlockToRelativeLocationReward,
            "separate_blocks": separate_blocks.SeparateBlocksReward,
        }
        self._blocks, self._suite, self._oracles = blocks, language_table, push_oracle_rrt_slowdown
        self._env, self._oracle = None, None
        self._observation, self._done = None, False

    def reset(self, task, seed):
        # A world of its own for each scene: the suite's reset leaves the arm's motors as they were, which moves blocks about;
        # the same seed would give another scene after another episode.
        if self._env is not None:
            self._env.pybullet_client.disconnect()
        np.random.seed(seed % 2**32)  # noqa: NPY002
        self._env = self._suite.LanguageTable(
            block_mode=self._blocks.LanguageTableBlockVariants.BLOCK_8, reward_factory=self._rewards[task], seed=seed % 2**32,
            render_text_in_image=False,
        )  # fmt: skip
        # The oracle asks its environment for things that only a wrapper around it has.
        self._env.time_step_spec = self._env.action_spec = lambda: None
        self._env.get_control_frequency = lambda: self._env._control_frequency
        planned = False
        while not planned:
            self._oracle = self._make_oracle()
            self._observation = self._env.reset()
            planned = self._oracle.get_plan(self._env.compute_state())
        self._done = False
        return self._told()

    def step(self, action):
        self._observation, _, self._done, _ = self._env.step(np.asarray(action, np.float32))
        return self._told()

    def look(self):
        return {"images": {"primary": self._observation["rgb"]}}

    def expert(self):
        np.random.seed(0)  # noqa: NPY002
        self._oracle = self._make_oracle()

    def act(self):
        step = types.SimpleNamespace(observation=self._env.compute_state(), is_first=lambda: False, is_last=lambda: False)
        return {"action": np.asarray(self._oracle.action(step, ()).action)}

    def _make_oracle(self):
        return self._oracles.ObstacleOrientedPushOracleBoard2dRRT(self._env, use_ee_planner=True)

    def _told(self):
        return {
            "state": {"effector": np.asarray(self._observation["effector_translation"], np.float64)},
            "instruction": self._suite.LanguageTable.decode_instruction(np.asarray(self._observation["instruction"])),
            "success": bool(self._done),
        }
