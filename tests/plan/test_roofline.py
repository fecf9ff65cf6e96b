"""Times against sums by hand, on chips with round figures."""

import dataclasses

import pytest

from rtx.plan.chips import CHIPS, LINK_SHARE, Topology
from rtx.plan.hlo import Collective, Work
from rtx.plan.roofline import HOP_S, exchange_seconds, step_times

CHIP = dataclasses.replace(CHIPS["v5e"], flops=1e12, memory_rate=1e9, link_rate=1e8 / LINK_SHARE)
GRID = Topology(CHIP, (16, 4))  # a ring of 16, and a row of 4
PLACES = [(x, y) for x in range(16) for y in range(4)]


def gather(group, nbytes=16e8, kind="all-gather", hidden=False):
    return Collective(kind, nbytes, tuple(group), hidden)


def test_a_ring_has_two_directions_and_a_row_one():
    ring = exchange_seconds(gather(range(0, 64, 4)), GRID, PLACES)
    assert ring == pytest.approx(16e8 * 15 / 16 / 2e8 + 8 * HOP_S)
    row = exchange_seconds(gather(range(4)), GRID, PLACES)
    assert row == pytest.approx(16e8 * 3 / 4 / 1e8 + 3 * HOP_S)
    half = exchange_seconds(gather(range(0, 32, 4)), GRID, PLACES)  # of a ring: its ends do not meet
    assert half == pytest.approx(16e8 * 7 / 8 / 1e8 + 7 * HOP_S)
    both = exchange_seconds(gather(range(64)), GRID, PLACES)
    assert both == pytest.approx(16e8 * 63 / 64 / 3e8 + 11 * HOP_S)


def test_a_sum_for_all_travels_twice_and_a_neighbour_is_one_hop_away():
    assert exchange_seconds(gather(range(4), kind="all-reduce"), GRID, PLACES) == pytest.approx(
        2 * 16e8 * 3 / 4 / 1e8 + 3 * HOP_S
    )
    assert exchange_seconds(gather((0, 60), kind="collective-permute"), GRID, PLACES) == pytest.approx(16 + HOP_S)  # around
    assert exchange_seconds(gather((5,)), GRID, PLACES) == 0


def test_each_instruction_takes_what_it_needs_most():
    work = Work(flops=3e12, nbytes=3e9, steps=[(3e12, 1e9), (0.0, 2e9)])
    times = step_times(work, GRID, PLACES)
    assert (times.step, times.products, times.memory, times.exposed) == (5.0, 3.0, 3.0, 0.0)


def test_exchanges_hide_behind_work_and_loops_multiply():
    seconds = exchange_seconds(gather(range(4)), GRID, PLACES)  # 12
    body = Work(flops=5e12, steps=[(5e12, 0.0)], collectives=[gather(range(4), hidden=True)])
    times = step_times(Work(loops=[(3, body)]), GRID, PLACES)
    assert times.step == pytest.approx(3 * seconds)
    assert times.exposed == pytest.approx(3 * (seconds - 5))
    body.collectives[0] = gather(range(4))
    times = step_times(Work(loops=[(3, body)]), GRID, PLACES)
    assert times.step == pytest.approx(3 * (5 + seconds))
    assert times.exchanges == times.exposed == pytest.approx(3 * seconds)
