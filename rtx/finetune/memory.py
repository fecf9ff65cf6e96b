"""How much memory training takes and how much there is, roughly: enough to choose a mode by; `rtx plan` is exact."""

from __future__ import annotations

import os
from pathlib import Path

import jax

from rtx.finetune.base import Shapes, num_parameters
from rtx.finetune.modes import Mode

ACTIVATIONS = 1.3
"""What a step needs beside parameters, as a factor; long histories and large batches need more."""
_FLOAT = 4  # bytes of a parameter and of each of its companions


def there() -> int:
    """Bytes of the accelerator, or of the machine where the CPU trains (of the container, where it has less)."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(machine, _of_container() or machine)


def needed(mode: Mode, shapes: Shapes, *, trained: int, ema: bool) -> int:
    """Bytes, of parameters with `trained` of them trained: gradient, AdamW's two means and the average of each; for adapters
    a copy of the adapted kernels and one of their gradients, because they are merged before the model runs."""
    everything = num_parameters(shapes)
    copies = 2 * everything if mode == "lora" else 0
    return round(ACTIVATIONS * _FLOAT * (everything + trained * (3 + ema) + copies))


def in_words(count: int | float, unit: str = "") -> str:
    """`3.0 B`, `24 G`, `310 k`."""
    for size, letter in ((1e9, "B" if not unit else "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.{0 if count >= 10 * size else 1}f} {letter}{unit}"
    return f"{count:.0f} {unit}".strip()


def _of_container() -> int | None:
    limit = Path("/sys/fs/cgroup/memory.max")
    try:
        text = limit.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
