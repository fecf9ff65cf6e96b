"""How a simulated arm moves: torques that bring its gripper point to a pose (operational space control), and the inverse.

    a  = kp (x_target - x) - kd dx/dt                    wanted acceleration of the gripper point, translation and rotation
    a0 = kp0 (q_home - q) - kd0 dq/dt                    what the spare joint would like
    tau = J^T L (a - J a0) + M a0 + bias - passive       L = (J M^-1 J^T)^-1

It is the control law of robosuite's OSC_POSE (Khatib 1987) on MuJoCo's own arrays: 0.04 ms of computing
for a 2 ms step against 0.27 there (one core), and stiffer, so that a command of one control period is carried out within it. Passive joint forces are
compensated, without which the ViperX lags behind.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rtx.eval.sim.build import GRIP_SITE
from rtx.eval.sim.mujoco_gl import mujoco

KP = 500.0  # 1/s^2; critically damped
KP_SPARE = 10.0
_RAMP = 0.6  # share of the period over which the target moves from the measured pose to the commanded one
_GRIPPER_STROKE_S = 0.25  # from open to closed
_SLICE = 5  # physics steps between two updates of the target: 10 ms


class Motion:
    """One arm in one `data`. Positions in metres and the base frame, which is the world's."""

    def __init__(
        self, model: mujoco.MjModel, data: mujoco.MjData, *, joints: tuple[str, ...], actuators: tuple[str, ...],
        gripper_actuators: tuple[str, ...], open_ctrl: ArrayLike, closed_ctrl: ArrayLike,
    ) -> None:  # fmt: skip
        self.model, self.data = model, data
        self._site = model.site(GRIP_SITE).id
        self.qpos_at = np.array([model.joint(name).qposadr[0] for name in joints])
        self._dof = np.array([model.joint(name).dofadr[0] for name in joints])
        self._range = model.jnt_range[[model.joint(name).id for name in joints]]
        self._limited = model.jnt_limited[[model.joint(name).id for name in joints]].astype(bool)
        self._actuator = np.array([model.actuator(name).id for name in actuators])
        self._torque = model.actuator_ctrlrange[self._actuator]
        self._gripper = np.array([model.actuator(name).id for name in gripper_actuators])
        self._open, self._closed = np.array(open_ctrl), np.array(closed_ctrl)
        self._jac = np.zeros((6, model.nv))
        self._solved = np.zeros((6, model.nv))
        self._spare = np.zeros(model.nv)
        self._product = np.zeros(model.nv)
        self.home = data.qpos[self.qpos_at].copy()
        self.opening = 1.0  # commanded, following its target at a limited speed

    @property
    def position(self) -> np.ndarray:
        return self.data.site_xpos[self._site].copy()

    @property
    def rotation(self) -> np.ndarray:
        return self.data.site_xmat[self._site].reshape(3, 3).copy()

    def servo(self, position: np.ndarray, rotation: np.ndarray, opening: float, *, seconds: float) -> None:
        """Simulates `seconds` towards a pose and a gripper opening (0 closed, 1 open)."""
        start, turn = self.position, rotation_vector(rotation @ self.rotation.T)
        first = self.rotation
        steps = round(seconds / self.model.opt.timestep)
        for step in range(0, steps, _SLICE):
            share = min(1.0, (step + _SLICE) / (_RAMP * steps))
            target = start + share * (position - start), rotation_matrix(share * turn) @ first
            self._slew_gripper(opening, _SLICE * self.model.opt.timestep)
            for _ in range(min(_SLICE, steps - step)):
                mujoco.mj_step1(self.model, self.data)
                self.data.ctrl[self._actuator] = self._torques(*target)
                mujoco.mj_step2(self.model, self.data)
        mujoco.mj_step1(self.model, self.data)  # so that what is read and rendered next is of now

    def _slew_gripper(self, target: float, seconds: float) -> None:
        most = seconds / _GRIPPER_STROKE_S
        self.opening += float(np.clip(target - self.opening, -most, most))
        self.data.ctrl[self._gripper] = self._closed + self.opening * (self._open - self._closed)

    def _torques(self, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        data, dof, jac = self.data, self._dof, self._jac
        mujoco.mj_jacSite(self.model, data, jac[:3], jac[3:], self._site)
        mujoco.mj_solveM(self.model, data, self._solved, jac)
        arm = jac[:, dof]
        velocity = data.qvel[dof]
        error = np.empty(6)
        error[:3] = position - data.site_xpos[self._site]
        error[3:] = _small_rotation(rotation, data.site_xmat[self._site].reshape(3, 3))
        wanted = KP * error - 2 * np.sqrt(KP) * (arm @ velocity)
        spare = KP_SPARE * (self.home - data.qpos[self.qpos_at]) - 2 * np.sqrt(KP_SPARE) * velocity
        self._spare[dof] = spare
        mujoco.mj_mulM(self.model, data, self._product, self._spare)
        mobility = arm @ self._solved[:, dof].T
        mobility[np.diag_indices(6)] += 1e-4  # keeps the forces finite where the arm cannot move
        force = np.linalg.solve(mobility, wanted - arm @ spare)
        torque = arm.T @ force + self._product[dof] + data.qfrc_bias[dof] - data.qfrc_passive[dof]
        return np.clip(torque, self._torque[:, 0], self._torque[:, 1])

    def solve(
        self, position: np.ndarray, rotation: np.ndarray, *, start: np.ndarray, steps: int = 100
    ) -> tuple[np.ndarray, float]:
        """Joint angles that bring the gripper point to a pose, by damped least squares from `start`; the error left (m + rad).

        Leaves `data` at these angles, kinematics computed.
        """
        data, q = self.data, start.copy()
        error = np.inf
        for _ in range(steps):
            data.qpos[self.qpos_at] = q
            mujoco.mj_kinematics(self.model, data)
            mujoco.mj_comPos(self.model, data)
            offset = position - data.site_xpos[self._site]
            turn = rotation_vector(rotation @ data.site_xmat[self._site].reshape(3, 3).T)
            error = float(np.linalg.norm(offset) + np.linalg.norm(turn))
            if error < 1e-5:
                break
            scale = min(1.0, 0.3 / error)  # small steps: far targets are approached, not jumped at
            mujoco.mj_jacSite(self.model, data, self._jac[:3], self._jac[3:], self._site)
            arm = self._jac[:, self._dof]
            twist = scale * np.concatenate([offset, turn])
            q = q + arm.T @ np.linalg.solve(arm @ arm.T + 1e-5 * np.eye(6), twist)
            q = np.where(self._limited, np.clip(q, self._range[:, 0] + 0.02, self._range[:, 1] - 0.02), q)
        return q, error


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """Axis times angle (rad) of one 3x3 rotation matrix."""
    quaternion, vector = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(rotation).reshape(9))
    mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vector


def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """Inverse of `rotation_vector`."""
    angle = float(np.linalg.norm(vector))
    quaternion, matrix = np.zeros(4), np.zeros(9)
    mujoco.mju_axisAngle2Quat(quaternion, vector / angle if angle > 1e-12 else np.array([1.0, 0, 0]), angle)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)


def _small_rotation(target: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Rotation vector between two matrices, exact for small angles; saturates towards 90 degrees."""
    e = target @ now.T
    return 0.5 * np.array([e[2, 1] - e[1, 2], e[0, 2] - e[2, 0], e[1, 0] - e[0, 1]])
