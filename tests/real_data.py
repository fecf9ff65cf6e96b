"""Where real recordings are, for the tests that use them: RTX_REAL_DATA, or a folder shared/data beside the clone.

A stranger's clone has none; those tests then skip and say so.
"""

import os
from pathlib import Path

import pytest


def real_data_dir(name: str) -> Path:
    """The folder `name` of the real recordings; skips the test where there is none."""
    roots = [os.environ.get("RTX_REAL_DATA"), Path(__file__).resolve().parents[2] / "shared" / "data"]
    for root in filter(None, roots):
        if (folder := Path(root) / name).is_dir():
            return folder
    pytest.skip(f"no real recordings: {name} is neither under $RTX_REAL_DATA nor under ../shared/data")


def bridge_dir() -> Path:
    """The TFDS root that holds bridge_dataset/1.0.0: 25 + 25 cut episodes of a real WidowX 250."""
    return real_data_dir("bridge_debug_rlds")
