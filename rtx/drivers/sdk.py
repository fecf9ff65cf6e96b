"""A vendor's package, imported when its driver is opened; where it is missing, what to install."""

from __future__ import annotations

import importlib
from typing import Any

from rtx.errors import UserError


def need_sdk(module: str, *, driver: str, install: str) -> Any:
    """Raises UserError with the line for pip."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"driver {driver!r} needs {module}: pip install {install} ({error})") from None
