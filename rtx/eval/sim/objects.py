"""What can lie or stand on a simulated table: names, colours, shapes, sizes. Data only; `build` makes bodies of it.

There are two kinds of tables. On the `TABLE` are cubes and props, for the tasks that the quickstart records. On the `BENCH`
there are also things never shown in its demonstrations, plates, a box and a cabinet with a drawer, and tablecloths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TABLE, BENCH = "table", "bench"

CUBE_HALF_M = 0.0225
NUM_CUBES = 3  # at most in a scene
CUBES = tuple(f"cube{i}" for i in range(NUM_CUBES))
PROPS = ("cylinder", "ball", "slab")  # distractor shapes of dull colours, never named
UNSEEN = ("can", "bottle", "brick", "cross")  # graspable things of the splits
PLATES, BOX, CABINET, DRAWER = ("plate0", "plate1"), "box", "cabinet", "drawer"
BAR, KNOB = "bar", "knob"  # the drawer's two handles, one at a time
CLOTHS = ("checked", "striped", "mottled", "green")  # unseen table tops

COLOURS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.85, 0.08, 0.08),
    "green": (0.08, 0.62, 0.12),
    "blue": (0.08, 0.20, 0.85),
    "yellow": (0.95, 0.80, 0.05),
}
PALETTE: Mapping[str, tuple[float, float, float]] = {
    **COLOURS,
    "orange": (0.95, 0.40, 0.03),
    "purple": (0.42, 0.08, 0.62),
    "cyan": (0.05, 0.72, 0.80),
    "pink": (0.95, 0.45, 0.68),
}


@dataclass(frozen=True, kw_only=True)
class Thing:
    """`shapes`: MJCF attributes of its geoms, in its own frame (m). Its middle is the frame's origin."""

    shapes: tuple[str, ...]
    middle_m: float  # height of its middle above the table it lies on
    half_m: float  # from its middle up to its top


PLATE_TOP_M, PLATE_RADIUS_M = 0.008, 0.055
BOX_INSIDE_M, BOX_HEIGHT_M = 0.06, 0.04  # half of its inside's width
_WALL_M = 0.004  # half of its thickness
TRAVEL_M = 0.12  # of the drawer
_CABINET_HALF_X_M, _CABINET_HALF_Z_M = 0.08, 0.04
_HANDLE_OUT_M, _HANDLE_UP_M = 0.028, 0.048  # its middle, from the drawer's front and from the table


def _box(x: float, y: float, z: float, at: str = "0 0 0") -> str:
    """Half extents."""
    return f'type="box" size="{x} {y} {z}" pos="{at}"'


def _lying(half_m: float, *shapes: str) -> Thing:
    return Thing(shapes=shapes, middle_m=half_m, half_m=half_m)


def _tray() -> Thing:
    """Thin walls on a thin floor, open above."""
    reach, up = BOX_INSIDE_M + _WALL_M, BOX_HEIGHT_M / 2
    ends = [_box(_WALL_M, reach + _WALL_M, up, f"{x} 0 0") for x in (-reach, reach)]
    sides = [_box(BOX_INSIDE_M, _WALL_M, up, f"0 {y} 0") for y in (-reach, reach)]
    return _lying(up, _box(reach, reach, _WALL_M / 2, f"0 0 {_WALL_M / 2 - up}"), *ends, *sides)


THINGS: Mapping[str, Thing] = {
    **dict.fromkeys(CUBES, _lying(CUBE_HALF_M, _box(CUBE_HALF_M, CUBE_HALF_M, CUBE_HALF_M))),
    "cylinder": _lying(0.03, 'type="cylinder" size="0.018 0.03"'),
    "ball": _lying(0.018, 'type="ellipsoid" size="0.022 0.022 0.018"'),
    "slab": _lying(0.01, _box(0.032, 0.018, 0.01)),
    "can": _lying(0.03, 'type="cylinder" size="0.022 0.03"'),
    "bottle": _lying(
        0.04, 'type="cylinder" size="0.02 0.026" pos="0 0 -0.014"', 'type="cylinder" size="0.009 0.014" pos="0 0 0.026"'
    ),
    "brick": _lying(0.02, _box(0.04, 0.02, 0.02)),
    "cross": _lying(CUBE_HALF_M, _box(0.03, 0.011, CUBE_HALF_M), _box(0.011, 0.028, CUBE_HALF_M)),
    **dict.fromkeys(PLATES, _lying(PLATE_TOP_M / 2, f'type="cylinder" size="{PLATE_RADIUS_M} {PLATE_TOP_M / 2}"')),
    BOX: _tray(),
    CABINET: _lying(  # top, back and sides; the front is the drawer's, towards the arm
        _CABINET_HALF_Z_M,
        _box(_CABINET_HALF_X_M, 0.09, 0.004, "0 0 0.036"),
        _box(0.004, 0.09, _CABINET_HALF_Z_M, "0.076 0 0"),
        *(_box(_CABINET_HALF_X_M, 0.004, _CABINET_HALF_Z_M, f"0 {y} 0") for y in (-0.086, 0.086)),
    ),
    DRAWER: _lying(  # in the cabinet's frame, when shut: front, floor, sides, back
        _CABINET_HALF_Z_M,
        _box(0.005, 0.088, 0.035, "-0.083 0 -0.004"),
        _box(0.07, 0.075, 0.002, "-0.008 0 -0.03"),
        *(_box(0.07, 0.003, 0.02, f"-0.008 {y} -0.012") for y in (-0.075, 0.075)),
        _box(0.003, 0.075, 0.02, "0.062 0 -0.012"),
    ),
    BAR: Thing(shapes=(_box(0.024, 0.008, 0.01),), middle_m=_HANDLE_UP_M, half_m=0.01),
    KNOB: Thing(
        shapes=(
            'type="cylinder" size="0.006 0.018" zaxis="1 0 0" pos="0.008 0 0"', 'type="sphere" size="0.014" pos="-0.008 0 0"'
        ), middle_m=_HANDLE_UP_M, half_m=0.014,
    ),
}  # fmt: skip
HANDLE_AT_M = (-_CABINET_HALF_X_M - 0.008 - _HANDLE_OUT_M, 0.0, _HANDLE_UP_M - _CABINET_HALF_Z_M)  # in the cabinet's frame


def loose(kind: str) -> tuple[str, ...]:
    """What can be moved on this kind of table."""
    return (*CUBES, *PROPS, *(UNSEEN if kind == BENCH else ()))


def fixed(kind: str) -> tuple[str, ...]:
    """What stands fast on it, wherever an episode puts it; the drawer and its handles go with the cabinet."""
    return (*PLATES, BOX, CABINET) if kind == BENCH else ()
