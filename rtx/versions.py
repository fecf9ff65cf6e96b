"""What a result was made with: the code, the packages it runs on, the machine."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from rtx.page import count

_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "mujoco", "robosuite", "tensorflow-datasets")


@functools.cache
def versions() -> dict[str, str]:
    """rtx, Python and the packages a result may depend on, where installed; where rtx runs from its repository the commit
    ("-dirty" if files were changed since). As of the first call."""
    found = {"rtx": sys.modules["rtx"].__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found | _commit()


def _commit() -> dict[str, str]:
    repository = Path(__file__).resolve().parents[1]
    if not (repository / ".git").exists():  # an installed rtx may lie in somebody else's repository
        return {}
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):  # no git on this machine, or not for this user
        return {}
    return {"commit": found.stdout.strip()}


def machine() -> str:
    """Operating system, processor family and number of cores."""
    return f"{platform.system()} {platform.machine()}, {count(os.cpu_count() or 1, 'core')}"
