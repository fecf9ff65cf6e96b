"""A scripted expert for LIBERO's tasks of putting things on or into others, which knows the simulator's state.

    goals not yet reached --World--> boxes --libero_grasps--> a grasp, a free place --Expert--> OSC_POSE's -1..1 and a gripper

One goal after the other: over the object, down, close, up, over to the place, down, open, up. A grasp that slips is tried again
elsewhere. What a goal is, and whether it is reached, the suite says.
"""

# mypy: ignore-errors
# Of any Python that a suite runs in, and typed by none: its packages are not here.

import itertools

import numpy as np
from libero_grasps import TIP, Boxes, down, extent, grasps, hand_boxes, joined, lowest_free, moved

PUTS = ("on", "in")
"""Goals of this skill; drawers, doors and knobs are others."""
_UNIT_M, _UNIT_RAD, _GAIN = 0.05, 0.5, 2.0
_NEAR_M, _NEAR_RAD, _ROUGHLY_M = 0.004, 0.06, 0.02
_FINGERS_STEPS, _STALLED_STEPS, _STALLED_M = 10, 6, 0.0005
_OVER_M, _A_HAND_M, _FUNNEL_M, _STEEP = 0.03, 0.09, 0.06, 10.0
_GRASPS, _PLACES = 8, 2  # looked at for each other
_ARM = ("robot0", "gripper0", "mount0")


class World:
    """What the expert knows of one task: `env` is the suite's own, not the wrapper that resets it."""

    def __init__(self, env):
        self._env, self._model, self._data = env, env.sim.model._model, env.sim.data._data
        solid = (self._model.geom_contype | self._model.geom_conaffinity) != 0
        self._solid = np.nonzero(solid)[0]
        names = [env.sim.model.body_id2name(body) or "" for body in range(self._model.nbody)]
        self._arm = np.array([name.startswith(_ARM) for name in names])
        self._grip = env.sim.model.site_name2id("gripper0_grip_site")

    @property
    def goals(self):
        return [tuple(goal) for goal in self._env.parsed_problem["goal_state"]]

    def reached(self, goal):
        return bool(self._env._eval_predicate(list(goal)))

    def hand(self):
        """Of the point between the pads, [3] and [3, 3]. Fingers close along y here, along x of robosuite's site."""
        x, y, z = self._data.site_xmat[self._grip].reshape(3, 3).T
        return self._data.site_xpos[self._grip].copy(), np.stack([-y, x, z], axis=1)

    def apart(self):
        """Metres between the fingers."""
        fingers = self._env.robots[0]._ref_gripper_joint_pos_indexes
        return float(np.abs(self._data.qpos[fingers]).sum())

    def position(self, name):
        """Of an object's body: what the suite judges."""
        return self._data.xpos[self._env.obj_body_id[name]].copy()

    def heavy(self, name):
        return self._data.subtree_com[self._env.obj_body_id[name]].copy()

    def boxes(self, name):
        return self._boxes(self._of(name)[self._model.geom_bodyid[self._solid]])

    def others(self, name):
        """All but the object and the arm."""
        free = ~(self._of(name) | self._arm)
        return self._boxes(free[self._model.geom_bodyid[self._solid]])

    def place(self, goal):
        """The goal's second thing: middle [3], half its size along x and y, its floor, and a test of body positions."""
        where = goal[2]
        if where not in self._env.object_sites_dict:
            low, high = extent(self.boxes(where))
            middle = self.position(where)
            return middle, (high - low)[:2] / 2, middle[2], lambda body: np.hypot(*(body - middle)[:2]) < 0.02
        site = self._env.object_sites_dict[where]
        middle, turn = self._env.sim.data.get_site_xpos(where), self._env.sim.data.get_site_xmat(where)
        half = np.abs(turn @ np.asarray(site.size))
        judge = site.in_box if goal[0] == "in" else site.under
        return middle.copy(), half[:2], middle[2] - half[2] - 0.01, lambda body: judge(middle, turn, body)

    def _of(self, name):
        """Which bodies are the object's: its own and those on it. [nbody]"""
        body, found = self._env.obj_body_id[name], np.zeros(self._model.nbody, bool)
        found[body] = True
        for other in range(body + 1, self._model.nbody):
            found[other] = found[self._model.body_parentid[other]] and self._model.body_parentid[other] >= body
        return found

    def _boxes(self, which):
        geoms = self._solid[which]
        turns = self._data.geom_xmat[geoms].reshape(-1, 3, 3)
        bounds = self._model.geom_aabb[geoms].copy()
        plane = self._model.geom_type[geoms] == 0
        bounds[plane] = [0, 0, -0.5, 5, 5, 0.5]
        middles = self._data.geom_xpos[geoms] + np.einsum("nij,nj->ni", turns, bounds[:, :3])
        return Boxes(middles, turns, bounds[:, 3:])


