"""Meta-World's 50 tasks of a Sawyer arm (`metaworld` 3), with the expert that the package has for each of them.

    native [x y z (cm), gripper] --the suite's own step--> state of hand and fingers, cameras corner4 and gripperPOV

Scenes are the suite's: its own ranges, seeded by the episode. The goal is in them, not in what a policy is told: where a goal
is a place without a mark, the little sphere that the suite draws is all there is to see.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rtx.eval.public.environment import Expert
from rtx.eval.public.in_process import InProcess
from rtx.eval.public.suite import PublicSuite
from rtx.robots.public_arms import METAWORLD_SAWYER

if TYPE_CHECKING:
    from rtx.eval.public.view import View

_OPEN_M = 0.1  # between the claws, as the suite's own observation has it

TASKS = {
    "assembly-v3": "pick up the wrench and place it onto the peg",
    "basketball-v3": "dunk the basketball into the basket",
    "bin-picking-v3": "take the puck from one bin and put it into the other",
    "box-close-v3": "grasp the cover and close the box with it",
    "button-press-topdown-v3": "press the button from the top",
    "button-press-topdown-wall-v3": "go over the wall and press the button from the top",
    "button-press-v3": "press the button",
    "button-press-wall-v3": "go around the wall and press the button",
    "coffee-button-v3": "push the button on the coffee machine",
    "coffee-pull-v3": "pull the mug away from the coffee machine",
    "coffee-push-v3": "push the mug under the coffee machine",
    "dial-turn-v3": "turn the dial",
    "disassemble-v3": "take the wrench off the peg",
    "door-close-v3": "close the door",
    "door-lock-v3": "lock the door",
    "door-open-v3": "open the door",
    "door-unlock-v3": "unlock the door",
    "hand-insert-v3": "put the hand into the hole",
    "drawer-close-v3": "close the drawer",
    "drawer-open-v3": "open the drawer",
    "faucet-open-v3": "open the faucet",
    "faucet-close-v3": "close the faucet",
    "hammer-v3": "hammer the screw into the wall",
    "handle-press-side-v3": "press the handle down sideways",
    "handle-press-v3": "press the handle down",
    "handle-pull-side-v3": "pull the handle up sideways",
    "handle-pull-v3": "pull the handle up",
    "lever-pull-v3": "pull the lever up",
    "pick-place-wall-v3": "pick up the puck, go over the wall and place it at the goal",
    "pick-out-of-hole-v3": "pick the puck out of the hole",
    "pick-place-v3": "pick up the puck and place it at the goal",
    "plate-slide-v3": "slide the plate into the cabinet",
    "plate-slide-side-v3": "slide the plate into the cabinet sideways",
    "plate-slide-back-v3": "slide the plate out of the cabinet",
    "plate-slide-back-side-v3": "slide the plate out of the cabinet sideways",
    "peg-insert-side-v3": "insert the peg sideways",
    "peg-unplug-side-v3": "unplug the peg sideways",
    "soccer-v3": "kick the ball into the goal",
    "stick-push-v3": "grasp the stick and push the box with it",
    "stick-pull-v3": "grasp the stick and pull the box with it",
    "push-v3": "push the puck to the goal",
    "push-wall-v3": "go around the wall and push the puck to the goal",
    "push-back-v3": "push the puck back to the goal",
    "reach-v3": "reach the goal",
    "reach-wall-v3": "go over the wall and reach the goal",
    "shelf-place-v3": "pick up the puck and place it onto the shelf",
    "sweep-into-v3": "sweep the puck into the hole",
    "sweep-v3": "sweep the puck off the table",
    "window-open-v3": "push the window open",
    "window-close-v3": "push the window closed",
}
"""In the suite's order. Meta-World has no instructions: these say what its documentation says of each task."""

MT10 = (
    "reach-v3", "push-v3", "pick-place-v3", "door-open-v3", "drawer-open-v3", "drawer-close-v3", "button-press-topdown-v3",
    "peg-insert-side-v3", "window-open-v3", "window-close-v3",
)  # fmt: skip

SUITE = PublicSuite(
    name="metaworld", title="Meta-World (50 tasks; by default those of MT10)", arm="metaworld_sawyer", robot=METAWORLD_SAWYER,
    tasks=TASKS, max_steps=500, environment="rtx.eval.public.metaworld:MetaWorld",
    install="pip install 'rtx-robotics[metaworld]'", expert="the package's scripted policies, one for each task",
    default_tasks=MT10,
)  # fmt: skip


class MetaWorld(InProcess):
    cameras: ClassVar = {"primary": "corner4", "wrist": "gripperPOV"}

    def _import_suite(self) -> None:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
        from metaworld.policies import ENV_POLICY_MAP

        self._classes: Mapping[str, Any] = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
        self._experts: Mapping[str, Any] = ENV_POLICY_MAP
        self._env: Any = None
        self._observation = np.zeros(39)

    def _expert(self) -> Expert:
        policy = self._experts[self._task]()

        def act() -> np.ndarray:
            with warnings.catch_warnings():  # the experts ask for more than a step, which the suite clips
                warnings.simplefilter("ignore")
                return np.clip(np.asarray(policy.get_action(self._observation), np.float64), -1, 1)

        return act

    def _load(self, task: str) -> None:
        self._env = self._classes[f"{task}-goal-observable"](seed=0)
        self._env._freeze_rand_vec = False  # a new scene at each reset ...
        self._env.seeded_rand_vec = True  # ... from the generator that `seed` makes
        self._env.max_path_length = 10**9  # episodes end by rtx.eval.play

    def _place(self, seed: int) -> None:
        self._env.seed(seed % 2**32)
        self._env.np_random = np.random.default_rng(seed)
        self._observation, _ = self._env.reset()

    def _advance(self, native: np.ndarray) -> bool:
        self._observation, _, _, _, info = self._env.step(np.clip(native, -1, 1).astype(np.float32))
        return bool(info["success"])

    def _proprio(self) -> np.ndarray:
        data = self._env.data
        claws = data.body("rightclaw").xpos - data.body("leftclaw").xpos
        opening = np.clip(np.linalg.norm(claws) / _OPEN_M, 0.0, 1.0)
        hand = data.body("hand")
        return np.concatenate([hand.xpos, hand.xquat, [opening]])

    def _open_view(self) -> View:
        return self._make_view(self._env.model, self._env.data)

    def _drawn(self, role: str, size: int) -> np.ndarray:
        """corner4 hangs upside down: turned by half a turn, as published results have it."""
        picture = super()._drawn(role, size)
        return np.ascontiguousarray(picture[::-1, ::-1]) if role == "primary" else picture
