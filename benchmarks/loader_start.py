"""Seconds from the start of a process to its first batch, on a prepared set of 10^6 steps.

    python benchmarks/loader_start.py [--folder FOLDER]

The step table repeats that of benchmarks/loader_data.py until it has a million steps; its images are real bytes of real shards.
Each start is a fresh Python; `cold`: the pages of tables and shards were dropped from the system's cache before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import loader_data
import numpy as np

NUM_STEPS = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where benchmarks/loader.py keeps its data; default: temporary")
    parser.add_argument("--starts", type=int, default=7, help="default %(default)s")
    parser.add_argument("--run", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        print(json.dumps(start(args.folder, since=args.run)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        source, prepared = loader_data.prepared_set(folder)
        large = enlarged(prepared, Path(temporary) / "large")
        print(f"        python  imports   open  batch  total s  CPU-s   (medians of {args.starts} starts)")
        for kind in ("warm", "cold"):
            times = []
            for _ in range(args.starts):
                if kind == "cold":
                    drop_from_cache([*large.rglob("*.*"), *source.rglob("*.*")])
                program = [sys.executable, __file__, "--folder", str(large), "--run", str(time.time())]
                done = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True)
                times.append(json.loads(done.stdout))
            python, imports, opened, batch, cpu = (statistics.median(column) for column in zip(*times, strict=True))
            total = statistics.median(sum(one[:-1]) for one in times)
            print(f"{kind:6}{python:>8.2f}{imports:>9.2f}{opened:>7.2f}{batch:>7.2f}{total:>9.2f}{cpu:>7.2f}", flush=True)


def enlarged(prepared: Path, out: Path) -> Path:
    """The prepared set with its episodes repeated until there are `NUM_STEPS` steps."""
    shutil.copytree(prepared, out)
    manifest = json.loads((out / "manifest.json").read_text())
    split = manifest["splits"]["train"]
    times = -(-NUM_STEPS // split["num_steps"])
    for path in (out / "train").glob("*.npy"):
        column = np.load(path)
        if path.stem == "episode_start":
            starts = column[:-1] + np.arange(times)[:, None] * column[-1]
            repeated = np.append(starts.reshape(-1), times * column[-1])
        else:
            repeated = np.concatenate([column] * times)
        np.save(path, repeated.astype(column.dtype))
    split["num_steps"], split["num_episodes"] = times * split["num_steps"], times * split["num_episodes"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


def drop_from_cache(paths: list[Path]) -> None:
    for path in paths:
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)  # only what is on disk can be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def start(prepared: Path, *, since: float) -> list[float]:
    """Seconds of Python's own start (with numpy), of imports, of opening, and of the first batch of 64 windows; CPU-seconds
    of all together, which other load on the machine does not stretch.
    """
    times = [since, time.time()]
    from rtx.data.loader import Loader
    from rtx.data.mixture import Mixture, MixtureEntry
    from rtx.data.prepared import PreparedSet
    from rtx.data.tokenizers import Tokenizers

    times.append(time.time())
    opened = PreparedSet.open(prepared)
    loader = Loader(
        Mixture(entries=(MixtureEntry(prepared=opened),)), batch_size=64, history=2, chunk=4, roles=opened.roles,
        image_size=(256, 256), seed=0, num_threads=2,
        tokenizers=Tokenizers.alike(lambda texts: np.zeros((len(texts), 8), np.int32)),
    )  # fmt: skip
    times.append(time.time())
    next(loader)
    times.append(time.time())
    loader.close()
    assert opened.split("train").num_steps >= NUM_STEPS
    return [*np.diff(times).tolist(), time.process_time()]


if __name__ == "__main__":
    main()
