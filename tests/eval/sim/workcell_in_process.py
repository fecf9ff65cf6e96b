"""Run by test_workcell.py in a process without TensorFlow: what the pixels of some scenes show, as JSON.

python workcell_in_process.py NUMBER
"""

import json
import sys

import numpy as np

from rtx.eval.sim.objects import PALETTE
from rtx.eval.sim.workcell import Workcell

SIZE = 128


def colour_at(image: np.ndarray, row: float, column: float) -> str:
    """The named colour whose direction in RGB is nearest to that of a picture's place."""
    pixel = image[int(row * SIZE), int(column * SIZE)].astype(float)
    likeness = {name: pixel @ rgb / np.linalg.norm(pixel) / np.linalg.norm(rgb) for name, rgb in PALETTE.items()}
    return max(likeness, key=lambda name: likeness[name])


def main(number: int) -> None:
    cell = Workcell("sim_panda", image_size=SIZE)
    stills = [cell.scene(3, index) for index in range(number)]
    again = cell.scene(3, 0)
    cell.close()
    told = {
        "cubes": [[cube.colour, colour_at(s.image, cube.row, cube.column)] for s in stills for cube in s.sight.cubes],
        "grippers": [[s.sight.gripper.row, s.sight.gripper.column] for s in stills],
        "digests": len({s.image.tobytes() for s in stills}),
        "again": bool(np.array_equal(again.image, stills[0].image)) and again.questions == stills[0].questions,
        "loaded": sorted({"jax", "tensorflow"} & set(sys.modules)),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]))
