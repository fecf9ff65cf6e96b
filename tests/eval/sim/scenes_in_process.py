"""Run by test_scenes.py in a process without TensorFlow: draws scenes and prints what their pixels show, as JSON.

python scenes_in_process.py NUMBER SEED
"""

import dataclasses
import hashlib
import json
import sys

import numpy as np

from rtx.eval.sim.objects import COLOURS, NUM_CUBES
from rtx.eval.sim.questions import deal
from rtx.eval.sim.studio import Scene, Studio

SIZE = 224


def shown(studio: Studio, scene: Scene) -> list[dict]:
    """Every cube the pixels show, from left to right by the middle of its pixels, with the colour those have."""
    found = []
    for i in range(NUM_CUBES):
        mask = scene.geoms == studio.geom(f"cube{i}")
        if mask.any():
            column = float((np.flatnonzero(mask.any(axis=0)).min() + np.flatnonzero(mask.any(axis=0)).max()) / 2)
            found.append({"column": column, "pixels": int(mask.sum()), "colour": colour_of(scene.image[mask])})
    return sorted(found, key=lambda cube: cube["column"])


def colour_of(pixels: np.ndarray) -> str:
    """The named colour whose direction in RGB is nearest."""
    mean = pixels.astype(float).mean(axis=0)
    angles = {name: mean @ np.array(rgb) / np.linalg.norm(mean) / np.linalg.norm(rgb) for name, rgb in COLOURS.items()}
    return max(angles, key=lambda name: angles[name])


def digest(scene: Scene) -> str:
    return hashlib.sha256(scene.image.tobytes() + scene.question.encode()).hexdigest()


def main(number: int, seed: int) -> None:
    by_arm: dict[str, list[int]] = {}
    for index in range(number):
        by_arm.setdefault(deal(seed, index).arm, []).append(index)
    scenes, again = [], []
    for arm, indices in by_arm.items():
        studio = Studio(arm, image_size=SIZE)
        for index in indices:
            scene = studio.scene(seed, index)
            truth = [dataclasses.asdict(cube) for cube in scene.cubes]
            told = {"question": scene.question, "truth": truth, "shown": shown(studio, scene), "digest": digest(scene)}
            scenes.append({**dataclasses.asdict(scene.dealt), **told})
        again.append([digest(studio.scene(seed, indices[0])), scenes[-len(indices)]["digest"]])
        studio.close()
    print(json.dumps({"scenes": scenes, "again": again, "loaded": sorted({"jax", "tensorflow"} & set(sys.modules))}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
