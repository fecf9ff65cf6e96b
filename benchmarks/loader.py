"""Frames per CPU-second: our loader, a tf.data pipeline over the same shards, and the bare decode limit, in one run.

    python benchmarks/loader.py                          # on a generated set: 2 cameras, 256 x 256 JPEG, episodes of 50 steps
    python benchmarks/loader.py --source TFDS_FOLDER --record bridge_dataset

Every contender runs in a process of its own and delivers the same thing: batches of windows of `history` frames of each
camera, decoded and resized, with `chunk` actions, in shuffled order. The tf.data pipeline is written as Octo documents its own:
images stay encoded until after windowing and the shuffle buffer, then they are decoded and resized in parallel. Frames count
decoded pictures delivered; CPU-seconds are user + system time of the whole process after a warm-up, so other load on the
machine matters little. TensorFlow and tensorflow-datasets (extra `write`) are needed for it and for generating the set.
"""

from __future__ import annotations

import argparse
import io
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

CONTENDERS = ("decode limit", "rtx", "rtx cached", "tf.data")
BATCH, HISTORY, CHUNK = 32, 2, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help="TFDS version folder; default: a generated set")
    parser.add_argument("--record", default="sim_vx300s", help="its record's name, default %(default)s")
    parser.add_argument("--size", type=int, default=256, help="height and width delivered, default %(default)s")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured per contender, default %(default)s")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--prepared", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        print(json.dumps(measure(args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        source = args.source or _in_process(Path(folder), "generate")
        prepared = _in_process(Path(folder), "prepare", str(source), args.record)
        print_table([run_contender(name, source, prepared, args) for name in CONTENDERS], args)


def run_contender(name: str, source: Path, prepared: Path, args: argparse.Namespace) -> dict[str, Any]:
    program = [sys.executable, __file__, "--contender", name, "--source", str(source), "--prepared", str(prepared)]
    program += ["--record", args.record, "--size", str(args.size), "--seconds", str(args.seconds)]
    done = subprocess.run(program, capture_output=True, text=True)
    if done.returncode:
        return {"name": name, "error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def print_table(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    cpu = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor())
    print(f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}")
    print(f"batch {BATCH}, history {HISTORY}, chunk {CHUNK}, {args.size} x {args.size}, {args.seconds:g} s each")
    limit = next((row["per_cpu_s"] for row in rows if row["name"] == "decode limit" and "error" not in row), float("nan"))
    tf_rate = next((row["per_cpu_s"] for row in rows if row["name"] == "tf.data" and "error" not in row), float("nan"))
    print(f"{'':14}{'frames/CPU-s':>14}{'frames/s':>10}{'of limit':>10}{'x tf.data':>11}{'peak MB':>9}")
    for row in rows:
        if "error" in row:
            print(f"{row['name']:14}{row['error']}")
            continue
        rate = row["per_cpu_s"]
        ratios = f"{rate / limit:>10.0%}{rate / tf_rate:>11.1f}"
        print(f"{row['name']:14}{rate:>14,.0f}{row['per_s']:>10,.0f}{ratios}{row['peak_mb']:>9,.0f}")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Runs one contender in this process: `next_frames()` delivers a batch and says how many frames it holds."""
    next_frames = {"decode limit": decode_limit, "rtx": rtx, "rtx cached": rtx_cached, "tf.data": tf_data}[args.contender](args)
    warm_up_until = time.monotonic() + 0.3 * args.seconds
    while time.monotonic() < warm_up_until:
        next_frames()
    frames, start, cpu = 0, time.monotonic(), _cpu_s()
    while time.monotonic() < start + args.seconds:
        frames += next_frames()
    return {
        "name": args.contender,
        "per_cpu_s": frames / (_cpu_s() - cpu),
        "per_s": frames / (time.monotonic() - start),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def rtx(args: argparse.Namespace, cache_bytes: int = 0) -> Callable[[], int]:
    from rtx.data.loader import Loader
    from rtx.data.mixture import Mixture, MixtureEntry
    from rtx.data.prepared import PreparedSet

    prepared = PreparedSet.open(args.prepared)
    loader = Loader(
        Mixture(entries=(MixtureEntry(prepared=prepared),)), batch_size=BATCH, history=HISTORY, chunk=CHUNK,
        roles=prepared.roles, image_size=(args.size, args.size), seed=0, cache_bytes=cache_bytes,
        tokenize=lambda texts: np.zeros((len(texts), 8), np.int32),
    )  # fmt: skip
    return lambda: sum(images.shape[0] * images.shape[1] for images in next(loader).images.values())


def rtx_cached(args: argparse.Namespace) -> Callable[[], int]:
    """With every decoded frame kept, from the second epoch on: what a set that fits into memory costs."""
    from rtx.data.prepared import PreparedSet

    next_frames = rtx(args, cache_bytes=1 << 40)
    to_see = PreparedSet.open(args.prepared).split("train").num_steps
    for _ in range(2 * to_see // BATCH + 1):
        next_frames()
    return next_frames


def decode_limit(args: argparse.Namespace) -> Callable[[], int]:
    """Pillow on one thread on bytes that are in memory already: nobody who decodes with it can be faster."""
    from rtx.data.frames import Frames, ShardFiles
    from rtx.data.prepared import PreparedSet
    from rtx.images import decode

    split = PreparedSet.open(args.prepared).split("train")
    frames = Frames(split, next(iter(split.images)), size=None, files=ShardFiles(), label="")
    encoded = [data for _, data in frames.encoded(np.arange(min(split.num_steps, 256)))]

    def next_frames() -> int:
        for data in encoded:
            decode(data, (args.size, args.size))
        return len(encoded)

    return next_frames


def tf_data(args: argparse.Namespace) -> Callable[[], int]:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from rtx.data import catalogue

    record = catalogue.find(args.record)
    keys = [key.path.split("/") for key in record.images.values()]
    builder = tfds.builder_from_directory(str(args.source))

    def windows(steps: dict[str, Any]) -> Any:
        n = tf.shape(steps["images"])[0]
        past = tf.maximum(tf.range(n)[:, None] + tf.range(1 - HISTORY, 1), 0)
        future = tf.minimum(tf.range(n)[:, None] + tf.range(CHUNK), n - 1)
        picked = {"images": tf.gather(steps["images"], past), "action": tf.gather(steps["action"], future)}
        return tf.data.Dataset.from_tensor_slices(picked)

    def stack(example: dict[str, Any]) -> dict[str, Any]:
        steps = example["steps"]
        images = tf.stack([_at(steps, key) for key in keys], axis=1)
        action = [tf.cast(part, tf.float32) for part in tf.nest.flatten(steps["action"])]
        return {"images": images, "action": tf.concat(action, -1)}

    def decode(window: dict[str, Any]) -> dict[str, Any]:
        def one(data: Any) -> Any:
            picture = tf.io.decode_image(data, channels=3, expand_animations=False)
            resized = tf.image.resize(picture, (args.size, args.size), method="lanczos3", antialias=True)
            return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)

        flat = tf.reshape(window["images"], [-1])
        return window | {"images": tf.map_fn(one, flat, fn_output_signature=tf.uint8)}

    data = builder.as_dataset(split="train", shuffle_files=True, decoders={"steps": tfds.decode.SkipDecoding()})
    data = data.repeat().map(stack, tf.data.AUTOTUNE).interleave(windows, cycle_length=16)
    data = data.shuffle(2000).map(decode, tf.data.AUTOTUNE).batch(BATCH).prefetch(2)
    stream = data.as_numpy_iterator()
    return lambda: int(np.prod(next(stream)["images"].shape[:2]))


def _at(tree: Any, names: list[str]) -> Any:
    for name in names:
        tree = tree[name]
    return tree


def _in_process(folder: Path, what: str, *arguments: str) -> Path:
    """Calls a function below in a process of its own (TensorFlow stays out of this one) and returns the path it prints."""
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import loader; loader.{what}(*sys.argv[1:])"
    subprocess.run([sys.executable, "-c", program, str(folder), *arguments], check=True)
    return Path((folder / what).read_text())


def generate(folder: str) -> None:
    from rtx.data.write import ImageFeature, RldsFeatures, TensorFeature, TextFeature, write_rlds

    picture = ImageFeature(height=256, width=256)
    observation = {"image_0": picture, "image_1": picture, "state": TensorFeature(shape=(7,))}
    steps = {"observation": observation, "action": TensorFeature(shape=(7,)), "language_instruction": TextFeature()}
    flags = {name: TensorFeature(dtype="bool") for name in ("is_first", "is_last", "is_terminal")}
    features = RldsFeatures(steps=steps | flags, episode={"n": TensorFeature(dtype="int32")})
    path = write_rlds(Path(folder), name="sim_vx300s", features=features, splits={"train": _episodes})
    (Path(folder) / "generate").write_text(str(path))


def prepare(folder: str, source: str, record: str) -> None:
    from rtx.data import catalogue
    from rtx.data.prepare import prepare as prepare_set

    prepared = prepare_set(catalogue.find(record), Path(source), Path(folder) / "prepared", num_workers=1)
    (Path(folder) / "prepare").write_text(str(prepared.path))


def _episodes(num_episodes: int = 40, num_steps: int = 50) -> Iterator[Any]:
    """A camera drifting over a scene of smooth shades, edges and grain: about 20 kB a picture, as real ones are."""
    from PIL import Image

    from rtx.data.write import RldsEpisode

    for episode in range(num_episodes):
        rng = np.random.default_rng(episode)
        coarse = rng.integers(0, 256, (12, 12, 3), np.uint8)
        scene = np.asarray(Image.fromarray(coarse).resize((512, 512), Image.Resampling.BICUBIC), np.int16)
        scene = np.clip(scene + rng.normal(0, 6, scene.shape), 0, 255).astype(np.uint8)
        for _ in range(30):
            y, x, h, w = rng.integers(0, 450), rng.integers(0, 450), rng.integers(8, 60), rng.integers(8, 60)
            scene[y : y + h, x : x + w] = rng.integers(0, 256, 3)
        steps = []
        for t in range(num_steps):
            crops = [scene[4 * t : 4 * t + 256, 4 * s : 4 * s + 256] for s in (t, num_steps - t)]
            pose = np.array([0.3 + 0.001 * t, 0, 0.2, 0, 0, 0, t % 2], np.float32)
            steps.append({
                "observation": {"image_0": _jpeg(crops[0]), "image_1": _jpeg(crops[1]), "state": pose},
                "action": rng.normal(0, 0.01, 7).astype(np.float32), "language_instruction": "drift over the scene",
                "is_first": t == 0, "is_last": t == num_steps - 1, "is_terminal": t == num_steps - 1,
            })  # fmt: skip
        yield RldsEpisode(key=f"{episode:05d}", steps=tuple(steps), metadata={"n": np.int32(num_steps)})


def _jpeg(picture: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
