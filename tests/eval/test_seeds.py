"""Seeds: stable for good, apart by purpose."""

from rtx.eval.seeds import seed_for


def test_seeds_do_not_change_between_versions() -> None:
    assert seed_for("demo", 0, "sim_panda", "reach", 12) == 9102884017584317260


def test_purposes_and_parts_never_meet() -> None:
    seeds = {
        seed_for(purpose, arm, task, index)
        for purpose in ("demo", "eval", "expert")
        for arm in ("sim_panda", "sim_jaco")
        for task in ("reach", "push")
        for index in range(500)
    }
    assert len(seeds) == 3 * 2 * 2 * 500
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_parts_are_told_apart_by_type_and_place() -> None:
    assert len({seed_for("a", 1), seed_for("a", "1"), seed_for("a", 1, ""), seed_for("a1"), seed_for("a", "", 1)}) == 5
