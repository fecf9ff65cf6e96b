"""Run by test_suites.py in a process without TensorFlow: plays a suite's scene with pictures, prints what it saw as JSON.

python play_in_process.py SUITE TASK
"""

import hashlib
import json
import sys

import numpy as np

from rtx.eval.play import Pilot
from rtx.eval.public.environment import build
from rtx.eval.public.registry import find_public
from rtx.eval.public.replay import chunk_of, layout_of


def digest(frame) -> str:
    parts = [frame.proprio.tobytes(), *(frame.images[role].tobytes() for role in sorted(frame.images))]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def main(name: str, task: str) -> None:
    suite = find_public(name)
    env = build(suite)
    first = env.reset(task=task, seed=7)
    begun, still = digest(first), first.proprio.copy()
    expert = env.expert()
    for _ in range(6):
        frame = env.step(expert(), render=False)
    blind, native = frame.images, frame.proprio.copy()
    frame = env.reset(task=task, seed=7, render=False)
    expert, pilot = env.expert(), Pilot(env, frame, safety=True, layout=layout_of(suite))
    for _ in range(6):
        canonical = pilot.adapter.to_canonical(expert(), proprio_native=frame.proprio)
        frame = pilot.step(chunk_of(pilot, canonical), 0, frame, render=False)
    through = float(np.abs(frame.proprio - native).max())
    view = env.render_view(64)
    other = digest(env.reset(task=task, seed=8))
    again = digest(env.reset(task=task, seed=7))
    robot = env.embodiment
    print(
        json.dumps(
            {
                "same": begun == again, "differs": begun != other, "moved": float(np.abs(frame.proprio - still).max()),
                "images": {role: list(image.shape) for role, image in first.images.items()}, "blind": len(blind),
                "through": through, "refusals": dict(pilot.refusals),
                "roles": list(robot.roles), "width": sum(field.width for field in robot.proprio) - len(still),
                "view": [*view.shape, float(view.std())], "instruction": env.instruction,
            }
        )
    )  # fmt: skip
    env.close()


main(*sys.argv[1:])
