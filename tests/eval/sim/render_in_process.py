"""Run by test_render.py in a process without TensorFlow: draws, and prints what it saw as JSON.

python render_in_process.py ARM
"""

import hashlib
import json
import sys

import numpy as np

from rtx.eval.sim.env import SimEnv
from rtx.eval.sim.objects import COLOURS


def digest(images: dict[str, np.ndarray]) -> str:
    return hashlib.sha256(b"".join(images[role].tobytes() for role in sorted(images))).hexdigest()


def cube_pixels(env: SimEnv, image: np.ndarray) -> int:
    """Pixels of the target's colour: their direction in RGB is the colour's own, and they are saturated."""
    pixels = image.reshape(-1, 3).astype(float)
    colour = np.array(COLOURS[env.layout.target_cube.colour])
    aligned = pixels @ colour / (np.linalg.norm(pixels, axis=1) * np.linalg.norm(colour) + 1e-6)
    saturated = np.ptp(pixels, axis=1) > 0.5 * pixels.max(axis=1) + 1
    return int(np.sum((aligned > 0.97) & saturated))


BENCH = ("place_on_colour", "place_in", "open_drawer", "lift@unseen_objects", "open_drawer@unseen_objects", "lift@distractors")


def shown(env: SimEnv, task: str, seed: int) -> dict[str, float]:
    """Pixels of what is to be moved and of what it goes to, and how far the picture is from that of the task without split."""
    env.reset(task=task, seed=seed)
    renderer = env._world.renderer
    owners = renderer.model.geom_bodyid[renderer.draw_geoms("primary", 64)]
    pixels = {
        role: int(np.sum(owners == renderer.model.body(body).id))
        for role, body in (("target", env.layout.target_body), ("goal", env.layout.goal))
        if body
    }
    changed = env.render_view(64).astype(float)
    env.reset(task=task.split("@")[0], seed=seed)
    return {**pixels, "changed": float(np.mean(np.abs(changed - env.render_view(64)).max(-1) > 12))}


def main(arm: str) -> None:
    env = SimEnv(arm, image_size=64)
    seen = [env.reset(task="lift", seed=seed) for seed in range(6)]
    visible = []
    for seed in range(6):
        frame = env.reset(task="lift", seed=seed)
        visible.append(cube_pixels(env, frame.images["primary"]))
    bench = {task: [shown(env, task, seed) for seed in range(4)] for task in BENCH}
    cloth = [shown(env, "lift@unseen_backgrounds", seed)["changed"] for seed in range(4)]
    again = [env.reset(task="lift", seed=seed) for seed in range(6)]
    view = env.render_view(200)
    facts = {
        "first": [digest(frame.images) for frame in seen],
        "again": [digest(frame.images) for frame in again],
        "shapes": {role: [str(image.dtype), *image.shape] for role, image in seen[0].images.items()},
        "spread": {role: float(image.std()) for role, image in seen[0].images.items()},
        "visible": visible,
        "bench": bench,
        "cloth": cloth,
        "view": list(view.shape),
        "loaded": sorted({"jax", "tensorflow"} & set(sys.modules)),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1])
