"""The loader: right content against a plain definition, the same stream for any hosts and restarts, errors with their place."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtx.data.assemble import batch_digest
from rtx.data.loader import Loader, LoaderState, one_pass
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.tokenizers import Tokenizers
from rtx.embodiment import CANONICAL_ARM
from rtx.errors import UserError, WorldError
from rtx.images import resize
from rtx.spec import Batch, action_normalizer, proprio_normalizer
from tests.data.tiny_sets import LETTERS, letters, picture, tiny_set

OPTIONS: dict[str, Any] = {
    "batch_size": 6,
    "history": 3,
    "chunk": 4,
    "roles": ("primary", "wrist"),
    "image_size": (8, 6),
    "tokenizers": LETTERS,
    "seed": 1,
}


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    folder = tmp_path_factory.mktemp("sets")
    one = tiny_set(folder / "one", name="one", absent=[("wrist", 2)], splits=("train", "val"))
    two = tiny_set(folder / "two", name="two", lengths=(4, 2), roles=("primary",), channel_order="bgr", splits=("train", "val"))
    return Mixture(entries=(MixtureEntry(prepared=one), MixtureEntry(prepared=two, weight=2.0)))


def take(loader: Loader, n: int) -> list[Batch]:
    return [next(loader) for _ in range(n)]


def digests(loader: Loader, n: int) -> list[str]:
    return [batch_digest(batch) for batch in take(loader, n)]


def loader_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("rtx-loader")]


def check_row(batch: Batch, row: int, mixture: Mixture, entry: int, step: int) -> None:
    """One sample by its definition, frame by frame."""
    prepared = mixture.entries[entry].prepared
    split = prepared.split("train")
    episode = next(e for e in range(split.num_episodes) if split.episode_start[e] <= step < split.episode_start[e + 1])
    first, end = split.episode_start[episode], split.episode_start[episode + 1]
    normalize_action = action_normalizer(CANONICAL_ARM, prepared.statistics.action).forward
    normalize_proprio = proprio_normalizer(prepared.statistics.proprio).forward
    assert batch.embodiment[row] == entry
    np.testing.assert_array_equal(batch.text[row], letters([prepared.languages[split.language_id[step, 0]]])[0])
    for t, wanted in enumerate(range(step - 2, step + 1)):
        real, at = wanted >= first, max(wanted, first)
        assert batch.history_mask[row, t] == real
        np.testing.assert_array_equal(batch.proprio[row, t], normalize_proprio(split.proprio[at]))
        for role in OPTIONS["roles"]:
            has = role in prepared.roles and (prepared.name, role, at) != ("one", "wrist", 2)
            assert batch.image_mask[role][row, t] == (real and has)
            expected = picture(prepared.name, role, at) if has else np.zeros((8, 6, 3))
            np.testing.assert_array_equal(batch.images[role][row, t], expected)
    for k, wanted in enumerate(range(step, step + 4)):
        real, at = wanted < end, min(wanted, end - 1)
        np.testing.assert_array_equal(batch.action_mask[row, k], [real] * 7 + [False])
        still = np.where(np.arange(8) < 6, 0, split.action[at])  # no motion, same gripper and terminate
        np.testing.assert_array_equal(batch.action[row, k], normalize_action(split.action[at] if real else still))


@pytest.mark.parametrize("cache_bytes", [0, 10**6])
def test_every_row_is_its_sample_by_definition(mixture: Mixture, cache_bytes: int):
    with Loader(mixture, **OPTIONS, cache_bytes=cache_bytes, num_threads=3) as loader:
        assert loader.caches_frames == (cache_bytes > 0)
        for first in range(0, 90, 6):
            batch = next(loader)
            np.testing.assert_array_equal(batch.sample, np.arange(first, first + 6))
            draws = loader.order.lookup(batch.sample)
            for row in range(6):
                check_row(batch, row, mixture, int(draws.entry[row]), int(draws.window[row]))


def test_of_several_instructions_one_that_says_something_is_drawn(tmp_path: Path):
    prepared = tiny_set(tmp_path / "many", name="many", lengths=(40,))
    ids = np.tile(np.array([0, 2, 1], np.int32), (40, 1))  # "do many", nothing, "undo many"
    ids[7] = 2
    np.save(tmp_path / "many" / "train" / "language_id.npy", ids)
    alone = Mixture(entries=(MixtureEntry(prepared=prepared),))
    with Loader(alone, **OPTIONS | {"batch_size": 80}) as loader, Loader(alone, **OPTIONS | {"batch_size": 80}) as same:
        batch, again = next(loader), next(same)
        window = loader.order.lookup(batch.sample).window
    said = {"".join(map(chr, row[row > 0])) for row in batch.text[window != 7]}
    assert said == {"do many", "undo many"}
    assert not batch.text[window == 7].any()
    np.testing.assert_array_equal(batch.text, again.text)


def test_a_goal_is_a_later_frame_of_the_same_episode(tmp_path: Path):
    prepared = tiny_set(tmp_path / "goals", name="goals", lengths=(4, 9, 1), absent=[("primary", 3)])
    alone = Mixture(entries=(MixtureEntry(prepared=prepared),))
    starts, ahead = prepared.split("train").episode_start, []
    with Loader(alone, **OPTIONS | {"batch_size": 200}, goals=True) as loader, Loader(alone, **OPTIONS) as plain:
        batch, steps = next(loader), loader.order.lookup(np.arange(200)).window
        assert next(plain).goal is None
    frames = {picture("goals", "primary", step).tobytes(): step for step in range(14)}
    for row, step in enumerate(steps.tolist()):
        end = next(int(e) for e in starts if e > step)
        if not batch.goal_mask["primary"][row]:
            assert not batch.goal["primary"][row].any()
            continue
        goal = frames[batch.goal["primary"][row].tobytes()]
        assert step <= goal < end
        if step < end - 1:
            ahead.append((goal - step) / (end - 1 - step))
    assert (~batch.goal_mask["primary"]).any(), "step 3 has no picture"
    assert np.mean(ahead) == pytest.approx(0.5, abs=0.1), "uniform: four standard errors of about 150 draws"


def test_shapes_and_types_are_those_of_the_contract(mixture: Mixture):
    with Loader(mixture, **OPTIONS | {"image_size": (5, 4)}) as loader:
        batch = next(loader)
        expected = {
            "history_mask": ((6, 3), bool),
            "proprio": ((6, 3, 10), np.float32),
            "text": ((6, 12), np.int32),
            "action": ((6, 4, 8), np.float32),
            "action_mask": ((6, 4, 8), bool),
            "embodiment": ((6,), np.int32),
            "sample": ((6,), np.int64),
        }
        for name, (shape, dtype) in expected.items():
            array = getattr(batch, name)
            assert (array.shape, array.dtype) == (shape, dtype), name
        for role in ("primary", "wrist"):
            assert (batch.images[role].shape, batch.images[role].dtype) == ((6, 3, 5, 4, 3), np.uint8)
            assert (batch.image_mask[role].shape, batch.image_mask[role].dtype) == ((6, 3), bool)
        assert np.abs(batch.action).max() <= 1
        contract = loader.contract()
        assert tuple(contract.embodiments) == tuple(contract.statistics) == ("one", "two")
        assert (contract.history, contract.chunk, contract.image_size) == (3, 4, (5, 4))


def test_pictures_are_resized_by_the_house(mixture: Mixture):
    with Loader(mixture, **OPTIONS | {"image_size": (4, 3)}) as loader:
        batch = next(loader)
        draw = loader.order.lookup(batch.sample[:1])
        name = mixture.names[draw.entry[0]]
        np.testing.assert_array_equal(
            batch.images["primary"][0, -1], resize(picture(name, "primary", int(draw.window[0])), (4, 3))
        )


def test_threads_and_cache_and_prefetch_change_nothing(mixture: Mixture):
    def stream(**options: int) -> list[str]:
        with Loader(mixture, **OPTIONS, **options) as loader:
            return digests(loader, 12)

    expected = stream(num_threads=1, prefetch=0)
    assert stream(num_threads=4, prefetch=3) == expected
    assert stream(num_threads=3, cache_bytes=10**6) == expected


def test_a_batch_that_is_kept_stays_as_it_came(mixture: Mixture):
    """The memory of pictures is used again, but only when nobody holds them any more."""
    with Loader(mixture, **OPTIONS) as loader:
        kept, came = [], []
        for i in range(40):
            batch = next(loader)
            if i % 3 == 0:
                kept.append(batch)
                came.append(batch_digest(batch))
    assert [batch_digest(batch) for batch in kept] == came


def test_memory_is_known_beforehand(mixture: Mixture):
    with Loader(mixture, **OPTIONS, prefetch=3) as loader:
        memory, batch = loader.memory(), next(loader)
        arrays = [getattr(batch, field.name) for field in dataclasses.fields(Batch)]
        flat = [a for value in arrays for a in (value.values() if isinstance(value, dict) else [value]) if a is not None]
        assert (memory.batch, memory.num_batches) == (sum(a.nbytes for a in flat), 6)
        files = [p for e in mixture.entries for p in (e.prepared.path / "train").glob("*.npy")]
        on_disk = sum(path.stat().st_size - 128 for path in files)  # 128 bytes of header
        assert memory.mapped == on_disk
        assert (memory.frames, memory.total) == (0, 6 * memory.batch)
        assert f"6 batches of {memory.batch / 1e6:.1f} MB" in str(memory)
    with Loader(mixture, **OPTIONS, cache_bytes=10**6) as keeping:
        assert keeping.memory().frames == (13 * 2 + 6) * 8 * 6 * 3


@pytest.mark.parametrize("num_hosts", [1, 2, 3, 6])
def test_hosts_one_after_the_other_are_the_one_host_batch(mixture: Mixture, num_hosts: int):
    with Loader(mixture, **OPTIONS) as whole:
        parts = [Loader(mixture, **OPTIONS, host_index=i, num_hosts=num_hosts) for i in range(num_hosts)]
        for batch in take(whole, 5):
            shares = [next(part) for part in parts]
            for field in (f for f in dataclasses.fields(Batch) if getattr(batch, f.name) is not None):
                expected, got = getattr(batch, field.name), [getattr(share, field.name) for share in shares]
                for key in expected if isinstance(expected, dict) else [None]:
                    joined = np.concatenate([g if key is None else g[key] for g in got])
                    np.testing.assert_array_equal(joined, expected if key is None else expected[key])
        for part in parts:
            part.close()


def test_resume_is_exact_whatever_was_prepared_ahead(mixture: Mixture):
    with Loader(mixture, **OPTIONS, prefetch=3) as loader:
        take(loader, 4)
        state = loader.state()
        assert state.next_sample == 24
        expected = digests(loader, 6)
    with Loader(mixture, **OPTIONS) as fresh:
        fresh.restore(LoaderState(**dataclasses.asdict(state)))
        assert digests(fresh, 6) == expected
        fresh.restore(state)  # back again, in the middle of a stream
        assert digests(fresh, 6) == expected
    with Loader(mixture, **OPTIONS, start=24) as started:
        assert digests(started, 6) == expected


def test_resume_with_another_batch_size_goes_on_with_the_same_samples(mixture: Mixture):
    with Loader(mixture, **OPTIONS) as loader:
        take(loader, 2)
        state = loader.state()
        expected = np.concatenate([batch.action for batch in take(loader, 4)])
    with Loader(mixture, **OPTIONS | {"batch_size": 8}) as other:
        other.restore(state)
        np.testing.assert_array_equal(np.concatenate([batch.action for batch in take(other, 3)]), expected)


def test_the_state_of_another_stream_is_refused(mixture: Mixture):
    with Loader(mixture, **OPTIONS) as loader:
        state = loader.state()
    for change in (
        {"seed": 2},
        {"history": 2},
        {"chunk": 1},
        {"image_size": (4, 4)},
        {"roles": ("primary",)},
        {"split": "val"},
    ):
        with Loader(mixture, **OPTIONS | change) as other, pytest.raises(UserError, match="of another stream"):
            other.restore(state)
    lighter = Mixture(entries=(mixture.entries[0], dataclasses.replace(mixture.entries[1], weight=1.0)))
    with Loader(lighter, **OPTIONS) as other, pytest.raises(UserError, match="of another stream"):
        other.restore(state)


def test_no_thread_outlives_its_loader(mixture: Mixture):
    loader = Loader(mixture, **OPTIONS)
    assert not loader_threads(), "threads start with the first batch"
    next(loader)
    assert loader_threads()
    loader.close()
    assert not loader_threads()
    assert next(loader).sample[0] == 6, "a closed loader goes on where it was"
    threads = loader_threads()
    del loader
    for thread in threads:
        thread.join(timeout=10)
    assert not loader_threads(), "a dropped loader stops too"


def test_a_damaged_picture_names_its_place(tmp_path: Path):
    prepared = tiny_set(tmp_path / "s", name="hurt", num_shards=1)
    shard, start = tmp_path / "s" / "shard0", int(prepared.split("train").image("wrist").offset[6])
    data = bytearray(shard.read_bytes())
    data[start : start + 4] = bytes(4)
    shard.write_bytes(data)
    place = r"'hurt', split 'train', camera 'wrist', episode 2, step 0, bytes \d+ to \d+ of .*shard0: damaged picture"
    with Loader(Mixture(entries=(MixtureEntry(prepared=prepared),)), **OPTIONS) as loader:
        with pytest.raises(WorldError, match=place):
            take(loader, 20)
        assert not loader_threads()


def test_a_file_that_became_shorter_names_its_place(tmp_path: Path):
    prepared = tiny_set(tmp_path / "s", name="hurt", num_shards=1)
    loader = Loader(Mixture(entries=(MixtureEntry(prepared=prepared),)), **OPTIONS)
    shard = tmp_path / "s" / "shard0"
    shard.write_bytes(shard.read_bytes()[:-40])
    with loader, pytest.raises(WorldError, match=r"episode 2, step \d, bytes .* ends at byte \d+"):
        take(loader, 20)


def test_impossible_arguments_are_all_named_at_once(mixture: Mixture):
    with pytest.raises(UserError, match=r"history 0 must .*; batch_size 6 must be a multiple of num_hosts 4; host_index 4"):
        Loader(mixture, **OPTIONS | {"history": 0}, num_hosts=4, host_index=4)
    with pytest.raises(UserError, match="unknown camera role 'wrst'; did you mean 'wrist'"):
        Loader(mixture, **OPTIONS | {"roles": ("wrst",)})
    with pytest.raises(UserError, match="unknown split 'vall'; did you mean 'val'"):
        Loader(mixture, **OPTIONS | {"split": "vall"})


def test_a_tokenizer_of_another_type_is_refused(mixture: Mixture):
    with pytest.raises(UserError, match=r"the tokenizer of instructions gave int64\[1, 12\]"):
        Loader(mixture, **OPTIONS | {"tokenizers": Tokenizers.alike(lambda texts: letters(texts).astype(np.int64))})


def test_each_text_is_tokenized_once(mixture: Mixture):
    seen: list[str] = []

    def counting(texts: list[str]) -> np.ndarray:
        seen.extend(texts)
        return letters(texts)

    with Loader(mixture, **OPTIONS | {"tokenizers": Tokenizers.alike(counting)}) as loader:
        take(loader, 20)
    assert sorted(seen) == ["", "do one", "do two", "undo one", "undo two"]


def test_epochs_are_countable(mixture: Mixture):
    with Loader(mixture, **OPTIONS) as loader:
        entries = np.concatenate([batch.embodiment for batch in take(loader, 30)])
        assert loader.epochs() == {"one": np.sum(entries == 0) / 13, "two": np.sum(entries == 1) / 6}


PASS = {key: value for key, value in OPTIONS.items() if key != "seed"}


def test_one_pass_gives_each_window_once_and_fills_up(mixture: Mixture):
    batches = list(one_pass(mixture, **PASS))
    assert [len(batch.sample) for batch in batches] == [6] * 4
    sample = np.concatenate([batch.sample for batch in batches])
    np.testing.assert_array_equal(sample, [*range(19), -1, -1, -1, -1, -1])
    mask = np.concatenate([batch.action_mask for batch in batches])
    assert mask[:19, 0, :7].all()
    assert not mask[19:].any()
    texts = np.concatenate([batch.text for batch in batches])
    np.testing.assert_array_equal(texts[:2], letters(["do one", "undo one"]))
    assert [batch_digest(b) for b in one_pass(mixture, **PASS)] == [batch_digest(b) for b in batches]


def test_one_pass_over_a_few_windows_and_hosts(mixture: Mixture):
    few = list(one_pass(mixture, **PASS, max_samples=3))
    np.testing.assert_array_equal(few[0].embodiment, [0, 0, 0, 1, 1, 1])
    assert len(few) == 1
    halves = [list(one_pass(mixture, **PASS, max_samples=3, num_hosts=2, host_index=i)) for i in range(2)]
    np.testing.assert_array_equal(np.concatenate([h[0].action for h in halves]), few[0].action)


def test_a_set_without_the_split_gives_nothing_to_a_pass(mixture: Mixture, tmp_path: Path):
    three = tiny_set(tmp_path / "s", name="three")
    wider = Mixture(entries=(MixtureEntry(prepared=three), *mixture.entries))
    sample = [(e, s) for b in one_pass(wider, **PASS) for e, s in zip(b.embodiment, b.sample, strict=True) if s >= 0]
    assert sorted({e for e, _ in sample}) == [1, 2]
    assert len(sample) == 19
    with pytest.raises(UserError, match="'three' has no windows"):
        Loader(wider, **OPTIONS | {"split": "val"})


def test_an_abandoned_pass_leaves_no_threads(mixture: Mixture):
    stream = one_pass(mixture, **PASS)
    next(stream)
    stream.close()
    assert not loader_threads()


def test_digest_sees_every_array(mixture: Mixture):
    with Loader(mixture, **OPTIONS) as loader:
        batch = next(loader)
    plain = batch_digest(batch)
    assert plain == batch_digest(batch)
    for field in dataclasses.fields(Batch):
        value = getattr(batch, field.name)
        if value is None:  # no data set has a target
            continue
        array = value["primary"] if isinstance(value, dict) else value
        array[(0,) * array.ndim] = ~array[(0,) * array.ndim] if array.dtype == bool else array[(0,) * array.ndim] + 1
        assert batch_digest(batch) != plain, field.name
        plain = batch_digest(batch)
