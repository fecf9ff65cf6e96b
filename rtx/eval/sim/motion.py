"""How a simulated arm moves: a pose becomes joint angles, joint angles become torques.

    pose aimed at --inverse kinematics, from the measured angles--> q_aim        (damped least squares, spare joint to home)
    q_wanted      = q_start + share(t) (q_aim - q_start)                         (there after 0.6 of the control period)
    tau           = M (kp (q_wanted - q) - kd dq/dt) + bias - passive            (computed torque, clipped to the motors)

Real arms under a Cartesian command work so, and it holds its own where operational space control (robosuite's OSC_POSE,
tried first) does not: near singularities and at the motors' limits random commands threw some arms about by decimetres.
It is also cheap: 0.01 ms of computing for a physics step against 0.27 there (one core). Gravity and passive joint forces
are compensated, without which the ViperX lags behind.
"""

from __future__ import annotations

import numpy as np

from rtx.eval.sim.build import GRIP_SITE
from rtx.eval.sim.mujoco_gl import mujoco

KP = 500.0  # 1/s^2; critically damped
_KD = 2 * KP**0.5
_RAMP = 0.6  # share of the period over which the wanted angles move
_SLICE_S = 0.01  # between two updates of the wanted angles
_GRIPPER_STROKE_S = 0.25  # from open to closed
_MAX_JOINT_SPEED = 3.0  # rad/s; what asks for more (a singularity near by) is carried out in part
_IK_STEPS = 15
_IK_STEP = 0.3  # m or rad that one iteration goes at most
_TURN_WEIGHT_M = 0.1  # metres that a radian is worth
_DAMPING = 1e-4 * np.eye(6)
_SPARE_GAIN = 0.2  # of the spare joint's way home, per iteration


class Motion:
    """One arm in one `data`. Positions in metres and the base frame, which is the world's."""

    def __init__(
        self, model: mujoco.MjModel, data: mujoco.MjData, *, joints: tuple[str, ...], actuators: tuple[str, ...],
        gripper_actuators: tuple[str, ...], open_ctrl: tuple[float, ...], closed_ctrl: tuple[float, ...],
    ) -> None:  # fmt: skip
        self.model, self.data = model, data
        self._site = model.site(GRIP_SITE).id
        self.qpos_at = _run([int(model.joint(name).qposadr[0]) for name in joints])
        self._dof = _run([int(model.joint(name).dofadr[0]) for name in joints])
        ids = [model.joint(name).id for name in joints]
        limited = model.jnt_limited[ids].astype(bool)
        self._lowest = np.where(limited, model.jnt_range[ids, 0] + 0.02, -np.inf)
        self._highest = np.where(limited, model.jnt_range[ids, 1] - 0.02, np.inf)
        self._actuator = _run([int(model.actuator(name).id) for name in actuators])
        self._weakest, self._strongest = model.actuator_ctrlrange[self._actuator].T.copy()
        self._gripper = np.array([model.actuator(name).id for name in gripper_actuators])
        self._open, self._closed = np.array(open_ctrl), np.array(closed_ctrl)
        self._scratch = mujoco.MjData(model)  # inverse kinematics must not touch the state
        self._jac = np.zeros((6, model.nv))
        self._wanted, self._product = np.zeros(model.nv), np.zeros(model.nv)
        # Views made once: half of the time of a small numpy program is spent on making them.
        self._q, self._velocity = data.qpos[self.qpos_at], data.qvel[self._dof]
        self._bias, self._passive = data.qfrc_bias[self._dof], data.qfrc_passive[self._dof]
        self._torque = data.ctrl[self._actuator]
        self.home = self._q.copy()
        self.opening = 1.0  # commanded, following its target at a limited speed

    @property
    def position(self) -> np.ndarray:
        return np.array(self.data.site_xpos[self._site])

    @property
    def rotation(self) -> np.ndarray:
        return np.array(self.data.site_xmat[self._site].reshape(3, 3))

    def servo(self, position: np.ndarray, rotation: np.ndarray, opening: float, *, seconds: float) -> None:
        """Simulates `seconds` towards a pose and a gripper opening (0 closed, 1 open)."""
        start = self._q.copy()
        way = self.solve(position, rotation, start=start, steps=_IK_STEPS)[0] - start
        way *= min(1.0, _MAX_JOINT_SPEED * seconds / max(float(np.abs(way).max()), 1e-9))
        steps, stride = round(seconds / self.model.opt.timestep), round(_SLICE_S / self.model.opt.timestep)
        for step in range(0, steps, stride):
            wanted = start + min(1.0, (step + stride) / (_RAMP * steps)) * way
            self._slew_gripper(opening, stride * self.model.opt.timestep)
            for _ in range(min(stride, steps - step)):
                mujoco.mj_step1(self.model, self.data)
                self._drive(wanted)
                mujoco.mj_step2(self.model, self.data)
        mujoco.mj_step1(self.model, self.data)  # so that what is read and rendered next is of now

    def _slew_gripper(self, target: float, seconds: float) -> None:
        most = seconds / _GRIPPER_STROKE_S
        self.opening += min(max(target - self.opening, -most), most)
        self.data.ctrl[self._gripper] = self._closed + self.opening * (self._open - self._closed)

    def _drive(self, wanted: np.ndarray) -> None:
        self._wanted[self._dof] = KP * (wanted - self._q) - _KD * self._velocity
        mujoco.mj_mulM(self.model, self.data, self._product, self._wanted)
        torque = self._product[self._dof] + self._bias - self._passive
        self._torque[:] = np.minimum(np.maximum(torque, self._weakest), self._strongest)

    def solve(
        self, position: np.ndarray, rotation: np.ndarray, *, start: np.ndarray, steps: int = 100
    ) -> tuple[np.ndarray, float]:
        """Joint angles that bring the gripper point to a pose, from `start`; and the error left (m + rad). Changes no state.

        Of a pose out of reach, the angles that came nearest; the place counts more than the turn.
        """
        q, best, least, nearest = start, start, np.inf, np.inf
        for _ in range(steps):
            offset, arm = self._miss(position, rotation, q)
            away, turn = float(np.linalg.norm(offset[:3])), float(np.linalg.norm(offset[3:]))
            error = away + turn
            if away + _TURN_WEIGHT_M * turn < least:
                best, least, nearest = q, away + _TURN_WEIGHT_M * turn, error
            if error < 1e-4:
                break
            gain = np.linalg.solve(arm @ arm.T + _DAMPING, arm)  # [6, joints]
            spare = _SPARE_GAIN * (self.home - q)
            q = q + gain.T @ (min(1.0, _IK_STEP / error) * offset - arm @ spare) + spare
            q = np.minimum(np.maximum(q, self._lowest), self._highest)
        return best, nearest

    def _miss(self, position: np.ndarray, rotation: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is missing to the pose at angles `q`, `[6]` m and rad; and the arm's Jacobian there, `[6, joints]`."""
        data = self._scratch
        data.qpos[self.qpos_at] = q
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_comPos(self.model, data)
        mujoco.mj_jacSite(self.model, data, self._jac[:3], self._jac[3:], self._site)
        turn = rotation_vector(rotation @ data.site_xmat[self._site].reshape(3, 3).T)
        return np.concatenate([position - data.site_xpos[self._site], turn]), self._jac[:, self._dof]


def _run(addresses: list[int]) -> slice:
    """Consecutive addresses as a slice: indexing by it makes a view, not a copy."""
    first = addresses[0]
    assert addresses == list(range(first, first + len(addresses)))
    return slice(first, first + len(addresses))


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
