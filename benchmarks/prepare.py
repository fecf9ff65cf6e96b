"""Throughput of `prepare`: RLDS shards -> step table, statistics and byte index, on a generated set.

    python benchmarks/prepare.py                      # generates its data set in a temporary folder (860 MB, a minute)
    python benchmarks/prepare.py --folder ~/bench     # keeps it there for the next time

Two cameras of 256 x 256 JPEG, 18 kB a picture, 50 steps an episode: what reaches the disk is what a real set of that form
holds. Each row is one whole run into an empty folder, in a process of its own (peak memory is that of its largest process);
the shards are in the page cache after the first. "copy" only reads the shards and sums their CRC32C twice, as TFRecord asks
for: the least any reader could do. "up to date" is `prepare` again on the result.

TensorFlow and tensorflow-datasets (extra `write`) are needed for generating the set.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

RECORD = "sim_vx300s"
NUM_EPISODES, NUM_STEPS = 600, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the data set is kept; default: a temporary folder")
    parser.add_argument("--rounds", type=int, default=3, help="the fastest counts, default %(default)s")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        print(json.dumps(RUNS[args.run](args.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        source = _source(folder)
        num_bytes = sum(path.stat().st_size for path in source.glob("*.tfrecord*"))
        num_shards = len(list(source.glob("*.tfrecord*")))
        print(f"{platform.platform()}, {_cpu()}, {os.cpu_count()} cores; python {platform.python_version()}")
        print(f"{NUM_EPISODES} episodes, {NUM_EPISODES * NUM_STEPS:,} steps, {num_shards} shards, {num_bytes / 1e6:.0f} MB")
        print(f"{'':14}{'seconds':>9}{'MB/s':>9}{'steps/s':>10}{'steps/CPU-s':>13}{'peak MB':>9}")
        for name in RUNS:
            best = min((_run(name, folder) for _ in range(args.rounds)), key=lambda r: float(r["seconds"]))
            rate = num_bytes / 1e6 / best["seconds"]
            steps = NUM_EPISODES * NUM_STEPS
            print(
                f"{name:14}{best['seconds']:9.2f}{rate:9.0f}{steps / best['seconds']:10,.0f}"
                f"{steps / best['cpu']:13,.0f}{best['peak_mb']:9.0f}"
            )


def _run(name: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--run", name, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _measured(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds of `work`, CPU-seconds of this process and its workers meanwhile, memory of the largest of them."""
    start, cpu = time.monotonic(), _cpu_seconds()
    work()
    seconds = time.monotonic() - start
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    return {"seconds": seconds, "cpu": _cpu_seconds() - cpu, "peak_mb": peak}


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _copy(folder: Path) -> dict[str, float]:
    import google_crc32c

    def work() -> None:
        for path in sorted(_source(folder).glob("*.tfrecord*")):
            with open(path, "rb") as file:
                while data := file.read(1 << 21):
                    google_crc32c.value(data)
                    google_crc32c.value(data)

    return _measured(work)


def _prepare(folder: Path, num_workers: int, *, again: bool = False) -> dict[str, float]:
    from rtx.data import catalogue
    from rtx.data.prepare import prepare

    record, source = catalogue.find(RECORD), _source(folder)
    with tempfile.TemporaryDirectory(dir=folder) as out:

        def work() -> None:
            prepare(record, source, Path(out) / "set", num_workers=num_workers)

        if again:
            work()
        return _measured(work)


RUNS: dict[str, Callable[[Path], dict[str, float]]] = {
    "copy": _copy,
    "1 process": lambda folder: _prepare(folder, 1),
    "2 workers": lambda folder: _prepare(folder, 2),
    "up to date": lambda folder: _prepare(folder, 1, again=True),
}


def _source(folder: Path) -> Path:
    """The TFDS version folder under `folder`, generated unless it is there; by a process of its own, for TensorFlow."""
    if not (folder / "tfds").exists():
        here = str(Path(__file__).parent)
        program = f"import sys; sys.path.insert(0, {here!r}); import prepare; prepare._generate({str(folder)!r})"
        subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return next((folder / "tfds").glob("*/*/dataset_info.json")).parent


def _generate(folder: str) -> None:
    from loader_data import write_set

    write_set(folder, _episodes)


def _episodes() -> Iterator[Any]:
    from rtx.data.write import RldsEpisode

    rng = np.random.default_rng(0)
    pictures = [_jpeg(rng) for _ in range(64)]
    for episode in range(NUM_EPISODES):
        steps = []
        for t in range(NUM_STEPS):
            pose = np.array([0.3 + 0.001 * t, 0, 0.2, 0, 0, 0, t % 2], np.float32)
            chosen = [pictures[i] for i in rng.integers(0, len(pictures), 2)]
            steps.append({
                "observation": {"image_0": chosen[0], "image_1": chosen[1], "state": pose},
                "action": rng.normal(0, 0.01, 7).astype(np.float32), "language_instruction": f"task {episode % 40}",
                "is_first": t == 0, "is_last": t == NUM_STEPS - 1, "is_terminal": t == NUM_STEPS - 1,
            })  # fmt: skip
        yield RldsEpisode(key=f"{episode:05d}", steps=tuple(steps), metadata={"n": np.int32(NUM_STEPS)})


def _jpeg(rng: np.random.Generator) -> bytes:
    import io

    from PIL import Image

    coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
    pixels = np.clip(np.asarray(coarse, np.int16) + rng.normal(0, 6, (256, 256, 3)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
