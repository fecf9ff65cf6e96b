"""Every fault a shard can have, in both modes: strict stops with file, byte and episode; quarantine counts and lists.

Each is done to a small genuine data set: two shards of three episodes of four steps. The second shard is damaged.
"""

import inspect
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from rtx.data.loader import one_pass
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.prepare import prepare
from rtx.data.prepared import PreparedSet
from rtx.data.simulated import SIMULATED
from rtx.data.verify import verify
from rtx.errors import UserError, WorldError
from tests.data.tiny_sets import LETTERS
from tests.fakes import WIDOWX_FEATURES, encode_example, encode_record, jpeg, masked, widowx_episode, write_rlds

RECORD = SIMULATED["sim_vx300s"]  # keeps every step
SHARD = "sim_vx300s-train.tfrecord-00001-of-00002"
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


def episodes():
    rng = np.random.default_rng(0)
    return [widowx_episode(rng, 4, instruction=f"task {i}") for i in range(6)]


def write(root: Path, second_shard) -> Path:
    return write_rlds(root, RECORD.name, WIDOWX_FEATURES, {"train": [episodes()[:3], second_shard], "val": [[]]})


def records() -> list[bytearray]:
    """Of the second shard, framed."""
    return [bytearray(encode_record(encode_example(one))) for one in episodes()[3:]]


@dataclass(frozen=True)
class Fault:
    """`message`: of the strict mode, after the name of the shard. `lost`: episodes in quarantine, of six."""

    name: str
    damage: Callable[[], bytes]
    message: str
    lost: int


def of_file(name: str, change: Callable[[list[bytearray]], bytes], message: str, lost: int) -> Fault:
    return Fault(name, lambda: change(records()), message, lost)


def of_episode(name: str, key: str, value: Callable[[dict], object], message: str) -> Fault:
    """The middle episode holds something else under `steps/<key>`, in a record whose sums are right."""

    def damage() -> bytes:
        three = episodes()[3:]
        three[1] = {**three[1], f"steps/{key}": value(three[1])}
        return b"".join(encode_record(encode_example(one)) for one in three)

    return Fault(name, damage, f", episode 4 of 'train'.*({message})", 1)


def flipped(byte: int) -> Callable[[list[bytearray]], bytes]:
    """One bit of the middle record."""

    def change(three: list[bytearray]) -> bytes:
        three[1][byte] ^= 4
        return b"".join(three)

    return change


def huge(three: list[bytearray]) -> bytes:
    length = struct.pack("<Q", 1 << 60)
    three[1][:12] = length + masked(length)
    return b"".join(three)


def with_nan(episode: dict) -> np.ndarray:
    action = episode["steps/action"].copy()
    action[2, 1] = np.nan
    return action


def with_picture(data: Callable[[bytes], bytes]) -> Callable[[dict], list[bytes]]:
    """Step 3 of four."""

    def change(episode: dict) -> list[bytes]:
        pictures = list(episode["steps/observation/image_0"])
        return [*pictures[:3], data(pictures[3])]

    return change


def zeroed_middle(data: bytes) -> bytes:
    return data[:-300] + bytes(270) + data[-30:]


