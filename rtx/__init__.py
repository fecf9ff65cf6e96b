"""rtx: cross-embodiment robot foundation models, from RLDS mixtures to a policy that moves an arm.

The public API. Names resolve on first use, so that `import rtx` imports neither jax nor tensorflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rtx.embodiment import ActionSpace, Embodiment
from rtx.spec import Contract, Observation
from rtx.tpu import leave_absent_tpu_alone

if TYPE_CHECKING:
    from rtx.serve.policy import load_policy

_LAZY = {"load_policy": "rtx.serve.policy"}
__all__ = ["ActionSpace", "Contract", "Embodiment", "Observation", "load_policy"]
__version__ = "0.1.0"

leave_absent_tpu_alone()


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'rtx' has no attribute {name!r}; it has {', '.join(__all__)}")
