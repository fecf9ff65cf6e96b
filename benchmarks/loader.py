"""Samples per second of the loader, beside a tf.data pipeline over the same shards and the bare decode limit.

    python benchmarks/loader.py                       # generates its data set in a temporary folder (450 MB, two minutes)
    python benchmarks/loader.py --folder ~/bench      # keeps it there for the next time

A sample is a window: 2 frames of 2 cameras (256 x 256 JPEG), decoded, with 4 actions and a text. All contenders run on the
same two cores, each in a process of its own, one after the other in short rounds, so that other load on the machine falls on
all alike; ratios are formed within a round and their median is printed. CPU-seconds are those of the whole process.

    decode limit         libjpeg-turbo on bytes in memory, one reused output buffer per thread, nothing else
    rtx                  rtx.data.loader.Loader
    rtx + augmentation   the same, and the training step's augmentation (rtx.train.augment), jitted on these CPU cores;
                         in training it runs on the accelerator
    tf.data ...          benchmarks/loader_tf.py: as documented, and without the resize that does nothing at this size

TensorFlow and tensorflow-datasets (extra `write`) are needed for tf.data and for generating the set.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import loader_data
import numpy as np

HISTORY, CHUNK = 2, 4
LIMIT, RTX, RTX_AUGMENTED = "decode limit", "rtx", "rtx + augmentation"
TF, TF_AUGMENTED = "tf.data", "tf.data + augmentation"
TF_BARE, TF_BARE_AUGMENTED = "tf.data, no resize", "tf.data, no resize + augm."
CONTENDERS = (LIMIT, RTX, RTX_AUGMENTED, TF, TF_AUGMENTED, TF_BARE, TF_BARE_AUGMENTED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the data set is kept; default: a temporary folder")
    parser.add_argument("--size", type=int, default=256, help="height and width delivered, default %(default)s")
    parser.add_argument("--batch", type=int, default=64, help="samples, default %(default)s")
    parser.add_argument("--shuffle", type=int, default=10_000, help="windows in tf.data's shuffle buffer, default %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round per contender, default %(default)s")
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS, choices=CONTENDERS)
    parser.add_argument("--run", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        serve(args)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory() as temporary:
        args.folder = args.folder or Path(temporary)
        args.folder.mkdir(parents=True, exist_ok=True)
        loader_data.prepared_set(args.folder)
        print_table(compete(args), args)


def compete(args: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Rounds of every contender, by name. A contender that cannot run says why and is left out."""
    names = [name for name in args.contenders if args.size == 256 or "no resize" not in name]
    workers = {name: worker for name in names if (worker := _start(name, args))}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
    for _ in range(args.rounds):
        for name, worker in workers.items():
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
            results[name].append(json.loads(worker.stdout.readline()))
    for worker in workers.values():
        worker.communicate()
    return results


def _start(name: str, args: argparse.Namespace) -> subprocess.Popen[str] | None:
    """A contender that is warm: compiled, its shuffle buffer full. None if it cannot run; it has said why."""
    program = [sys.executable, __file__, "--run", name, "--folder", str(args.folder)]
    for option in ("size", "batch", "shuffle", "seconds"):
        program += [f"--{option}", str(getattr(args, option))]
    worker = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    return worker if worker.stdout.readline() == "warm\n" else None


def serve(args: argparse.Namespace) -> None:
    """One contender: a round for every line of standard input."""
    next_batch = {LIMIT: decode_limit, RTX: rtx, RTX_AUGMENTED: rtx_augmented}.get(args.run, tf_data)(args)
    _round(next_batch, args.seconds)
    print("warm", flush=True)
    for _ in sys.stdin:
        _round(next_batch, 0.25 * args.seconds)  # batches that were prepared while others ran
        print(json.dumps(_round(next_batch, args.seconds)), flush=True)
    os._exit(0)  # threads of a pipeline without end


def _round(next_batch: Callable[[], int], seconds: float) -> dict[str, float]:
    samples, cpu, start = 0, _cpu_s(), time.monotonic()
    while time.monotonic() < start + seconds:
        samples += next_batch()
    per_s, per_cpu_s = samples / (time.monotonic() - start), samples / (_cpu_s() - cpu)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"per_s": per_s, "per_cpu_s": per_cpu_s, "peak_mb": peak}


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def open_loader(args: argparse.Namespace) -> Any:
    from rtx.data.loader import Loader
    from rtx.data.mixture import Mixture, MixtureEntry
    from rtx.data.prepared import PreparedSet
    from rtx.data.tokenizers import Tokenizers

    prepared = PreparedSet.open(loader_data.prepared_set(args.folder)[1])
    return Loader(
        Mixture(entries=(MixtureEntry(prepared=prepared),)), batch_size=args.batch, history=HISTORY, chunk=CHUNK,
        roles=prepared.roles, image_size=(args.size, args.size), seed=0, num_threads=2,
        tokenizers=Tokenizers.alike(lambda texts: np.zeros((len(texts), 8), np.int32)),
    )  # fmt: skip


