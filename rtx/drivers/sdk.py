"""A vendor's package, imported when its driver is opened; where it is missing, the extra that brings it."""

from __future__ import annotations

import importlib
from typing import Any

from rtx.errors import UserError


def need_sdk(module: str, *, driver: str, extra: str) -> Any:
    """Raises UserError naming the extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"driver {driver!r} needs {module}: pip install rtx-robotics[{extra}] ({error})") from None
