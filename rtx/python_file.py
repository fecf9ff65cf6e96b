"""A user's own Python file (a robot, records of data sets, configurations): run by its path, its errors told at its lines."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TypeVar

from rtx.errors import UserError

T = TypeVar("T")


def run_file(path: Path, prefix: str) -> ModuleType:
    """Runs a file that exists and that the user named. Its module is called `prefix` and a hash of the path: the same in every
    process, and not a package's. Raises UserError naming the line where it fails."""
    name = f"{prefix}{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    loader = _Fresh(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None, "a loader was given"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses of the file look their module up
    guarded(path, lambda: loader.exec_module(module))
    return module


def guarded(path: Path, run: Callable[[], T]) -> T:
    """The result of something the file defines. Raises UserError naming the line of the file where it fails."""
    try:
        return run()
    except SyntaxError as error:
        where = f"{error.filename or path}, line {error.lineno}"
        raise UserError(f"{where}: SyntaxError: {error.msg}: {(error.text or '').strip()}") from error
    except Exception as error:
        what = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{path}{_line(error, path)}: {what}") from error


class _Fresh(SourceFileLoader):
    """Reads the file itself: Python's cached bytecode is taken by whole seconds, and may hold what was edited since."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _line(error: Exception, path: Path) -> str:
    """Of the user's file, where the error came through it last."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    return f", line {lines[-1]}" if lines else ""