def rtx(args: argparse.Namespace) -> Callable[[], int]:
    loader = open_loader(args)
    return lambda: len(next(loader).sample)


def rtx_augmented(args: argparse.Namespace) -> Callable[[], int]:
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    from rtx.train.augment import moved, recoloured
    from rtx.train.config import AugmentConfig
    from rtx.train.imitation import place

    config, key = dataclasses.replace(AugmentConfig.octo(), uncropped=()), jax.random.key(0)
    # Two programs: as one, XLA on the CPU crops three times over, once per channel. Accelerators were not tried.
    move = jax.jit(lambda images, sample: moved(images, sample, key, config))
    recolour = jax.jit(lambda images, sample: recoloured(images, sample, key, config))
    loader = open_loader(args)
    pending: list[Any] = []

    def next_batch() -> int:
        batch = place(next(loader))
        pending.append(recolour(move(batch.images, batch.sample), batch.sample))
        if len(pending) > 1:  # one batch is augmented while the next is loaded, as in training
            jax.block_until_ready(pending.pop(0))
        return len(batch.sample)

    return next_batch


def decode_limit(args: argparse.Namespace) -> Callable[[], int]:
    """Two threads that decode and nothing else; the pictures are those that the loader decodes, in order."""
    import simplejpeg

    from rtx.data.frames import Frames, ShardFiles
    from rtx.data.prepared import PreparedSet
    from rtx.images import decode

    split = PreparedSet.open(loader_data.prepared_set(args.folder)[1]).split("train")
    frames = [Frames(split, role, size=None, files=ShardFiles(), label="") for role in split.images]
    encoded = [bytes(data) for one in frames for _, data in one.encoded(np.arange(2000))]
    buffers = threading.local()

    def work(first: int) -> None:
        if not hasattr(buffers, "picture"):
            buffers.picture = np.zeros((args.size, args.size, 3), np.uint8)
        for data in encoded[first : first + 16]:
            if args.size == 256:
                simplejpeg.decode_jpeg(data, buffer=buffers.picture)
            else:
                decode(data, (args.size, args.size), out=buffers.picture)

    pool = ThreadPoolExecutor(2)
    firsts = itertools.cycle(range(0, len(encoded), 16))
    pending = deque(pool.submit(work, first) for first in itertools.islice(firsts, 16))

    def next_batch() -> int:
        for _ in range(args.batch * HISTORY * len(frames) // 16):
            pending.popleft().result()
            pending.append(pool.submit(work, next(firsts)))
        return args.batch

    return next_batch


def tf_data(args: argparse.Namespace) -> Callable[[], int]:
    import loader_tf

    from rtx.data import catalogue

    keys = [key.path.split("/") for key in catalogue.find(loader_data.RECORD).images.values()]
    return loader_tf.pipeline(
        loader_data.prepared_set(args.folder)[0], keys, batch=args.batch, history=HISTORY, chunk=CHUNK, size=args.size,
        shuffle=args.shuffle, resize="no resize" not in args.run, augment="augm" in args.run, num_threads=2,
    )  # fmt: skip


def print_table(results: dict[str, list[dict[str, float]]], args: argparse.Namespace) -> None:
    cpu = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor())
    print(f"{cpu}, 2 cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}")
    print(
        f"batch {args.batch}, history {HISTORY}, chunk {CHUNK}, {args.size} x {args.size}, shuffle buffer of tf.data"
        f" {args.shuffle:,} windows, median of {args.rounds} rounds of {args.seconds:g} s"
    )
    print(f"{'':28}{'samples/s':>10}{'per CPU-s':>11}{'peak MB':>9}")
    for name, rounds in results.items():
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        print(f"{name:28}{middle['per_s']:>10,.0f}{middle['per_cpu_s']:>11,.0f}{rounds[-1]['peak_mb']:>9,.0f}")
    pairs = ((RTX, LIMIT), (RTX, TF), (RTX, TF_BARE), (RTX_AUGMENTED, TF_AUGMENTED), (RTX_AUGMENTED, TF_BARE_AUGMENTED))
    pairs += ((RTX, TF_AUGMENTED),)
    print(f"\n{'ratios within rounds':52}{'wall':>7}{'CPU':>7}   (smallest and largest by wall)")
    for ours, other in pairs:
        if ours in results and other in results:
            _print_ratio(f"{ours} / {other}", results[ours], results[other])


def _print_ratio(name: str, ours: list[dict[str, float]], other: list[dict[str, float]]) -> None:
    ratios = {key: [a[key] / b[key] for a, b in zip(ours, other, strict=True)] for key in ("per_s", "per_cpu_s")}
    wall, cpu = (statistics.median(ratios[key]) for key in ("per_s", "per_cpu_s"))
    print(f"{name:52}{wall:>7.2f}{cpu:>7.2f}   ({min(ratios['per_s']):.2f} to {max(ratios['per_s']):.2f})")


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
