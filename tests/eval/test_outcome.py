"""The ledger: nothing lost by a kill, nothing written by two, damage named."""

import pytest

from rtx.errors import UserError, WorldError
from rtx.eval.outcome import Ledger, Outcome


def outcome(key: str, *, success: bool = True) -> Outcome:
    return Outcome(
        key=key, policy="p", arm="sim_panda", task="reach", index=0, seed=1, instruction="go", success=success, steps=3,
        seconds=0.6, wall_s=0.1, policy_calls=2, refusals={"step_m": 1}, final_distance_m=None, video=None,
    )  # fmt: skip


def test_what_was_appended_is_read_again(tmp_path):
    with Ledger(tmp_path / "sub" / "e.jsonl") as ledger:
        ledger.append(outcome("a"))
        ledger.append(outcome("b", success=False))
    with Ledger(tmp_path / "sub" / "e.jsonl") as ledger:
        assert dict(ledger.outcomes) == {"a": outcome("a"), "b": outcome("b", success=False)}


def test_a_torn_line_is_cut_off_and_the_next_one_is_whole(tmp_path):
    path = tmp_path / "e.jsonl"
    with Ledger(path) as ledger:
        ledger.append(outcome("a"))
        ledger.append(outcome("b"))
    path.write_bytes(path.read_bytes()[:-20])
    with Ledger(path) as ledger:
        assert set(ledger.outcomes) == {"a"}
        ledger.append(outcome("c"))
    with Ledger(path) as ledger:
        assert set(ledger.outcomes) == {"a", "c"}


def test_damage_inside_names_the_line(tmp_path):
    path = tmp_path / "e.jsonl"
    with Ledger(path) as ledger:
        ledger.append(outcome("a"))
    path.write_bytes(path.read_bytes() + b"{\x00}\n")
    with pytest.raises(WorldError, match=r"e\.jsonl line 2 is damaged"):
        Ledger(path)


def test_two_writers_are_refused(tmp_path):
    with Ledger(tmp_path / "e.jsonl"), pytest.raises(UserError, match="another evaluation is writing here"):
        Ledger(tmp_path / "e.jsonl")
