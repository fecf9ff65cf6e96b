"""The one place MuJoCo is imported from: chooses software-capable OpenGL first, and says what to install if there is none.

MuJoCo binds to a GL library at import, by the variable MUJOCO_GL; its own default wants a window.
"""

from __future__ import annotations

import ctypes.util
import logging
import os
import sys

from rtx.errors import UserError, WorldError

INSTALL = "as root, run: apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri"
_TOO_LATE = "mujoco" in sys.modules and "MUJOCO_GL" not in os.environ


def advice() -> str:
    """What to do when nothing can be drawn."""
    if _TOO_LATE:
        return "mujoco was imported before rtx's simulator and chose its windowed OpenGL: set MUJOCO_GL=egl in the environment"
    return INSTALL


def _choose() -> None:
    if sys.platform.startswith("linux") and "MUJOCO_GL" not in os.environ and not os.environ.get("DISPLAY"):
        os.environ["MUJOCO_GL"] = "egl"
    if os.environ.get("MUJOCO_GL") == "egl" and ctypes.util.find_library("EGL") is None:
        raise WorldError(f"the simulator renders with OpenGL, and libEGL is missing: {INSTALL}")


_choose()
try:
    import mujoco as mujoco
except ModuleNotFoundError as error:
    raise UserError(f"the simulator needs {error.name}: pip install rtx-robotics[sim]") from error
except (ImportError, AttributeError, OSError) as error:  # a GL library that is there and does not load
    raise WorldError(
        f"MuJoCo found no usable OpenGL (MUJOCO_GL={os.environ.get('MUJOCO_GL', '')}: {error}): {INSTALL}"
    ) from error

# Otherwise MuJoCo prints them and leaves a MUJOCO_LOG.TXT wherever it runs.
mujoco.set_mju_user_warning(lambda text: logging.getLogger(__name__).warning("mujoco: %s", text))
