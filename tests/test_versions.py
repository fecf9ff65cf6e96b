"""What a result was made with is found, on any machine."""

from importlib import metadata

import rtx
from rtx.versions import machine, versions


def test_code_and_packages():
    found = versions()
    assert found["rtx"] == rtx.__version__
    assert found["jax"] == metadata.version("jax")
    assert {"python", "numpy", "flax", "optax", "orbax-checkpoint"} <= set(found)
    assert len(found.get("commit", "").removesuffix("-dirty")) in (0, 40)


def test_machine():
    assert "core" in machine()
