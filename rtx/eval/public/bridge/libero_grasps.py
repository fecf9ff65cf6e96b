"""Where a hand from above can take an object and set it down, of boxes alone: every collision shape is taken as one.

Everything is in metres and in the world's frame, in which z is up. The hand's own frame: x across the fingers, y the way they
close, z down to their tips; its origin lies between the pads. Needs numpy and nothing of LIBERO.
"""

# mypy: ignore-errors
# Of any Python that a suite runs in, and typed by none: its packages are not here.

from collections import namedtuple

import numpy as np

Boxes = namedtuple("Boxes", "middles axes halves")
"""`middles` [n, 3], `axes` [n, 3, 3] with a box's axes as columns, `halves` [n, 3]."""
Grasp = namedtuple("Grasp", "position yaw cost")
"""`position` [3] of the point between the pads; `yaw` of the hand's x about the vertical, rad."""

TIP = 0.012  # from the point between the pads to the end of the fingers
REACH = 0.04  # of each finger to the side when open
_AIR = np.array([[0.003, 0, 0.001], [0.003, 0, 0.001], [0.003, 0.003, 0.01]])
_HAND_LOW, _HAND_HIGH = (
    np.array([[-0.011, REACH, -0.03], [-0.011, -0.06, -0.03], [-0.032, -0.104, -0.124]]),
    np.array([[0.011, 0.06, TIP], [0.011, -REACH, TIP], [0.032, 0.104, -0.026]]),
)
"""The Panda's open fingers and the hand that bears them (its hull in robosuite 1.4), in the hand's frame."""
_YAWS, _SPACING, _DEEPER, _WIDEST, _SLICE, _SLANTED, _AT_ONCE = 24, 0.004, 0.006, 0.068, 0.008, 0.6, 50


def joined(parts):
    return Boxes(*(np.concatenate(values) for values in zip(*parts)))  # noqa: B905  strict= is Python 3.10's


def moved(boxes, by):
    return boxes._replace(middles=boxes.middles + by)


def down(yaw):
    """The rotation of a hand that points down. [3, 3]"""
    across = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    below = np.array([0.0, 0.0, -1.0])
    return np.stack([across, np.cross(below, across), below], axis=1)


def hand_boxes(position, yaw):
    """The open hand there, with some air to all sides but towards what it holds; most below the palm, for a hand that leans."""
    rotation = down(yaw)
    middles, halves = (_HAND_LOW + _HAND_HIGH) / 2, (_HAND_HIGH - _HAND_LOW) / 2
    halves = halves + _AIR
    return Boxes(position + middles @ rotation.T, np.broadcast_to(rotation, (3, 3, 3)), halves)


def overlapping(some, others):
    """Which of `some` overlap which of `others`: [n, m] bool. By the separating axes of two boxes."""
    apart = others.middles[None] - some.middles[:, None]
    apart = np.einsum("nki,nmk->nmi", some.axes, apart)  # in each box's own frame
    turn = np.einsum("nki,mkj->nmij", some.axes, others.axes)
    lean = np.abs(turn) + 1e-9  # parallel edges have no axis of their own
    a, b = some.halves[:, None], others.halves[None]
    separate = np.any(np.abs(apart) > a + np.einsum("nmij,nmj->nmi", lean, np.broadcast_to(b, apart.shape)), axis=-1)
    along = np.einsum("nmij,nmi->nmj", turn, apart)
    separate |= np.any(np.abs(along) > b + np.einsum("nmij,nmi->nmj", lean, np.broadcast_to(a, apart.shape)), axis=-1)
    for i in range(3):
        i1, i2 = (i + 1) % 3, (i + 2) % 3
        for j in range(3):
            j1, j2 = (j + 1) % 3, (j + 2) % 3
            distance = np.abs(apart[..., i2] * turn[..., i1, j] - apart[..., i1] * turn[..., i2, j])
            radius_a = a[..., i1] * lean[..., i2, j] + a[..., i2] * lean[..., i1, j]
            radius_b = b[..., j1] * lean[..., i, j2] + b[..., j2] * lean[..., i, j1]
            separate |= distance > radius_a + radius_b
    return ~separate


def extent(boxes):
    """Lowest and highest corner of all of them: [3], [3]."""
    reach = np.einsum("nij,nj->ni", np.abs(boxes.axes), boxes.halves)
    return (boxes.middles - reach).min(0), (boxes.middles + reach).max(0)


