"""Stopping together: a scheduler's SIGTERM may reach one host before another, and all must end behind the same step.

Each host's flag goes into the step as one number a device and is summed there: all hosts read the same sum of the same step,
without a message of our own. They read it one step later, when it is known without waiting, and stop behind that step.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rtx.train.parallel.mesh import AXES
from rtx.train.preemption import Preemption


class StopSign:
    """Of one process: its own flag, at once."""

    def __init__(self, preemption: Preemption, mesh: Mesh) -> None:
        self._preemption = preemption
        self._each_device = NamedSharding(mesh, PartitionSpec(AXES))
        self._is_one_process = self._each_device.is_fully_addressable
        self._last: Any = None

    def raised(self) -> jax.Array | None:
        """What goes into the next step; None where there is nobody to tell."""
        if self._is_one_process:
            return None
        flags = np.full(len(self._each_device.addressable_devices), self._preemption.requested, np.int32)
        return jax.make_array_from_process_local_data(self._each_device, flags)

    def seen(self, total: Any) -> bool:
        """Whether to stop behind the step that gave `total`. The same on every host."""
        if self._is_one_process:
            return self._preemption.requested
        last, self._last = self._last, total
        return last is not None and bool(last)
