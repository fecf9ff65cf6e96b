"""The stream as promised: weights exact in each block, each window once per epoch, any hosts, through a real SIGKILL."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rtx.data.loader import Loader
from rtx.data.mixture import Mixture, MixtureEntry
from tests.data.load_in_process import OPTIONS, notes, row_digests
from tests.data.tiny_sets import picture, tiny_set

CHILD = Path(__file__).parent / "load_in_process.py"


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    folder = tmp_path_factory.mktemp("sets")
    sets = [tiny_set(folder / name, name=name, lengths=lengths) for name, lengths in (("one", (5, 1, 7)), ("two", (4, 2)))]
    return Mixture(entries=tuple(MixtureEntry(prepared=one, weight=w) for one, w in zip(sets, (1.0, 2.5), strict=True)))


def uninterrupted(mixture: Mixture, num_samples: int) -> dict[str, str]:
    rows: dict[str, str] = {}
    with Loader(mixture, **OPTIONS) as loader:
        while len(rows) < num_samples:
            rows |= row_digests(next(loader))
    return rows


@pytest.fixture(scope="module")
def block(mixture: Mixture) -> list[tuple[int, int]]:
    """(data set, step) of each of the first 1,024 samples, told by their pictures."""
    pictures = {
        picture(name, "primary", step).tobytes(): (entry, step)
        for entry, (name, steps) in enumerate((("one", 13), ("two", 6)))
        for step in range(steps)
    }
    seen = []
    with Loader(mixture, **OPTIONS | {"batch_size": 64, "history": 1}) as loader:
        assert loader.order.block_size == 1024
        for _ in range(16):
            batch = next(loader)
            found = [pictures[image.tobytes()] for image in batch.images["primary"][:, 0]]
            np.testing.assert_array_equal(batch.embodiment, [entry for entry, _ in found])
            seen += found
    return seen


def test_weights_are_exact_within_one_block(block: list[tuple[int, int]]):
    """To the sample: 1024 * 1 / 3.5 = 292.6 and 1024 * 2.5 / 3.5 = 731.4."""
    assert Counter(entry for entry, _ in block) == {0: 293, 1: 731}


def test_each_window_comes_exactly_once_per_epoch(mixture: Mixture, block: list[tuple[int, int]]):
    """Of the data set's own epochs, the numbers of its draws; within a block those of neighbouring epochs mix."""
    epoch = mixture.order(seed=1).lookup(np.arange(1024)).epoch
    for entry, size, draws in ((0, 13, 293), (1, 6, 731)):
        for k in range(draws // size):
            steps = [step for (e, step), n in zip(block, epoch, strict=True) if (e, n) == (entry, k)]
            assert sorted(steps) == list(range(size))
        counts = Counter(step for e, step in block if e == entry)
        assert set(counts.values()) <= {draws // size, draws // size + 1}  # whoever just counts sees the same


@pytest.mark.parametrize("num_hosts", [1, 2, 3, 8])
def test_hosts_are_disjoint_and_together_the_one_host_stream(mixture: Mixture, num_hosts: int):
    options = OPTIONS | {"batch_size": 24}
    shares: list[dict[str, str]] = []
    for i in range(num_hosts):
        with Loader(mixture, **options, host_index=i, num_hosts=num_hosts) as loader:
            shares.append({number: digest for _ in range(4) for number, digest in row_digests(next(loader)).items()})
    assert [len(share) for share in shares] == [96 // num_hosts] * num_hosts
    together = {number: digest for share in shares for number, digest in share.items()}
    assert together == uninterrupted(mixture, 96)  # 96 in all: no number came twice


def test_a_killed_process_goes_on_bit_for_bit_also_as_three_hosts(mixture: Mixture, tmp_path: Path):
    (tmp_path / "mixture").write_bytes(pickle.dumps(mixture))
    states = []
    for _ in range(2):  # killed, started again, killed again
        before = notes(tmp_path / "notes")[0]
        wanted = (0 if before is None else before.next_sample) + 5 * OPTIONS["batch_size"]
        _run_and_kill(tmp_path, until=wanted)
        states.append(notes(tmp_path / "notes")[0])
    state, rows = notes(tmp_path / "notes")
    assert state is not None
    assert states[0] is not None
    assert states[0].next_sample < state.next_sample
    assert len(rows) == state.next_sample
    for i in range(3):
        with Loader(mixture, **OPTIONS, host_index=i, num_hosts=3) as host:
            host.restore(state)
            for _ in range(4):
                rows |= row_digests(next(host))
    assert rows == uninterrupted(mixture, state.next_sample + 4 * OPTIONS["batch_size"])


def _run_and_kill(folder: Path, *, until: int) -> None:
    """SIGKILL as soon as the notes have reached sample `until`."""
    command = [sys.executable, str(CHILD), str(folder / "mixture"), str(folder / "notes")]
    env = {**os.environ, "PYTHONPATH": str(CHILD.parents[2])}
    child = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    try:
        while (state := notes(folder / "notes")[0]) is None or state.next_sample < until:
            assert child.poll() is None, child.communicate()[1][-3000:]
            time.sleep(0.01)
    finally:
        child.kill()
        child.communicate()
