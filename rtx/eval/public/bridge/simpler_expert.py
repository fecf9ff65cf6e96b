"""A scripted expert of ours for SimplerEnv's tasks of picking up: from above, across the object's narrowest side.

    over it, down, close --> [pick] up
                         --> [put] up, over the place, down, open, up
                         --> [near] along the table to the place, open, up

It knows the simulator's state: meshes, poses, and where the arm's controller means to be. It speaks the suite's own actions.
Everything is in metres, in the frame of the robot's base, in which z is up.
"""

# mypy: ignore-errors
# Of any Python that a suite runs in, and typed by none: its packages are not here.

import numpy as np
from mani_skill2_real2sim.utils.trimesh_utils import get_actor_mesh
from scipy.spatial.transform import Rotation

_DOWN = np.array([0.0, 0.0, -1.0])


class Arm:
    """How one of the two robots is commanded: how fast, how deep, from where. The y of its hand is the way that it closes."""

    def __init__(self, env):
        self._env = env

    def pose(self):
        return self.split(self._env.agent.robot.pose.inv() * self._env.tcp.pose)

    def points(self, actor):
        """The actor's collision mesh, [n, 3]."""
        vertices = get_actor_mesh(actor, to_world_frame=True).vertices
        base = self._env.agent.robot.pose.inv().to_transformation_matrix()
        return vertices @ base[:3, :3].T + base[:3, 3]

    def action(self, position, rotation, gripper):
        """Towards a pose, as far as one step goes."""
        here, turned, lag = self.reference()
        turn = (rotation * turned.inv()).as_rotvec()
        turn *= min(1.0, self.max_turn / max(np.linalg.norm(turn), 1e-9))
        step = position - here - Rotation.from_rotvec(turn).apply(lag)
        step *= min(1.0, self.max_step / max(np.linalg.norm(step), 1e-9))
        return np.array([*step, *turn, gripper])

    @staticmethod
    def split(pose):
        return np.asarray(pose.p, np.float64), Rotation.from_quat(np.roll(pose.q, -1))


class WidowX(Arm):
    """Its deltas add up from where the controller means to be: turned about where the hand is, which lags behind."""

    max_step, max_turn, near, patience = 0.04, 0.3, 0.004, 14
    lowest, highest = 0.0, 0.28  # of the way to an object
    opened, closed, closing_steps = 1.0, -1.0, 4
    tip, palm = 0.018, 0.02  # from the middle of the grip to the fingers' ends, and to what the fingers hang from

    def reference(self):
        here, _ = self.pose()
        meant, turned = self.split(self._env.agent.controller.controllers["arm"]._target_pose)
        return here, turned, meant - here

    def hand(self, closing):
        """Straight down."""
        return Rotation.from_matrix(np.stack([_DOWN, closing, np.cross(_DOWN, closing)], axis=1))


class Google(Arm):
    """Its deltas start from where the hand is, which goes about a third of them in one step."""

    max_step, max_turn, near, patience = 0.12, 0.3, 0.01, 22
    lowest, highest = 0.97, 0.985  # cans and bottles stand about
    opened, closed, closing_steps = -1.0, 1.0, 5
    tip, palm = 0.03, 0.08

    def reference(self):
        return *self.pose(), np.zeros(3)

    def hand(self, closing):
        """Turned about where it points at now: it is bent forward, and cannot point straight down everywhere."""
        ahead = self.pose()[1].as_matrix()[:, 2]
        side = closing - closing @ ahead * ahead
        side /= np.linalg.norm(side)
        return Rotation.from_matrix(np.stack([np.cross(side, ahead), side, ahead], axis=1))


