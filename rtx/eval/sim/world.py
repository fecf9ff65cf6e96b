"""One arm at one kind of table, as MuJoCo has it: lays out what an episode wants, says where things are, draws them.

The models are loaded once; a new layout edits arrays and takes milliseconds. What an episode does not want floats behind
the arm or lies under the floor, invisible and touching nothing.
"""

from __future__ import annotations

import numpy as np

from rtx.eval.sim.appearance import Appearance
from rtx.eval.sim.arms import SimArm
from rtx.eval.sim.layout import Layout, Placed
from rtx.eval.sim.models import load_models
from rtx.eval.sim.motion import Motion
from rtx.eval.sim.mujoco_gl import mujoco
from rtx.eval.sim.objects import BAR, CABINET, DRAWER, KNOB, TABLE, THINGS, fixed, loose
from rtx.eval.sim.render import SceneRenderer

_STILL_M_S = 0.05  # what moves slower lies still


class World:
    """Raises what `load_models` raises."""

    def __init__(self, arm: SimArm, table: str = TABLE) -> None:
        self.arm, self._table = arm, table
        models = load_models(arm, table)
        self._calibration = calibration = models.calibration
        self.model, self.data = models.physics, mujoco.MjData(models.physics)
        self.motion = Motion(
            self.model, self.data, joints=calibration.arm_joints, actuators=calibration.arm_actuators,
            gripper_actuators=calibration.gripper_actuators, open_ctrl=calibration.open_ctrl,
            closed_ctrl=calibration.closed_ctrl,
        )  # fmt: skip
        self.motion.home = np.array(calibration.home_qpos)
        self.home_rotation = np.array(calibration.home_rotation)
        names = [self.model.body(i).name for i in range(self.model.nbody)]
        self._is_hand = np.array([name.startswith(("robot0", "gripper0")) for name in names])
        self.renderer = SceneRenderer(models.render)
        self.appearance = Appearance(models.render, arm, table)

    def begin(self, layout: Layout, hand: np.ndarray) -> None:
        """These things on the table, at rest, and the open hand at a place (m, base frame) or as near as the arm gets."""
        mujoco.mj_resetData(self.model, self.data)
        self._lay_out(layout)
        self._place_hand(hand)

    def place(self, body: str) -> np.ndarray:
        """`[3]` the middle of a body, m, base frame."""
        return np.array(self.data.body(body).xpos)

    def is_let_go(self, body: str) -> bool:
        """Whether a loose thing lies still, and the hand does not touch it."""
        moved = self.model.body(body)
        velocity = self.data.qvel[moved.dofadr[0] : moved.dofadr[0] + 3]
        return float(np.linalg.norm(velocity)) < _STILL_M_S and not len(self._hands_on(int(moved.id)))

    def is_gripped(self, body: str) -> bool:
        """Whether the hand touches it from two sides."""
        return len(self._hands_on(int(self.model.body(body).id))) >= 2

    @property
    def opening(self) -> float:
        """Of the gripper, measured between its pads: 0 closed, 1 open."""
        c = self._calibration
        first, second = (self.data.geom(pad).xpos for pad in c.pads)
        gap = abs(float((self.motion.rotation @ np.array(c.finger_axis)) @ (second - first)))
        return float(np.clip((gap - c.closed_gap_m) / (c.open_gap_m - c.closed_gap_m), 0.0, 1.0))

    def close(self) -> None:
        self.renderer.close()

    def _hands_on(self, body: int) -> np.ndarray:
        """Bodies of the hand that touch this one, by number."""
        pairs = self.model.geom_bodyid[self.data.contact.geom]  # [contacts, 2]
        others = pairs[(pairs == body).any(axis=1)].sum(axis=1) - body
        return np.unique(others[self._is_hand[others]])

    def _lay_out(self, layout: Layout) -> None:
        present = {thing.body: thing for thing in layout.things}
        for number, name in enumerate(loose(self._table)):
            thing = present.get(name)
            self.model.body_gravcomp[self.model.body(name).id] = thing is None  # absent ones float, touching nothing
            geoms = self._geoms(name)
            self.model.geom_contype[geoms] = self.model.geom_conaffinity[geoms] = thing is not None
            pose = self.data.joint(name).qpos
            if thing is None:
                pose[:] = [-2.0, number, 0.0, 1, 0, 0, 0]
            else:
                pose[:3] = self._on_table(thing)
                pose[3:] = [np.cos(thing.yaw / 2), 0, 0, np.sin(thing.yaw / 2)]
        for name in fixed(self._table):
            self._stand(name, present.get(name))
        if CABINET in present:
            self._fit_drawer(layout)

    def _on_table(self, thing: Placed) -> np.ndarray:
        middle = self.arm.table_z_m + THINGS[thing.body].middle_m
        return np.array([self.arm.center_x_m + thing.xy[0], thing.xy[1], middle])

    def _stand(self, name: str, thing: Placed | None) -> None:
        at = self._on_table(thing) if thing else np.array([0.0, 0.0, -3.0])
        for model in (self.model, self.renderer.model):
            model.body(name).pos[:] = at
        self.model.geom_contype[self._geoms(name)] = thing is not None

    def _fit_drawer(self, layout: Layout) -> None:
        self.data.joint(DRAWER).qpos[0] = layout.drawer_m
        for handle in (BAR, KNOB):
            self.model.geom_contype[self._geoms(handle)] = handle == layout.handle

    def _geoms(self, body: str) -> slice:
        found = self.model.body(body)
        return slice(int(found.geomadr[0]), int(found.geomadr[0] + found.geomnum[0]))

    def _place_hand(self, start: np.ndarray) -> None:
        """Open, upright."""
        for name, q in zip(self._calibration.gripper_joints, self._calibration.open_qpos, strict=True):
            self.data.joint(name).qpos[0] = q
        qpos, _ = self.motion.solve(start, self.home_rotation, start=self.motion.home)
        self.data.qpos[self.motion.qpos_at] = qpos
        self.motion.opening = 1.0
        mujoco.mj_forward(self.model, self.data)
