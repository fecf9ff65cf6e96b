"""Trees of frozen dataclasses read from JSON by their type hints: the inverse of `rtx.spec.to_json`.

Configurations and contracts are such trees. Data never names code: which class is built follows from the hints alone.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from rtx.errors import UserError, unknown_name


def hints(cls: type) -> dict[str, Any]:
    """`field -> type` with annotations resolved."""
    resolved = typing.get_type_hints(cls)
    return {field.name: resolved[field.name] for field in dataclasses.fields(cls)}


def from_json(hint: Any, data: Any, where: str) -> Any:
    """Inverse of `rtx.spec.to_json` for a value of type `hint`. Raises UserError naming `where` for what does not fit."""
    for option in options(hint) if data is not None else ():
        if dataclasses.is_dataclass(option) and isinstance(option, type):
            return _dataclass_from_json(option, data, where)
    if isinstance(data, list) and (item := items(hint)) is not None:
        data = tuple(from_json(item(i), value, f"{where}.{i}") for i, value in enumerate(data))
    if typing.get_origin(hint) is Mapping and isinstance(data, Mapping):
        return {name: from_json(typing.get_args(hint)[1], value, f"{where}.{name}") for name, value in data.items()}
    if isinstance(data, str) and data in ("inf", "-inf", "nan") and accepts(hint, 0.0):
        data = float(data)
    if not accepts(hint, data):
        raise UserError(f"{where}: got {data!r}, expected {describe(hint)}")
    return float(data) if type(data) is int and not _accepts_int(hint) else data


def _dataclass_from_json(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: got {data!r}, expected an object with {', '.join(hints(cls))}")
    known = hints(cls)
    for name in data:
        if name not in known:
            raise unknown_name(f"key in {where}", name, known)
    needed = [field.name for field in dataclasses.fields(cls) if _has_no_default(field)]
    if missing := [name for name in needed if name not in data]:
        raise UserError(f"{where}: lacks {', '.join(missing)}")
    return cls(**{name: from_json(known[name], value, f"{where}.{name}") for name, value in data.items()})


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, None first (so that "none" is not taken for a string) and str last; else the hint itself."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return tuple(sorted(typing.get_args(hint), key=lambda h: (h is not type(None), h is str)))
    return (hint,)


def items(hint: Any) -> Any:
    """For a tuple type, `i -> type of item i`; None for other types."""
    for option in options(hint):
        if typing.get_origin(option) is tuple:
            args = typing.get_args(option)
            if len(args) == 2 and args[1] is Ellipsis:
                return lambda i: args[0]
            return lambda i: args[min(i, len(args) - 1)]
    return None


def accepts(hint: Any, value: Any) -> bool:
    return any(_accepts_one(option, value) for option in options(hint))


def _accepts_one(hint: Any, value: Any) -> bool:
    if hint is float:
        return type(value) in (int, float)
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        args = typing.get_args(hint)
        return isinstance(value, tuple) and (args[-1] is Ellipsis or len(args) == len(value))
    return type(value) is hint


def _accepts_int(hint: Any) -> bool:
    return int in options(hint)


def describe(hint: Any) -> str:
    """A type in the words of the person who sets it."""
    names = {type(None): "none", bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        args = typing.get_args(hint)
        if args[-1] is Ellipsis:
            return f"values separated by commas, each {describe(args[0])}"
        return f"{len(args)} values separated by commas, each {describe(args[0])}"
    return (
        names.get(hint)
        or " or ".join(describe(option) for option in reversed(options(hint)) if option is not hint)
        or str(hint)
    )