class Expert:
    _OVER, _CARRIED, _AIR, _BESIDE = 0.07, 0.04, 0.004, 0.04
    _ANGLES, _NEAR_RAD, _TURNING = 36, 0.08, 0.004

    def __init__(self, env, task):
        self._env, self._arm = env, (WidowX if "widowx" in task else Google)(env)
        self._steps = self._script(task)

    def __call__(self):
        return next(self._steps)

    def _script(self, task):
        arm, goal = self._arm, None
        if "pick" in task:
            actor = self._env.obj
        else:
            actor, goal = self._env.episode_source_obj, self._env.episode_target_obj
        start = arm.points(actor)
        place, rotation = self._grasp(start)
        over = place + _up(self._OVER + np.ptp(start[:, 2]) / 2)
        over[2] = min(over[2], arm.highest)
        yield from self._to(np.array([*over[:2], max(over[2], arm.lowest)]), rotation, arm.opened)
        yield from self._to(over, rotation, arm.opened)
        yield from self._to(place, rotation, arm.opened)
        yield from self._hold(arm.closed, arm.closing_steps)
        if "near" in task:
            yield from self._drag(actor, goal, rotation)
        else:
            yield from self._to(over, rotation, arm.closed)
        if "widowx" in task:
            yield from self._set_down(actor, goal, rotation)
        yield from self._hold(arm.closed if goal is None else arm.opened, 10**9)

    def _grasp(self, points):
        """Where the middle of the grip goes, and how the hand is turned there."""
        angles = np.arange(self._ANGLES) * np.pi / self._ANGLES
        now = self._arm.pose()[1].as_matrix()[:, 1]
        sides = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
        sides *= np.where(sides @ now > 0, 1, -1)[:, None]  # a hand turned by half a turn closes the same way
        costs = np.ptp(points @ sides.T, axis=0) + self._TURNING * np.arccos(np.clip(sides @ now, -1, 1))
        closing = sides[np.argmin(costs)]
        low, high = points.min(0), points.max(0)
        middle = sum(_middle(points @ axis) * axis for axis in (closing, np.cross(closing, _DOWN)))
        height = max((low + high)[2] / 2, low[2] + self._arm.tip, high[2] - self._arm.palm)
        return np.array([*middle[:2], height]), self._arm.hand(closing)

    def _drag(self, actor, goal, rotation):
        """Near the goal, on the side from which it comes."""
        arm = self._arm
        carried, points = arm.points(actor), arm.points(goal)
        there, middle = _middle(points)[:2], _middle(carried)[:2]
        away = (middle - there) / np.linalg.norm(middle - there)
        reach = sum(np.ptp(p[:, :2] @ away) / 2 for p in (points, carried))
        wanted = there + away * (reach + self._BESIDE)
        place = arm.pose()[0] + np.array([*(wanted - middle), self._AIR])
        yield from self._to(place, rotation, arm.closed)
        yield from self._hold(arm.opened, arm.closing_steps)
        yield from self._to(place + _up(self._OVER), rotation, arm.opened)

    def _set_down(self, actor, goal, rotation):
        """On the goal's middle."""
        arm = self._arm
        here, _ = arm.pose()
        carried, points = arm.points(actor), arm.points(goal)
        middle, wanted, floor = _middle(carried)[:2], _middle(points)[:2], points[:, 2].max()
        rise = max(0.0, floor + self._CARRIED - carried[:, 2].min())
        over = here + _up(rise)
        yield from self._to(over, rotation, arm.closed)
        over[:2] += wanted - middle
        yield from self._to(over, rotation, arm.closed)
        fall = arm.points(actor)[:, 2].min() - floor - self._AIR
        yield from self._to(np.array([*over[:2], arm.pose()[0][2] - fall]), rotation, arm.closed)
        yield from self._hold(arm.opened, arm.closing_steps)
        yield from self._to(over, rotation, arm.opened)

    def _to(self, position, rotation, gripper):
        """Until it is there, or it does not get nearer."""
        arm = self._arm
        for _ in range(arm.patience):
            here, turned = arm.pose()
            if np.linalg.norm(position - here) < arm.near and (rotation * turned.inv()).magnitude() < self._NEAR_RAD:
                return
            yield arm.action(position, rotation, gripper)

    def _hold(self, gripper, steps):
        position, rotation = self._arm.pose()
        for _ in range(steps):
            yield self._arm.action(position, rotation, gripper)


def _up(metres):
    return np.array([0.0, 0.0, metres])


def _middle(points):
    """Between the lowest and the highest, along each axis."""
    return (points.min(0) + points.max(0)) / 2
