"""The generated data set of the loader's benchmarks: real TFDS shards with two JPEG cameras of 256 x 256, prepared by rtx.

A camera drifts over a scene of smooth shades, edges and grain: about 18 kB a picture, as those of real robots are.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

RECORD = "sim_vx300s"
NUM_EPISODES, NUM_STEPS = 200, 60


def prepared_set(folder: Path) -> tuple[Path, Path]:
    """(TFDS version folder, prepared folder) under `folder`, made unless they are there: about two minutes, 450 MB.

    Made in processes of their own, so that TensorFlow stays out of this one.
    """
    source, prepared = folder / "tfds", folder / "prepared"
    for what, target in (("_generate", source), ("_prepare", prepared)):
        if not target.exists():
            here = str(Path(__file__).parent)
            program = f"import sys; sys.path.insert(0, {here!r}); import loader_data; loader_data.{what}({str(folder)!r})"
            subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    return next(source.glob("*/*/dataset_info.json")).parent, prepared


def _generate(folder: str) -> None:
    write_set(folder, _episodes)


def write_set(folder: str, episodes: Callable[[], Iterable[Any]]) -> None:
    """FOLDER/tfds, a TFDS set of two 256 x 256 cameras in the form of BridgeData V2; it appears whole or not at all."""
    from rtx.data.write import ImageFeature, RldsFeatures, TensorFeature, TextFeature, write_rlds

    picture = ImageFeature(height=256, width=256)
    observation = {"image_0": picture, "image_1": picture, "state": TensorFeature(shape=(7,))}
    steps = {"observation": observation, "action": TensorFeature(shape=(7,)), "language_instruction": TextFeature()}
    flags = {name: TensorFeature(dtype="bool") for name in ("is_first", "is_last", "is_terminal")}
    features = RldsFeatures(steps=steps | flags, episode={"n": TensorFeature(dtype="int32")})
    partial = Path(folder) / "partial"
    write_rlds(partial, name=RECORD, features=features, splits={"train": episodes})
    partial.rename(Path(folder) / "tfds")


def _prepare(folder: str) -> None:
    from rtx.data import catalogue
    from rtx.data.prepare import prepare

    prepare(catalogue.find(RECORD), Path(folder) / "tfds", Path(folder) / "prepared", num_workers=1)


def _episodes() -> Iterator[Any]:
    from rtx.data.write import RldsEpisode

    for episode in range(NUM_EPISODES):
        rng = np.random.default_rng(episode)
        scene, steps = _scene(rng), []
        for t in range(NUM_STEPS):
            crops = [scene[4 * t : 4 * t + 256, 4 * s : 4 * s + 256] for s in (t, NUM_STEPS - 1 - t)]
            pose = np.array([0.3 + 0.001 * t, 0, 0.2, 0, 0, 0, t % 2], np.float32)
            steps.append({
                "observation": {"image_0": _jpeg(crops[0]), "image_1": _jpeg(crops[1]), "state": pose},
                "action": rng.normal(0, 0.01, 7).astype(np.float32), "language_instruction": "drift over the scene",
                "is_first": t == 0, "is_last": t == NUM_STEPS - 1, "is_terminal": t == NUM_STEPS - 1,
            })  # fmt: skip
        yield RldsEpisode(key=f"{episode:05d}", steps=tuple(steps), metadata={"n": np.int32(NUM_STEPS)})


def _scene(rng: np.random.Generator) -> np.ndarray:
    from PIL import Image

    coarse = rng.integers(0, 256, (12, 12, 3), np.uint8)
    scene = np.asarray(Image.fromarray(coarse).resize((512, 512), Image.Resampling.BICUBIC), np.int16)
    scene = np.clip(scene + rng.normal(0, 6, scene.shape), 0, 255).astype(np.uint8)
    for _ in range(30):
        y, x, h, w = rng.integers(0, 450), rng.integers(0, 450), rng.integers(8, 60), rng.integers(8, 60)
        scene[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return scene


def _jpeg(picture: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
