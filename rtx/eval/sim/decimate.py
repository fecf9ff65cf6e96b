"""Meshes with a tenth of their triangles: rendering on a CPU costs by the triangle, and at 128 pixels nobody sees them.

    mesh file --trimesh--> vertices merged --fast_simplification--> fewer faces --> binary STL

Merged first (also across texture and normal seams), otherwise the surfaces fall apart. Measured on a Panda at 128 px,
software rendering: 15 ms a frame with 182,000 triangles, 7 ms with 29,000.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import UserError

KEEP = 0.1
_ENOUGH_FACES = 300  # smaller meshes stay as they are


def decimated_stl(path: Path) -> bytes:
    """The mesh of `path` (STL or OBJ) as a binary STL. Raises UserError if the packages are missing."""
    try:
        import fast_simplification
        import trimesh
    except ImportError as error:
        raise UserError(f"the simulator's renderer needs {error.name}: pip install rtx-robotics[sim]") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # OBJ files that name material files robosuite does not ship
        mesh: Any = trimesh.load(path, force="mesh", process=False, skip_materials=True)
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
    vertices, faces = np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32)
    if len(faces) > _ENOUGH_FACES:
        reduction = 1 - max(_ENOUGH_FACES, KEEP * len(faces)) / len(faces)
        vertices, faces = fast_simplification.simplify(vertices, faces, target_reduction=float(reduction))
    return _binary_stl(vertices, faces)


def _binary_stl(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    """80 bytes of header, the count, then per triangle a normal (left zero: MuJoCo computes its own) and three corners."""
    triangles = np.zeros(len(faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    triangles["corners"] = np.asarray(vertices, np.float32)[faces]
    return bytes(80) + np.uint32(len(faces)).tobytes() + triangles.tobytes()