FAULTS = [
    of_file("truncated tail", lambda r: b"".join(r)[:-9], r", byte \d+ \(record 2\): the file is truncated", 1),
    of_file("cut in a header", lambda r: r[0] + r[1] + r[2][:7], r", byte \d+ \(record 2\): the file ends inside", 1),
    of_file("length checksum", flipped(9), r", byte \d+ \(record 1\): the checksum of the record's length is wrong", 2),
    of_file("length", flipped(0), r", byte \d+ \(record 1\): the checksum of the record's length is wrong", 2),
    of_file("huge length", huge, r", byte \d+ \(record 1\): the file is truncated", 2),
    of_file("data checksum", flipped(-2), r", byte \d+ \(record 1\): the checksum of the record's \d+ bytes of data", 1),
    of_file("data", flipped(500), r", byte \d+ \(record 1\): the checksum of the record's \d+ bytes of data is wrong", 1),
    of_file("empty file", lambda r: b"", r": 0 records, dataset_info\.json lists 3", 3),
    of_file("missing record", lambda r: r[0] + r[2], r": 2 records, dataset_info\.json lists 3", 1),
    of_file("too many records", lambda r: b"".join(r) + r[0], ": more records than the 3 that dataset_info.json lists", 0),
    of_file("Git LFS pointer", lambda r: LFS_POINTER, ": a Git LFS pointer lies here .*git lfs pull", 3),
    of_file("no Example", lambda r: r[0] + encode_record(b"\xff" * 40) + r[2], r", episode 4 of 'train', byte \d+: ", 1),
    of_episode("NaN action", "action", with_nan, r"a rotation|step 2: action\[1\] is nan, not a finite number"),
    of_episode("not UTF-8", "language_instruction", lambda e: [b"\xff\xfe"] * 4, "'language_instruction'.*is not UTF-8"),
    of_episode(
        "raw pixels", "observation/image_0", with_picture(lambda d: b"raw pixels"),
        r"image_0', step 3, byte \d+: neither JPEG nor PNG",
    ),
    of_episode("missing picture", "observation/image_1", lambda e: [jpeg((0, 0, 0))] * 3, "3 images for 4 steps"),
    of_episode("other width", "action", lambda e: np.zeros(27, np.float32), "27 numbers are not a whole number of steps"),
    of_episode("other length", "action", lambda e: np.zeros((3, 7), np.float32), "different numbers of steps"),
    of_episode("other type", "action", lambda e: np.zeros((4, 7), np.int64), "holds a int64 list, expected float"),
    of_episode("no such key", "action", lambda e: [], "holds a bytes list, expected float|is missing"),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_strict_names_the_place_and_quarantine_counts(tmp_path, fault):
    source = write(tmp_path, episodes()[3:])
    (source / SHARD).write_bytes(fault.damage())
    with pytest.raises(WorldError, match=rf"(?s){SHARD}{fault.message}"):
        prepare(RECORD, source, tmp_path / "out", num_workers=1)
    assert not (tmp_path / "out" / "manifest.json").exists()
    check_quarantine(source, tmp_path / "out", fault.message, fault.lost)


def check_quarantine(source, out, message, lost):
    """The others are all there, those lost are counted and the first is listed as the strict mode says it; verify knows."""
    prepared = prepare(RECORD, source, out, num_workers=1, quarantine=True, max_quarantined=0.6)
    counts = prepared.counts["train"]
    assert (counts["episodes"], counts["quarantined"], counts["empty"]) == (6, lost, 0)
    assert prepared.split("train").num_episodes == 6 - lost
    (reason,) = counts["reasons"]
    assert re.search(rf"(?s){SHARD}{message}", reason)
    assert batches(prepared) == (6 - lost) * 4
    assert verify(prepared).num_problems == 0


def batches(prepared):
    """Every step really loads."""
    mixture = Mixture(entries=(MixtureEntry(prepared=prepared),))
    options = {"history": 1, "chunk": 1, "roles": prepared.roles, "image_size": (16, 16), "tokenizers": LETTERS}
    found = one_pass(mixture, split="train", batch_size=8, **options)
    return sum(int((batch.sample >= 0).sum()) for batch in found)


@pytest.mark.parametrize("damage", [zeroed_middle, lambda data: data[: len(data) // 2]], ids=["middle", "end"])
def test_a_picture_that_does_not_decode(tmp_path, damage):
    """It starts as a JPEG does and its record's sums are right: strict finds it when it is loaded or verified."""
    three = episodes()[3:]
    three[1]["steps/observation/image_0"] = with_picture(damage)(three[1])
    source = write(tmp_path, three)
    role = next(role for role, key in RECORD.images.items() if key.path == "observation/image_0")
    prepared = prepare(RECORD, source, tmp_path / "strict", num_workers=1)
    place = rf"camera '{role}', episode 4, step 3, bytes \d+ to \d+ of .*{SHARD}: damaged picture"
    with pytest.raises(WorldError, match=place):
        batches(prepared)
    (problem,) = verify(prepared).problems
    assert re.search(rf"{SHARD}, byte \d+ \(record 1\): camera '{role}' of split 'train', episode 4, step 3: damaged", problem)
    message = r", episode 4 of 'train', key 'steps/observation/image_0', step 3, byte \d+: damaged picture"
    check_quarantine(source, tmp_path / "out", message, 1)


@pytest.mark.parametrize("quarantine", [False, True])
def test_a_missing_shard_is_no_damage_that_quarantine_accepts(tmp_path, quarantine):
    source = write(tmp_path, episodes()[3:])
    (source / SHARD).unlink()
    with pytest.raises(WorldError, match=rf"1 shards that dataset_info\.json lists are not there, the first is {SHARD}; fetch"):
        prepare(RECORD, source, tmp_path / "out", num_workers=1, quarantine=quarantine, max_quarantined=1.0)


@pytest.mark.parametrize("quarantine", [False, True])
def test_a_wrong_schema_is_found_before_data_is_read(tmp_path, quarantine):
    source = write(tmp_path, episodes()[3:])
    text = (source / "features.json").read_text().replace('"dimensions": ["7"]', '"dimensions": ["8"]')
    (source / "features.json").write_text(text)
    (source / SHARD).write_bytes(b"unread")
    with pytest.raises(UserError, match=r"does not fit the record 'sim_vx300s'.*\n.*key action: expected shape \[7\]"):
        prepare(RECORD, source, tmp_path / "out", num_workers=1, quarantine=quarantine)


@pytest.mark.parametrize("quarantine", [False, True])
def test_empty_and_one_step_episodes_are_no_damage_but_counted(tmp_path, quarantine):
    rng = np.random.default_rng(0)
    source = write(tmp_path, [widowx_episode(rng, n) for n in (0, 1, 4)])
    prepared = prepare(RECORD, source, tmp_path / "out", num_workers=1, quarantine=quarantine)
    assert (prepared.counts["train"]["empty"], prepared.counts["train"]["quarantined"]) == (1, 0)
    assert np.diff(prepared.split("train").episode_start).tolist() == [4, 4, 4, 1, 4]
    assert batches(prepared) == 17


def test_a_shard_replaced_after_prepare(tmp_path):
    source = write(tmp_path, episodes()[3:])
    prepared = prepare(RECORD, source, tmp_path / "out", num_workers=1)
    action = np.array(prepared.split("train").action)
    other = records()
    other[1], other[0] = other[0], other[1]  # the same size
    (source / SHARD).write_bytes(b"".join(other))
    assert any("its bytes are not those that were prepared" in problem for problem in verify(prepared).problems)
    again = prepare(RECORD, source, tmp_path / "out", num_workers=1)
    np.testing.assert_array_equal(again.split("train").action[12:16], action[16:20])
    assert verify(again).num_problems == 0
    (source / SHARD).write_bytes(b"".join(other[:2]))
    with pytest.raises(WorldError, match=rf"{SHARD} has \d+ bytes, \d+ when it was prepared: it was replaced"):
        PreparedSet.open(tmp_path / "out").split("train")


def test_by_default_one_episode_in_a_thousand_may_be_damaged(tmp_path):
    source = write(tmp_path, episodes()[3:])
    (source / SHARD).write_bytes(b"".join(records())[:-9])
    with pytest.raises(
        WorldError, match=r"1 of 6 episodes are damaged, more than the allowed share 0\.001; the first:\n.*truncated"
    ):
        prepare(RECORD, source, tmp_path / "out", num_workers=1, quarantine=True)
    assert inspect.signature(prepare).parameters["max_quarantined"].default == 0.001
    prepare(RECORD, source, tmp_path / "out", num_workers=1, quarantine=True, max_quarantined=1 / 6)
    with pytest.raises(WorldError, match="1 of 6 episodes are damaged"):
        prepare(RECORD, source, tmp_path / "other", num_workers=1, quarantine=True, max_quarantined=0.16)
