"""From LeRobot's flat dotted keys to the tree of an RLDS step, and from cameras' names to their roles.

observation.images.wrist_cam --> observation/wrist_cam      observation.state --> observation/state
action                       --> action                     next.reward       --> next_reward
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rtx.data.lerobot.meta import LeRobotSet

_WRIST = ("wrist", "hand", "gripper")
_FIXED_ROLES = ("primary", "secondary", "tertiary", "quaternary")


def identifier(text: str) -> str:
    """Lower-case letters, digits and underscores, a letter first: what tensorflow-datasets takes for a name."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"set_{plain}".rstrip("_")


def rlds_paths(source: LeRobotSet) -> dict[str, tuple[str, ...]]:
    """Key -> where it lies under `steps/`, for every feature that is imported. All different."""
    keys = [f.key for f in (*source.numbers, *source.pictures)]
    short = {key: _path(key, short=True) for key in keys}
    return {key: path if list(short.values()).count(path) == 1 else _path(key, short=False) for key, path in short.items()}


def _path(key: str, *, short: bool) -> tuple[str, ...]:
    group, _, rest = key.partition(".")
    if group == "observation" and rest:
        return ("observation", identifier(rest.removeprefix("images.") if short else rest))
    return (identifier(key),)


def camera_roles(keys: Sequence[str]) -> dict[str, str]:
    """Role -> key of each camera, guessed from its name: on the hand if it says so, fixed otherwise. The rest is left out."""
    roles: dict[str, str] = {}
    for key in keys:
        name = key.rpartition(".")[2].lower()
        on_hand = any(word in name for word in _WRIST)
        side = next((side for side in ("left", "right") if side in name), "")
        wanted = ([f"wrist_{side}"] if side else ["wrist", "wrist_left", "wrist_right"]) if on_hand else list(_FIXED_ROLES)
        role = next((role for role in wanted if role not in roles), None)
        if role:
            roles[role] = key
    order = (*_FIXED_ROLES, "wrist", "wrist_left", "wrist_right")
    return {role: roles[role] for role in order if role in roles}
