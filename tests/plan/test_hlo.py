"""A small module, written by hand in the compiler's manner, against sums done by hand."""

from pathlib import Path

import pytest

from rtx.plan.hlo import Module
from rtx.plan.hlo_text import parse
from rtx.plan.partitions import first_group, pairs

TEXT = (Path(__file__).parent / "module.txt").read_text()
PRODUCT = 2 * 64 * 512 * 128


@pytest.fixture(scope="module")
def work():
    return Module(TEXT, num_partitions=16).work


def test_a_loop_counts_as_often_as_it_runs(work):
    ((trips, body),) = work.loops
    assert trips == 24
    assert body.flops == PRODUCT
    assert work.flat().flops == 24 * PRODUCT
    assert work.flat().cycles == 24 * 1000


def test_of_a_stack_of_matrices_one_is_read_and_what_lies_on_the_chip_costs_nothing(work):
    ((_, body),) = work.loops
    product, add = 2 * (512 * 128 + 64 * 128) + 4, 3 * 4  # and where to slice
    assert body.steps.count((PRODUCT, product)) == 1
    start, whole = 2 * 2 * 64 * 128, 2 * 64 * 128
    assert body.nbytes == product + add + start + whole


def test_exchanges_by_kind_and_those_in_pieces_once(work):
    total = work.flat().collectives
    assert [one.kind for one in total].count("all-gather") == 24
    gather = next(one for one in total if one.kind == "all-gather")
    assert (gather.nbytes, gather.group, gather.hidden) == (2 * 64 * 512, (0, 1, 2, 3), True)
    assert gather.wire_bytes == 2 * 64 * 512 * 3 / 4
    (scatter,) = (one for one in total if one.kind == "reduce-scatter")
    assert (scatter.nbytes, len(scatter.group), scatter.hidden) == (4 * 512 * 128, 16, False)
    assert scatter.wire_bytes == 4 * 512 * 128 * 15 / 16


@pytest.mark.parametrize(
    ("change", "trips"),
    [
        (("constant(24)", "constant(7)"), 7),
        (("%zero.1 = s32[]{:T(128)} constant(0)", "%zero.1 = s32[]{:T(128)} constant(4)"), 20),
        (("%one.1 = s32[]{:T(128)} constant(1)", "%one.1 = s32[]{:T(128)} constant(2)"), 12),
        (("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"5"}}'), 5),
        (("direction=LT", "direction=NE"), 1),  # not known: once
    ],
)
def test_trips(change, trips):
    assert change[0] in TEXT
    assert Module(TEXT.replace(*change), num_partitions=16).work.loops[0][0] == trips


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("replica_groups={{0,2},{1,3}}", (0, 2)),
        ("replica_groups=[2,2]<=[4]", (0, 1)),
        ("replica_groups=[2,2]<=[2,2]T(1,0)", (0, 2)),
        ("replica_groups=mesh['a'=2,'b'=3,'c'=4] {'b'}", (0, 4, 8)),
        ("replica_groups=mesh['a'=2,'b'=3,'c'=4] {'a','c'}", (0, 1, 2, 3, 12, 13, 14, 15)),
        ("replica_groups=mesh['a'=8] {'a':(2)4}", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}", (0, 2)),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a'}", (0, 1)),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=(3,1,2,0) {'b'}", (3, 1)),
        ("replica_groups={}", tuple(range(24))),
    ],
)
def test_groups(text, group):
    assert first_group(f", channel_id=1, {text}, dimensions=", 24) == group


def test_groups_that_are_written_otherwise_are_refused():
    with pytest.raises(ValueError, match="not known"):
        first_group(", replica_groups=@mesh_0, dimensions={0}", 4)


def test_permutations():
    assert pairs(", source_target_pairs={{0,1},{1,2},{2,0}}, other={3}") == [(0, 1), (1, 2), (2, 0)]


def test_a_batched_product_as_compilers_write_it():
    """Sixteen products of 8 x 32 by 32 x 4: a convolution that meets only the diagonal."""
    text = """ENTRY %m (a: bf16[16,8,32], b: bf16[16,32,4]) -> bf16[16,8,4] {
  %a = bf16[16,8,32]{2,1,0} parameter(0)
  %b = bf16[16,32,4]{2,1,0} parameter(1)
  ROOT %c = bf16[16,8,4]{2,1,0} convolution(%a, %b), window={size=16 stride=15 lhs_dilate=16}, dim_labels=0bf_0io->0bf
}
"""
    assert Module(text, num_partitions=1).work.flops == 2 * 16 * 8 * 32 * 4


def test_other_text_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        parse("module { func.func @main() }")
