"""Trees of frozen dataclasses by their type hints: read from JSON, flatten to leaves, set one leaf from text.

Configurations are such trees. A path names a leaf: `train.lr`, `data.sets.0.weight`. Data never names code: which class
is built follows from the hints alone.
"""

from __future__ import annotations

import copy
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


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """`path -> value` of a JSON tree or a dataclass tree. A tuple of plain values is one leaf, of dataclasses a branch."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        children = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, Mapping):
        children = dict(value)
    elif isinstance(value, list | tuple) and any(_is_branch(item) for item in value):
        children = {str(i): item for i, item in enumerate(value)}
    else:
        return {path: tuple(value) if isinstance(value, list) else value}
    prefix = f"{path}." if path else ""
    return {leaf: v for name, child in children.items() for leaf, v in leaves(child, prefix + name).items()}


def _is_branch(value: Any) -> bool:
    return isinstance(value, Mapping) or dataclasses.is_dataclass(value)


def from_json(hint: Any, data: Any, where: str) -> Any:
    """Inverse of `rtx.spec.to_json` for a value of type `hint`. Raises UserError naming `where` for what does not fit."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _dataclass_from_json(hint, data, where)
    if isinstance(data, list) and (item := _items(hint)) is not None:
        return tuple(from_json(item(i), value, f"{where}.{i}") for i, value in enumerate(data))
    if isinstance(data, str) and data in ("inf", "-inf", "nan") and _accepts(hint, 0.0):
        data = float(data)
    if not _accepts(hint, data):
        raise UserError(f"{where}: got {data!r}, expected {describe(hint)}")
    return float(data) if type(data) is int and not _accepts_int(hint) else data


def _dataclass_from_json(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: got {data!r}, expected an object with {', '.join(hints(cls))}")
    known = hints(cls)
    for name in data:
        if name not in known:
            raise unknown_name(f"key in {where}", name, known)
    return cls(**{name: from_json(known[name], value, f"{where}.{name}") for name, value in data.items()})


def replace_leaf(value: Any, path: str, text: str, *, whole: str | None = None) -> Any:
    """`value` with the leaf at `path` parsed from `text` by the type of its field. Does not validate.

    Raises UserError for a path that is no leaf (nearest names first) and for text that is not of the leaf's type.
    """
    whole = whole or path
    name, _, rest = path.partition(".")
    if isinstance(value, tuple):
        return _replace_item(value, name, rest, text, whole)
    known = hints(type(value))
    if name not in known:
        raise unknown_name("key", whole, _choices(value, whole.removesuffix(path)))
    child = getattr(value, name)
    if rest:
        if not _has_children(child):
            raise UserError(f"{whole}: {whole.removesuffix('.' + rest)} is a value, it has no parts; set it itself")
        changed = replace_leaf(child, rest, text, whole=whole)
    elif _has_children(child):
        raise UserError(f"{whole} is a group, not a value; set one of {', '.join(leaves(child, whole))}")
    else:
        changed = parse(known[name], text, whole)
    new = copy.copy(value)
    object.__setattr__(new, name, changed)  # not dataclasses.replace: two leaves may be valid only together
    return new


def _replace_item(items: tuple[Any, ...], name: str, rest: str, text: str, whole: str) -> tuple[Any, ...]:
    prefix = whole.removesuffix(f"{name}.{rest}" if rest else name)
    if not name.isdecimal() or int(name) >= len(items):
        raise unknown_name("key", whole, leaves(items, prefix.rstrip(".")))
    if not rest:
        raise UserError(f"{whole} is a group, not a value; set one of {', '.join(leaves(items[int(name)], whole))}")
    changed = replace_leaf(items[int(name)], rest, text, whole=whole)
    return (*items[: int(name)], changed, *items[int(name) + 1 :])


def _has_children(value: Any) -> bool:
    return _is_branch(value) or (isinstance(value, tuple) and any(_is_branch(item) for item in value))


def _choices(value: Any, prefix: str) -> list[str]:
    return list(leaves(value, prefix.rstrip(".")))


def parse(hint: Any, text: str, where: str) -> Any:
    """Text of the command line as a value of type `hint`: int, float, bool (true/false), str, None ("none"), tuples ("1,2")."""
    for option in _options(hint):
        try:
            return _parse_one(option, text.strip(), where)
        except ValueError:
            continue
    raise UserError(f"{where}={text}: expected {describe(hint)}")


def _parse_one(hint: Any, text: str, where: str) -> Any:
    if hint is type(None):
        return {"none": None}[text.lower()] if text.lower() == "none" else _refuse()
    if hint is bool:
        return {"true": True, "false": False}.get(text.lower()) if text.lower() in ("true", "false") else _refuse()
    if hint is int:
        return int(text)
    if hint is float:
        return float(text)
    if typing.get_origin(hint) is Literal:
        return next((choice for choice in typing.get_args(hint) if str(choice) == text), None) or _refuse()
    if (item := _items(hint)) is not None:
        parts = [part for part in text.strip("()[]").split(",") if part.strip()]
        values = tuple(parse(item(i), part, where) for i, part in enumerate(parts))
        return values if _accepts(hint, values) else _refuse()
    return text if hint is str else _refuse()


def _refuse() -> Any:
    raise ValueError


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, None first (so that "none" is not taken for a string) and str last; else the hint itself."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return tuple(sorted(typing.get_args(hint), key=lambda h: (h is not type(None), h is str)))
    return (hint,)


def _items(hint: Any) -> Any:
    """For a tuple type, `i -> type of item i`; None for other types."""
    for option in _options(hint):
        if typing.get_origin(option) is tuple:
            args = typing.get_args(option)
            if len(args) == 2 and args[1] is Ellipsis:
                return lambda i: args[0]
            return lambda i: args[min(i, len(args) - 1)]
    return None


def _accepts(hint: Any, value: Any) -> bool:
    return any(_accepts_one(option, value) for option in _options(hint))


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
    return int in _options(hint)


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
        or " or ".join(describe(option) for option in reversed(_options(hint)) if option is not hint)
        or str(hint)
    )
