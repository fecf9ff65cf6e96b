"""The boundary to a suite in another Python: what passes, and what is said when something is missing or dies."""

import shutil
import sys

import numpy as np
import pytest

from rtx.errors import UserError, WorldError
from rtx.eval.public.environment import build
from rtx.eval.public.process import pack, unpack
from rtx.eval.public.registry import find_public


def test_arrays_pass_whole():
    message = {
        "do": "step", "action": np.linspace(-1, 1, 7), "render": True, "nothing": None,
        "images": {"primary": np.arange(24, dtype=np.uint8).reshape(2, 4, 3)},
    }  # fmt: skip
    back = unpack(pack(message)[4:])
    np.testing.assert_array_equal(back.pop("action"), message.pop("action"))
    image = back.pop("images")["primary"]
    np.testing.assert_array_equal(image, message.pop("images")["primary"])
    assert image.dtype == np.uint8
    assert back == message


@pytest.mark.parametrize("name", ["libero", "maniskill", "language-table", "simpler-widowx"])
def test_without_a_python_the_install_line_is_told(name, monkeypatch):
    suite = find_public(name)
    monkeypatch.delenv(f"RTX_{suite.python}_PYTHON", raising=False)
    with pytest.raises(UserError, match=f"RTX_{suite.python}_PYTHON names none: into a Python.*pip.*install"):
        build(suite)


def test_a_python_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("RTX_LIBERO_PYTHON", "/no/such/python")
    with pytest.raises(UserError, match="'/no/such/python', which is no program"):
        build(find_public("libero"))


def test_a_python_without_the_suite_is_told_apart(monkeypatch):
    """The bridge really runs, in our own Python, which has msgpack and numpy but not the suite."""
    monkeypatch.setenv("RTX_SIMPLER_PYTHON", sys.executable)
    with pytest.raises(UserError, match=r"RTX_SIMPLER_PYTHON\) lacks No module named 'simpler_env'"):
        build(find_public("simpler-google"))


def test_a_process_that_dies_is_the_worlds_fault(monkeypatch):
    monkeypatch.setenv("RTX_LIBERO_PYTHON", shutil.which("false"))
    with pytest.raises(WorldError, match=r"process of suite 'libero' died \(exit code 1\)"):
        build(find_public("libero"))
