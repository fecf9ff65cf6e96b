"""gym-aloha's two tasks: two ViperX arms in joint targets at 50 Hz (`gym-aloha` 0.1).

    native [left 6 joints (rad), opening, right 6 joints, opening] = the suite's own action

The package has neither experts nor demonstrations. What is replayed is a script of ours in the package's own end-effector scene
(arms dragged by their hands), as the suite's published demonstrations were made: the joints that this passes through are
the targets sent in the suite's scene.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rtx.eval.public.aloha_script import handover
from rtx.eval.public.environment import Expert
from rtx.eval.public.in_process import InProcess
from rtx.eval.public.suite import PublicSuite
from rtx.robots.public_arms import GYM_ALOHA

if TYPE_CHECKING:
    from rtx.eval.public.view import View

TASKS = {
    "transfer_cube": "pick up the cube with the right arm and hand it over to the left arm",
    "insertion": "pick up the socket with the left arm and the peg with the right arm and insert the peg into the socket",
}
_CLASSES = {"transfer_cube": "TransferCube", "insertion": "Insertion"}
_DONE = 4  # the suite's highest reward
SUITE = PublicSuite(
    name="gym-aloha", title="gym-aloha: two ViperX arms", arm="gym_aloha", robot=GYM_ALOHA, tasks=TASKS,
    max_steps=400, environment="rtx.eval.public.aloha:GymAloha", install="pip install 'rtx-robotics[aloha]'",
    expert="a script of ours, in the package's end-effector scene", expert_tasks=("transfer_cube",),
)  # fmt: skip


class GymAloha(InProcess):
    cameras: ClassVar = {"primary": "top"}

    def _import_suite(self) -> None:
        import dm_control.mujoco
        from gym_aloha import constants, utils
        from gym_aloha.tasks import sim

        self._mujoco, self._sim = dm_control.mujoco, sim
        self._constants, self._utils = constants, utils
        self._physics: Any = None
        self._rules: Any = None
        self._start = np.zeros(0)

    def _expert(self) -> Expert:
        plan = iter(self._joint_plan())
        last = self._proprio()

        def act() -> np.ndarray:
            nonlocal last
            last = next(plan, last)
            return last

        return act

    def _load(self, task: str) -> None:
        path = self._constants.ASSETS_DIR / f"bimanual_viperx_{task}.xml"
        self._physics = self._mujoco.Physics.from_xml_path(str(path))
        self._rules = getattr(self._sim, f"{_CLASSES[task]}Task")()

    def _place(self, seed: int) -> None:
        self._start = self._placement(seed % 2**32)
        self._sim.BOX_POSE[0] = self._start
        with self._physics.reset_context():
            self._rules.initialize_episode(self._physics)

    def _advance(self, native: np.ndarray) -> bool:
        """As the package's own step, but for its three pictures of 640 x 480 that nobody asked for."""
        self._rules.before_step(native, self._physics)
        self._physics.step(_substeps(self._physics, self._constants.DT))
        self._rules.after_step(self._physics)
        return bool(self._rules.get_reward(self._physics) == _DONE)

    def _placement(self, seed: int) -> np.ndarray:
        if self._task == "transfer_cube":
            return np.asarray(self._utils.sample_box_pose(seed))
        return np.concatenate(self._utils.sample_insertion_pose(seed))

    def _proprio(self) -> np.ndarray:
        return np.asarray(self._rules.get_qpos(self._physics), np.float64)

    def _open_view(self) -> View:
        return self._make_view(self._physics.model.ptr, self._physics.data.ptr)

    def _joint_plan(self) -> list[np.ndarray]:
        """Native commands: the joints of the script in the end-effector scene, grippers as they were commanded there."""
        from gym_aloha.tasks import sim_end_effector

        path = self._constants.ASSETS_DIR / f"bimanual_viperx_end_effector_{self._task}.xml"
        physics = self._mujoco.Physics.from_xml_path(str(path))
        rules = getattr(sim_end_effector, f"{_CLASSES[self._task]}EndEffectorTask")()
        with physics.reset_context():
            rules.initialize_episode(physics)
            physics.data.qpos[-len(self._start) :] = self._start
        poses = [np.concatenate([physics.data.mocap_pos[i], physics.data.mocap_quat[i]]) for i in (0, 1)]
        plan, substeps = [], _substeps(physics, self._constants.DT)
        for command in handover(*poses, box=self._start[:3]):
            rules.before_step(command, physics)
            physics.step(substeps)
            joints = np.asarray(rules.get_qpos(physics), np.float64)
            joints[[6, 13]] = command[[7, 15]]
            plan.append(joints)
        return plan


def _substeps(physics: Any, seconds: float) -> int:
    return round(seconds / physics.timestep())
