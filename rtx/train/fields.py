"""Leaves of trees of frozen dataclasses: flatten to them, set one from text by its type hint.

Configurations are such trees. A path names a leaf: `train.lr`, `data.sets.0.weight`, `model.vision.width`.
"""

from __future__ import annotations

import copy
import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Literal

from rtx.errors import UserError, unknown_name
from rtx.typed_json import accepts, describe, hints, items, options


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
    for option in options(hint):
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
    if (item := items(hint)) is not None:
        inner = text[1:-1] if text[:1] + text[-1:] in ("()", "[]") else text
        parts = [part for part in inner.split(",") if part.strip()]
        values = tuple(parse(item(i), part, where) for i, part in enumerate(parts))
        return values if accepts(hint, values) else _refuse()
    return text if hint is str else _refuse()


def _refuse() -> Any:
    raise ValueError
