"""Suites whose packages cannot live beside ours: they run in a Python of their own, and speak numpy with us over pipes.

    our worker: `Foreign` -- {"do": "step", "action": [a]} --> PYTHON rtx_bridge.py SUITE   (imports nothing of rtx)
                          <-- {"state": {...}, "images": {...}, "success": false} --  host_SUITE.py: the suite itself

Messages are MessagePack behind their length (4 bytes, big-endian); an array is {"nd": [dtype, shape, bytes]}. Which Python: the
environment variable RTX_<SUITE>_PYTHON. What a number means is said on our side, in the suite's own file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from rtx.errors import UserError, WorldError
from rtx.eval.public.suite import PublicSuite

_BRIDGE = Path(__file__).parent / "bridge" / "rtx_bridge.py"
_HEAD = struct.Struct(">I")
_SHOWN = 2000  # characters of what the suite wrote before it died


def pack(message: Any) -> bytes:
    """With the length in front."""
    body = msgpack.packb(message, default=_encoded)
    return _HEAD.pack(len(body)) + body


def unpack(body: bytes) -> Any:
    return msgpack.unpackb(body, object_hook=_decoded)


def _encoded(value: Any) -> Any:
    array = np.ascontiguousarray(value)
    return {"nd": [array.dtype.str, list(array.shape), array.tobytes()]}


def _decoded(value: dict[str, Any]) -> Any:
    if set(value) != {"nd"}:
        return value
    dtype, shape, data = value["nd"]
    return np.frombuffer(data, dtype).reshape(shape)


def variable(suite: PublicSuite) -> str:
    """The environment variable that names the suite's Python."""
    return f"RTX_{suite.python}_PYTHON"


def python_of(suite: PublicSuite) -> str:
    """Raises UserError with the install lines where the variable is not set or names no program."""
    name = variable(suite)
    python = os.environ.get(name, "")
    if not python:
        raise UserError(f"suite {suite.name!r} runs in a Python of its own, and {name} names none: {suite.install}")
    if shutil.which(python) is None:
        raise UserError(f"{name} is {python!r}, which is no program; it should be the suite's Python: {suite.install}")
    return python


class Bridge:
    """The suite's process, and what one asks of it. Raises UserError where the suite's package is missing there."""

    def __init__(self, suite: PublicSuite, host: str) -> None:
        """`host`: which of `bridge/host_*.py`."""
        self._suite, python = suite, python_of(suite)
        # Suites print; what they say is told if they die.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, str(_BRIDGE), host], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said
        )
        try:
            self.ask("open")
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Raises UserError for what the suite's side says is the user's, WorldError where it died or failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(pack({"do": do, **arguments}))
            self._process.stdin.flush()
            (length,) = _HEAD.unpack(self._read(_HEAD.size))
            answer: dict[str, Any] = unpack(self._read(length))
        except (BrokenPipeError, EOFError) as error:
            code = self._process.wait(timeout=10)
            raise WorldError(
                f"the process of suite {self._suite.name!r} died (exit code {code}); it said last:\n{self._last_words()}"
            ) from error
        if missing := answer.get("missing"):
            name = variable(self._suite)
            raise UserError(f"{os.environ.get(name)} ({name}) lacks {missing}: {self._suite.install}")
        if failed := answer.get("failed"):
            raise WorldError(f"suite {self._suite.name!r} failed in its own process:\n{failed}")
        return answer

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what was on its way to a dead process
                    pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _read(self, count: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def _last_words(self) -> str:
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - _SHOWN))
        return self._said.read().decode(errors="replace").strip() or "nothing"
