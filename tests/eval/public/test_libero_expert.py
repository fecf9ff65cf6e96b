"""LIBERO's scripted expert without LIBERO: grasps of boxes, and the script with a hand that goes where it is told."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

import rtx.eval.public
from rtx.errors import UserError
from rtx.eval.public.registry import find_public

BRIDGE = Path(rtx.eval.public.__file__).parent / "bridge"
TABLE = (np.array([[0, 0, -0.05]]), np.eye(3)[None], np.array([[0.6, 0.6, 0.05]]))


@pytest.fixture
def bridge(monkeypatch):
    """Imports from the bridge's folder, as the suite's own Python does."""
    monkeypatch.syspath_prepend(str(BRIDGE))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def shapes(bridge):
    return bridge("libero_grasps")


def about_z(angle):
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])


def bowl(shapes, middle, radius=0.045, height=0.05):
    """Sixteen thin walls in a ring on a floor."""
    angles = np.arange(16) * np.pi / 8
    walls = [np.array([radius * np.cos(a), radius * np.sin(a), height / 2]) for a in angles]
    ring = shapes.Boxes(
        middle + np.stack(walls), np.stack([about_z(a) for a in angles]), np.tile([0.0015, 0.0095, height / 2], (16, 1))
    )
    floor = shapes.Boxes(middle + np.array([[0, 0, 0.003]]), np.eye(3)[None], np.array([[0.03, 0.03, 0.003]]))
    return shapes.joined([ring, floor])


def test_boxes_overlap_where_they_share_points(shapes):
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(2)
    some, others = (
        shapes.Boxes(
            rng.uniform(-0.1, 0.1, (12, 3)), Rotation.random(12, rng=rng).as_matrix(), rng.uniform(0.01, 0.05, (12, 3))
        )
        for _ in range(2)
    )
    told = shapes.overlapping(some, others)
    np.testing.assert_array_equal(told, shapes.overlapping(others, some).T)
    shared = np.zeros_like(told)
    for i in range(12):
        points = shapes.filling(shapes.Boxes(*(values[i : i + 1] for values in some)))
        for j in range(12):
            inside = np.abs((points - others.middles[j]) @ others.axes[j]) <= others.halves[j]
            shared[i, j] = np.all(inside, axis=-1).any()
    assert 10 < shared.sum() < 130
    assert np.all(told[shared])
    assert np.sum(told & ~shared) <= 3  # corners that no point of the grid falls into


def test_a_box_is_taken_by_its_narrow_sides(shapes):
    turn = about_z(0.5)
    box = shapes.Boxes(np.array([[0.1, 0, 0.03]]), turn[None], np.array([[0.05, 0.02, 0.03]]))
    grasp = next(shapes.grasps(box, shapes.Boxes(*TABLE), heavy=box.middles[0], yaw=0.3))
    np.testing.assert_allclose(np.abs(shapes.down(grasp.yaw)[:, 1] @ turn[:, 1]), 1, atol=0.02)
    np.testing.assert_allclose(grasp.position[:2], [0.1, 0], atol=0.006)
    hand = shapes.hand_boxes(grasp.position, grasp.yaw)
    assert not shapes.overlapping(hand, shapes.joined([box, shapes.Boxes(*TABLE)])).any()


def test_a_bowl_is_taken_by_its_rim_and_not_from_the_side_of_a_wall_beside_it(shapes):
    heavy = np.array([0.1, 0.05, 0.02])
    dish = bowl(shapes, np.array([0.1, 0.05, 0]))
    wall = shapes.Boxes(np.array([[0.17, 0.05, 0.1]]), np.eye(3)[None], np.array([[0.01, 0.3, 0.1]]))
    around = shapes.joined([shapes.Boxes(*TABLE), wall])
    for grasp, _ in zip(shapes.grasps(dish, around, heavy=heavy, yaw=np.pi / 2), range(20), strict=False):
        out = (grasp.position - heavy)[:2]
        assert np.linalg.norm(out) == pytest.approx(0.045, abs=0.012)
        assert abs(out @ shapes.down(grasp.yaw)[:2, 1]) > 0.8 * np.linalg.norm(out)  # one finger within, one without
        assert out[0] < 0.03  # where the wall is there is no room for a hand


def test_what_is_wider_than_the_hand_has_no_grasp(shapes):
    box = shapes.Boxes(np.array([[0, 0, 0.05]]), np.eye(3)[None], np.array([[0.06, 0.06, 0.05]]))
    assert next(shapes.grasps(box, shapes.Boxes(*TABLE), heavy=box.middles[0], yaw=0.0), None) is None


def test_things_come_to_stand_on_what_is_below_them(shapes):
    box = shapes.Boxes(np.array([[0, 0, 0.5]]), np.eye(3)[None], np.array([[0.02, 0.02, 0.02]]))
    below = shapes.joined(
        [shapes.Boxes(*TABLE), shapes.Boxes(np.zeros((1, 3)), np.eye(3)[None], np.array([[0.05, 0.05, 0.03]]))]
    )
    height = shapes.lowest_free(box, below, floor=-0.02, ceiling=0.2)
    assert height == pytest.approx(0.03, abs=0.0041)
    assert height > 0.03
    assert shapes.lowest_free(box, below, floor=-0.02, ceiling=0.02) is None


class Hand:
    """A world for the expert: the hand covers a third of the way it is told, and what it closes about goes with it."""

    def __init__(self, shapes, things, goals, slips=0):
        self._shapes, self._things, self.goals, self._slips = shapes, things, goals, slips
        self._hand, self._rotation, self._held, self._closed = np.array([-0.2, 0, 0.3]), shapes.down(np.pi / 2), None, False

    def hand(self):
        return self._hand.copy(), self._rotation.copy()

    def apart(self):
        return 0.04 if self._closed else 0.08

    def position(self, name):
        return self._things[name].middles.mean(0)

    heavy = position

    def boxes(self, name):
        return self._things[name]

    def others(self, name):
        return self._shapes.joined([self._shapes.Boxes(*TABLE)] + [at for other, at in self._things.items() if other != name])

    def place(self, goal):
        middle = self.position(goal[2])
        return middle, np.array([0.05, 0.05]), middle[2], lambda body: np.hypot(*(body - middle)[:2]) < 0.02

    def reached(self, goal):
        apart = self.position(goal[1]) - self.position(goal[2])
        return bool(np.hypot(*apart[:2]) < 0.03 and 0 < apart[2] < 0.08)

    def step(self, action):
        from scipy.spatial.transform import Rotation

        assert np.all(np.abs(action) <= 1)
        by = 0.3 * 0.05 * action[:3]
        self._hand = self._hand + by
        self._rotation = Rotation.from_rotvec(0.3 * 0.5 * action[3:6]).as_matrix() @ self._rotation
        closed = action[6] > 0
        if closed and not self._closed:
            near = [name for name, at in self._things.items() if np.linalg.norm(at.middles.mean(0) - self._hand) < 0.06]
            self._slips, self._held = self._slips - 1, (near or [None])[0] if self._slips <= 0 else None
        self._closed = closed
        self._held = self._held if closed else None
        if self._held:
            self._things[self._held] = self._shapes.moved(self._things[self._held], by)


@pytest.mark.parametrize("slips", [0, 1])
def test_the_script_puts_one_thing_after_the_other_where_it_belongs(bridge, shapes, slips):
    def block(x, y):
        return shapes.Boxes(np.array([[x, y, 0.02]]), np.eye(3)[None], np.array([[0.02, 0.03, 0.02]]))

    def plate(x, y):
        return shapes.Boxes(np.array([[x, y, 0.005]]), np.eye(3)[None], np.array([[0.06, 0.06, 0.005]]))

    things = {"a": block(0.1, 0.1), "b": block(0.05, -0.1), "left": plate(-0.1, 0.25), "right": plate(-0.1, -0.25)}
    goals = [("on", "a", "left"), ("on", "b", "right"), ("open", "c")]
    world = Hand(shapes, things, goals, slips=slips)
    expert = bridge("libero_expert").Expert(world)
    for _ in range(400):
        world.step(expert())
    assert [world.reached(goal) for goal in goals[:2]] == [True, True]
    for name, where in (("a", "left"), ("b", "right")):
        bottom, top = shapes.extent(world.boxes(name))[0][2], shapes.extent(world.boxes(where))[1][2]
        assert 0 < bottom - top < 0.01  # set down, not dropped from above


def test_tasks_of_another_skill_are_refused():
    suite = find_public("libero")
    assert {"libero_object-0", "libero_spatial-0"} <= set(suite.replayable())
    with pytest.raises(UserError, match="libero_goal-7"):
        suite.check_expert("libero_goal-7")
