"""Names of topologies, and what is said of those that do not exist."""

import pytest

from rtx.errors import UserError
from rtx.plan.chips import CHIPS, parse_topology


def test_slices_and_boxes():
    cube = parse_topology("v5p:8x8x8")
    assert (cube.num_chips, cube.num_hosts, cube.is_tpu, cube.name) == (512, 128, True, "v5p:8x8x8")
    assert parse_topology("V4:4x4").sides == (4, 4, 1)
    gpus = parse_topology("gpu:h200x64")
    assert (gpus.num_chips, gpus.num_hosts, gpus.is_tpu, gpus.name) == (64, 8, False, "gpu:h200x64")


@pytest.mark.parametrize(
    ("text", "rings"),
    [
        ("v5e:16x16", [True, True]),
        ("v5e:8x16", [False, True]),
        ("v5p:4x8x2", [True, True, False]),
        ("v4:4x4x4", [True, True, True]),
    ],
)
def test_which_axes_are_rings(text, rings):
    topology = parse_topology(text)
    assert [topology.is_ring(axis) for axis in range(len(rings))] == rings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v5q:4x4", "v5p"),
        ("v5e:4x4x4", "2 sides, as in v5e:16x16"),
        ("v5p:0x4x4", "3 sides"),
        ("v5e:3x4", "must be even"),
        ("gpu:h20x8", "h200"),
        ("gpu:h100x", "how many"),
        ("v5e", "2 sides"),
    ],
)
def test_what_does_not_exist(text, message):
    with pytest.raises(UserError, match=message):
        parse_topology(text)


def test_the_clock_of_the_estimates():
    """Chips multiply 128 x 128 matrices: peak = cores x multipliers x 128 x 128 x 2 x clock."""
    assert CHIPS["v5e"].clock == pytest.approx(1.5e9, rel=0.01)
    assert CHIPS["v5p"].clock == pytest.approx(1.75e9, rel=0.01)
    assert CHIPS["v4"].clock == pytest.approx(1.05e9, rel=0.01)