def filling(boxes):
    """Points within the boxes, some millimetres from each other: [p, 3]."""
    points = []
    for middle, axes, half in zip(*boxes):  # noqa: B905
        ticks = [np.linspace(-h, h, max(2, int(np.ceil(2 * h / _SPACING)) + 1)) for h in half]
        points.append(middle + np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1).reshape(-1, 3) @ axes.T)
    return np.concatenate(points)


def grasps(boxes, obstacles, *, heavy, yaw):
    """Grasps of the object from above that touch nothing before they close, best first: an iterator.

    `heavy` [3]: its centre of mass; `yaw`: the hand's now. A grasp lies between two faces of the object or about one of its
    walls (a rim), as deep as the hand goes; near to the centre of mass and with little turning is better.
    """
    points, near = filling(boxes), joined([boxes, obstacles])
    low, high = extent(boxes)
    low_reach, high_reach = low - 0.15, high + np.array([0.15, 0.15, 0.3])
    reach = np.einsum("nij,nj->ni", np.abs(near.axes), near.halves)
    keep = np.all((near.middles - reach < high_reach) & (near.middles + reach > low_reach), axis=-1)
    near = Boxes(*(values[keep] for values in near))
    found = []
    for turned in _yaws(boxes, yaw):
        found += _of_yaw(points, turned, low[2], high[2], heavy, abs(turned - yaw))
    found.sort(key=lambda grasp: grasp.cost)
    for start in range(0, len(found), _AT_ONCE):
        some = found[start : start + _AT_ONCE]
        hands = joined([hand_boxes(grasp.position, grasp.yaw) for grasp in some])
        hit = overlapping(hands, near).any(1).reshape(-1, 3).any(1)
        yield from (grasp for grasp, bad in zip(some, hit) if not bad)  # noqa: B905


def _yaws(boxes, yaw):
    """All around, and along the sides of the largest box. A hand turned by half a turn closes the same way: the nearer one."""
    sides = boxes.axes[np.argmax(boxes.halves.prod(1))]
    sides = [np.arctan2(axis[1], axis[0]) for axis in sides.T if abs(axis[2]) < 0.3]
    return yaw + (np.r_[np.arange(_YAWS) * np.pi / _YAWS, np.array(sides) - yaw] + np.pi / 2) % np.pi - np.pi / 2


def _of_yaw(points, yaw, bottom, top, heavy, turn):
    across, closing = down(yaw)[:, 0], down(yaw)[:, 1]
    u, v = (points - heavy) @ across, (points - heavy) @ closing
    found, lowest = [], bottom + TIP + 0.002
    for height in np.arange(max(lowest, top - 0.08), max(top - 0.002, lowest + 0.001), _DEEPER):
        level = (points[:, 2] > height - 0.005) & (points[:, 2] < height + TIP)
        beside, between = u[level], v[level]
        for offset in np.arange(-0.06, 0.061, 0.01):
            here = np.abs(beside - offset) < _SLICE
            for first, last in _walls(np.sort(between[here])):
                wall = here & (between >= first) & (between <= last)
                slant, width, along = _slant(beside[wall] - offset, between[wall]), last - first, (first + last) / 2
                if width > _WIDEST or slant > _SLANTED:
                    continue
                cost = np.hypot(offset, along) + 0.3 * abs(height - heavy[2]) + 0.1 * width + 0.01 * turn + 0.03 * slant
                position = np.array([*(heavy + offset * across + along * closing)[:2], height])
                found.append(Grasp(position, yaw, cost))
    return found


def _slant(u, v):
    """How far the two sides that the fingers close on are from lying along the fingers: the sum of both slopes."""
    left, right = v[u < 0], v[u > 0]
    if not len(left) or not len(right):
        return np.inf
    return (abs(left.min() - right.min()) + abs(left.max() - right.max())) / _SLICE


def _walls(values):
    """First and last of each run of sorted values without a gap that a finger fits into."""
    if not len(values):
        return []
    ends = np.nonzero(np.diff(values) > 0.02)[0]
    return list(zip(values[np.r_[0, ends + 1]], values[np.r_[ends, len(values) - 1]]))  # noqa: B905


def lowest_free(carried, obstacles, *, floor, ceiling):
    """How far `carried` may be lowered, as a height of its lowest point: the first free one from the floor up, or None."""
    bottom = extent(carried)[0][2]
    for height in np.arange(floor, ceiling, 0.004):
        if not overlapping(moved(carried, np.array([0.0, 0.0, height - bottom])), obstacles).any():
            return height
    return None
