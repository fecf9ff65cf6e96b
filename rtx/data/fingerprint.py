"""The source text a function really runs: its own and that of every function of ours it reaches, with the constants they use.

A cache keyed on a function's name goes stale when its body is edited, one keyed on the body when a helper is. This walk
follows names through globals, closures and module attributes, inside rtx and the function's own package or file; third-party
code (numpy) is not followed.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from rtx.errors import UserError

USER_MODULE = "rtx_user_"  # how `rtx.data.record.load_records` names the modules it makes


def source_of(function: Callable[..., Any]) -> str:
    """Text that changes exactly when code or constants behind `function` change. Comments count as code.

    Raises UserError for a function whose source cannot be read (typed into a console).
    """
    found: dict[str, str] = {}
    start = inspect.unwrap(function.func if isinstance(function, functools.partial) else function)
    ours = {"rtx", str(getattr(start, "__module__", "")).split(".")[0]}
    _visit(function, "", ours, found)
    return "\n".join(f"# {name}\n{text}" for name, text in sorted(found.items()))


def _visit(value: Any, name: str, ours: set[str], found: dict[str, str]) -> None:
    """Adds `value`, which code knows as `name`, and what it reaches."""
    if isinstance(value, functools.partial):
        found[f"{name}()"] = repr(value.args) + repr(sorted(value.keywords.items()))
        return _visit(value.func, name, ours, found)
    if callable(value) and not isinstance(value, type):
        value = inspect.unwrap(value)
    if isinstance(value, types.FunctionType):
        return _visit_function(value, ours, found)
    if isinstance(value, type):
        if value.__module__.split(".")[0] in ours:
            found[f"{_label(value.__module__)}.{value.__qualname__}"] = _source(value)
        return None
    if dataclasses.is_dataclass(value):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping | tuple | list):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            _visit(item, f"{name}[{key!r}]", ours, found)
        return None
    found[name] = _constant(value)
    return None


def _visit_function(function: types.FunctionType, ours: set[str], found: dict[str, str]) -> None:
    key = f"{_label(function.__module__)}.{function.__qualname__}"
    if "<lambda>" in key:  # several may share that name
        key += f" {_source(function)}"
    if key in found or function.__module__.split(".")[0] not in ours:
        return
    found[key] = _source(function)
    names = set(_names(function.__code__))
    for cell_name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        _visit(cell.cell_contents, f"{key}.{cell_name}", ours, found)
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        if isinstance(value, types.ModuleType):
            if value.__name__.split(".")[0] in ours:
                for attribute in sorted(names & vars(value).keys()):
                    _visit(vars(value)[attribute], f"{value.__name__}.{attribute}", ours, found)
        else:
            _visit(value, f"{_label(function.__module__)}.{name}", ours, found)


def _label(module: str) -> str:
    """A user's file is a module named after its path; moving it changes nothing that matters."""
    return "file" if module.startswith(USER_MODULE) else module


def _names(code: types.CodeType) -> Iterator[str]:
    """Names of globals and attributes, inner functions included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _source(value: Any) -> str:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError) as error:
        raise UserError(
            f"cannot read the source of {value!r}, so prepared data could not tell when it changes; define it in a file"
        ) from error


def _constant(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return repr(value)
    return type(value).__qualname__  # an object whose printed form may hold an address