class Expert:
    """Call it once a step for what the suite's `step` takes: [7]."""

    def __init__(self, world):
        self._world, self._failed = world, []
        self._actions = self._play()

    def __call__(self):
        return next(self._actions)

    def _play(self):
        while True:
            left = [goal for goal in self._world.goals if goal[0] in PUTS and not self._world.reached(goal)]
            if not left:
                yield self._action(np.zeros(3), self._yaw(), closed=False)
                continue
            yield from self._put(left[0])

    def _put(self, goal):
        name = goal[1]
        plan = self._plan(goal)
        if plan is None:
            yield from self._rise(0.1, closed=False)
            return
        grasp, by = plan
        yield from self._reach(name, grasp)
        yield from self._hold(grasp.position, grasp.yaw, closed=True)
        self._failed.append((name, grasp.position - self._world.position(name)))
        before = self._world.position(name)
        yield from self._carry(name, grasp.yaw, before + by)
        yield from self._hold(self._world.hand()[0], grasp.yaw, closed=False)
        yield from self._rise(0.08, closed=False)

    def _plan(self, goal):
        """A grasp and how far the object is to be moved before it is let go, None where there is no way."""
        name = goal[1]
        boxes, others, best = self._world.boxes(name), self._world.others(name), None
        places = self._places(goal, boxes, others)
        for grasp in itertools.islice(self._untried(name, boxes, others), _GRASPS):
            for by in places:
                drop = _drop(hand_boxes(grasp.position + by, grasp.yaw), others)
                if drop is not None and (best is None or drop < best[0] - _ROUGHLY_M):
                    best = drop, grasp, by + np.array([0.0, 0.0, drop])
            if best and best[0] < _ROUGHLY_M:
                break
        return best and best[1:]

    def _untried(self, name, boxes, others):
        body = self._world.position(name)
        for grasp in grasps(boxes, others, heavy=self._world.heavy(name), yaw=self._yaw()):
            if all(other != name or np.linalg.norm(grasp.position - body - at) > 0.01 for other, at in self._failed):
                yield grasp

    def _places(self, goal, boxes, others):
        """Ways to move the object so that the goal is reached and it stands on something, the nearest to the middle first."""
        middle, half, floor, good = self._world.place(goal)
        body, found = self._world.position(goal[1]), []
        bottom = extent(boxes)[0][2]
        spots = [np.array([x, y]) * half for x in np.linspace(-0.8, 0.8, 5) for y in np.linspace(-0.8, 0.8, 5)]
        for spot in sorted(spots, key=np.linalg.norm):
            by = np.array([*(middle[:2] + spot - body[:2]), 0.0])
            height = lowest_free(moved(boxes, by), others, floor=floor, ceiling=floor + 0.3)
            if height is None:
                continue
            by[2] = height - bottom
            if good(body + by):
                found.append(by)
                if len(found) == _PLACES:
                    break
        return found

    def _reach(self, name, grasp):
        hand, _ = self._world.hand()
        everything = joined([self._world.others(name), self._world.boxes(name)])
        over = _clear(everything, hand, grasp.position, TIP)
        yield from self._go(np.array([*hand[:2], max(hand[2], over)]), grasp.yaw, closed=False, near=_ROUGHLY_M)
        yield from self._go(np.array([*grasp.position[:2], over]), grasp.yaw, closed=False, near=_ROUGHLY_M)
        yield from self._go(lambda: self._funnel(grasp.position), grasp.yaw, closed=False, near=_NEAR_M)

    def _funnel(self, target):
        """No lower than the hand is near to being over it."""
        aside = np.linalg.norm((target - self._world.hand()[0])[:2])
        return target + np.array([0.0, 0.0, min(_STEEP * max(0.0, aside - _NEAR_M), _FUNNEL_M)])

    def _hold(self, position, yaw, *, closed):
        """Stays there while the fingers move: they start late, and stop where they meet something."""
        steps, last = 0, np.inf
        while steps < _FINGERS_STEPS or (closed and abs(self._world.apart() - last) > _STALLED_M):
            steps, last = steps + 1, self._world.apart()
            yield self._action(position - self._world.hand()[0], yaw, closed=closed)

    def _carry(self, name, yaw, target):
        """Brings the object's body to `target`: up, across, down. Ends early where it was lost."""
        hand, _ = self._world.hand()
        start = self._world.position(name)
        below = hand[2] - extent(self._world.boxes(name))[0][2]
        over = max(_clear(self._world.others(name), hand, hand + target - start, max(below, TIP)), hand[2])
        yield from self._go(np.array([*hand[:2], over]), yaw, closed=True, near=_ROUGHLY_M)
        if self._world.position(name)[2] - start[2] < 0.3 * (over - hand[2]):
            return
        for height, near in ((over - hand[2] + start[2], 0.012), (target[2], _NEAR_M)):
            yield from self._go(lambda: self._for_body(name, target, height), yaw, closed=True, near=near)  # noqa: B023

    def _for_body(self, name, target, height):
        """Where the hand must be for the body it holds to be over `target` at this height."""
        hand, _ = self._world.hand()
        return hand + np.array([*target[:2], height]) - self._world.position(name)

    def _rise(self, by, *, closed):
        hand, _ = self._world.hand()
        yield from self._go(hand + np.array([0, 0, by]), self._yaw(), closed=closed, near=_ROUGHLY_M)

    def _go(self, target, yaw, *, closed, near):
        """Until the hand is there, or stalls."""
        still, last = 0, np.inf
        while still < _STALLED_STEPS:
            hand, _ = self._world.hand()
            missing = (target() if callable(target) else target) - hand
            turned = self._turn(yaw)
            if np.linalg.norm(missing) < near and np.linalg.norm(turned) < _NEAR_RAD:
                return
            left = np.linalg.norm(missing) + _A_HAND_M * np.linalg.norm(turned)
            still, last = (0 if left < last - _STALLED_M else still + 1), left
            yield self._action(missing, yaw, closed=closed)

    def _yaw(self):
        _, rotation = self._world.hand()
        return float(np.arctan2(rotation[1, 0], rotation[0, 0]))

    def _turn(self, yaw):
        """From the hand's rotation to one that points down: axis times angle, rad, world frame."""
        turn = down(yaw) @ self._world.hand()[1].T
        axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
        sine = np.linalg.norm(axis)
        return axis * (np.arctan2(sine, (np.trace(turn) - 1) / 2) / max(sine, 1e-9))

    def _action(self, missing, yaw, *, closed):
        step = _GAIN / _UNIT_M * missing
        step = step / max(1.0, np.abs(step).max())  # straight on, however far
        turn = np.clip(_GAIN / _UNIT_RAD * self._turn(yaw), -1, 1)
        return np.array([*step, *turn, 1.0 if closed else -1.0])


def _drop(hand, others):
    """How much higher the hand must be where it lets go, not to touch anything: metres, None where that is too much."""
    low = extent(hand)[0][2]
    height = lowest_free(hand, others, floor=low, ceiling=low + 0.16)
    return None if height is None else height - low


def _clear(boxes, start, end, below):
    """The height of a hand that bears something `below` it over all that is on its way."""
    low, high = np.minimum(start, end)[:2] - _A_HAND_M, np.maximum(start, end)[:2] + _A_HAND_M
    reach = np.einsum("nij,nj->ni", np.abs(boxes.axes), boxes.halves)
    first, last = boxes.middles - reach, boxes.middles + reach
    on_the_way = np.all(first[:, :2] < high, axis=1) & np.all(last[:, :2] > low, axis=1)
    return max(last[on_the_way, 2].max(initial=-np.inf) + below + _OVER_M, end[2] + 0.02)
