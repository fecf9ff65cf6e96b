"""Names of what is brought in: what tensorflow-datasets takes for one, and which camera is meant by a key."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rtx.errors import UserError

_WRIST = ("wrist", "hand", "gripper")
_FIXED_ROLES = ("primary", "secondary", "tertiary", "quaternary")
_LAST_WORD = re.compile(r"[^./]*$")


def identifier(text: str) -> str:
    """Lower-case letters, digits and underscores, a letter first: what tensorflow-datasets takes for a name."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"set_{plain}".rstrip("_")


def checked_name(name: str, *, default: str) -> str:
    """The name of a data set: `name` if it can be one, or made from `default`. Raises UserError."""
    name = name or identifier(default)
    if name != identifier(name):
        raise UserError(f"data set name {name!r}: expected lower-case letters, digits and underscores, a letter first")
    return name


def camera_roles(keys: Sequence[str]) -> dict[str, str]:
    """Role -> key of each camera, guessed from its name: on the hand if it says so, fixed otherwise. The rest is left out."""
    roles: dict[str, str] = {}
    for key in keys:
        name = last_word(key)
        on_hand = any(word in name for word in _WRIST)
        side = next((side for side in ("left", "right") if side in name), "")
        wanted = ([f"wrist_{side}"] if side else ["wrist", "wrist_left", "wrist_right"]) if on_hand else list(_FIXED_ROLES)
        role = next((role for role in wanted if role not in roles), None)
        if role:
            roles[role] = key
    order = (*_FIXED_ROLES, "wrist", "wrist_left", "wrist_right")
    return {role: roles[role] for role in order if role in roles}


def last_word(key: str) -> str:
    """Of a key with dots or slashes, in lower case."""
    return _LAST_WORD.search(key).group().lower()  # type: ignore[union-attr]  # matches the empty string at least
