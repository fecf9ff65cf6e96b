"""The one place MuJoCo is imported from: chooses software-capable OpenGL first, and says what to install if there is none.

MuJoCo binds to a GL library at import, by the variable MUJOCO_GL; its own default wants a window.
"""

from __future__ import annotations

import ctypes.util
import os
import sys

from rtx.errors import UserError, WorldError

INSTALL = "apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri"


def _choose() -> None:
    if sys.platform.startswith("linux") and "MUJOCO_GL" not in os.environ and not os.environ.get("DISPLAY"):
        os.environ["MUJOCO_GL"] = "egl"
    if os.environ.get("MUJOCO_GL") == "egl" and ctypes.util.find_library("EGL") is None:
        raise WorldError(f"the simulator renders with OpenGL, and libEGL is missing: as root, run: {INSTALL}")


_choose()
try:
    import mujoco as mujoco
except ModuleNotFoundError as error:
    raise UserError(f"the simulator needs {error.name}: pip install rtx-robotics[sim]") from error
except (ImportError, AttributeError, OSError) as error:  # a GL library that is there and does not load
    raise WorldError(
        f"MuJoCo found no usable OpenGL (MUJOCO_GL={os.environ.get('MUJOCO_GL', '')}: {error}): as root, run: {INSTALL}"
    ) from error
