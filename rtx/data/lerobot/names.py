"""From LeRobot's flat dotted keys to the tree of an RLDS step.

observation.images.wrist_cam --> observation/wrist_cam      observation.state --> observation/state
action                       --> action                     next.reward       --> next_reward
"""

from __future__ import annotations

from rtx.data.lerobot.meta import LeRobotSet
from rtx.data.names import identifier


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
