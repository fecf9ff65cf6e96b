"""Where libtpu is installed and no TPU is: jax leaves it alone.

`rtx plan` needs libtpu (the extra `tpu`) for its compiler, on any machine. Whatever else starts jax there would load its 700
MB too, find no TPU after some lines of errors, and only then take the GPU or the CPU; two such processes at a time would
wait for one another's lock.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

_GOOGLE = "0x1ae0"
_STORAGE, _NETWORK = "0x01", "0x02"  # of Google, but no TPUs: the first digits of a PCI device's class


def leave_absent_tpu_alone() -> None:
    """Before the first use of jax; for this process and those that it starts."""
    if "TPU_LIBRARY_PATH" not in os.environ and importlib.util.find_spec("libtpu") and not has_tpu():
        os.environ["TPU_LIBRARY_PATH"] = __file__  # no library: jax sees that at once, and goes on to the GPU or the CPU


def has_tpu(devices: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Whether some TPU is in this machine, also one of a kind that is not made yet."""
    return any(_read(one / "vendor") == _GOOGLE and not _read(one / "class").startswith((_STORAGE, _NETWORK))
               for one in devices.glob("*"))  # fmt: skip


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
