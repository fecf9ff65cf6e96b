"""Observations of clients that were not written for us: flat keys of theirs -> cameras, state and instruction of ours.

    {"observation/image": [h, w, 3], "observation/state": [p], "prompt": "..."}                 openpi, LIBERO
    {"images": {"cam_high": [3, h, w], ...}, "state": [p], "prompt": "..."}                     openpi, ALOHA
    {"image": [h, w, 3], "instruction": "...", "unnorm_key": "bridge"}                          OpenVLA
    {"full_image": ..., "wrist_image": ..., "state": [p], "instruction": "..."}                 OpenVLA-OFT

Nested maps are flattened with slashes. Keys that nothing is known of are refused with the known ones listed: a camera that is
passed over in silence is a wrong policy. The state is in the checkpoint's own layout (hello's `proprio`), raw units.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rtx.embodiment import CAMERA_ROLES
from rtx.errors import UserError, unknown_name
from rtx.files import read_json
from rtx.serve.messages import Request, request
from rtx.spec import Contract, to_json
from rtx.typed_json import from_json
from rtx_client.wire import WireError

_MAX_DEPTH = 3
_IMAGES: Mapping[str, str] = {
    "image": "primary", "full_image": "primary", "wrist_image": "wrist",
    "left_wrist_image": "wrist_left", "right_wrist_image": "wrist_right",
    "observation/image": "primary", "observation/wrist_image": "wrist",
    "observation/exterior_image_1_left": "primary", "observation/exterior_image_2_left": "secondary",
    "observation/wrist_image_left": "wrist",
    "images/cam_high": "primary", "images/cam_low": "secondary",
    "images/cam_left_wrist": "wrist_left", "images/cam_right_wrist": "wrist_right",
    **{f"images/{role}": role for role in CAMERA_ROLES},
}  # fmt: skip
_STATES = (
    ("observation/state",), ("state",), ("proprio",), ("observation/joint_position", "observation/gripper_position"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Names:
    """Whose key means what. `--names FILE.json` replaces any of it: `{"robot": "bridge", "images": {"cam": "primary"}}`."""

    robot: str = ""  # of clients that cannot say it, one of the contract's; "" where it has only one
    images: Mapping[str, str] = field(default_factory=lambda: dict(_IMAGES))  # key -> camera role
    state: tuple[tuple[str, ...], ...] = _STATES  # the first whose keys are all there, joined in this order
    instruction: tuple[str, ...] = ("prompt", "instruction", "task", "language_instruction")
    ignore: tuple[str, ...] = ()  # keys that are not looked at

    def __post_init__(self) -> None:
        for role in self.images.values():
            if role not in CAMERA_ROLES:
                raise unknown_name("camera role", role, CAMERA_ROLES)

    @property
    def keys(self) -> set[str]:
        return {*self.images, *self.instruction, *self.ignore, *(key for keys in self.state for key in keys), *_SAID}


_SAID = ("robot", "unnorm_key", "episode")  # what any such client may say besides


def read_names(path: Path | None) -> Names:
    """The defaults where there is no file. Raises UserError for a file that is none."""
    if path is None:
        return Names()
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path} holds {type(found).__name__}, expected an object like {json.dumps(to_json(Names()))[:80]}...")
    names: Names = from_json(Names, found, str(path))
    return names


def foreign_request(message: Any, names: Names, contract: Contract) -> Request:
    """Raises WireError or UserError as `messages.request`, whose checks it goes through."""
    found = dict(_flat(message, "", 0))
    if unknown := sorted(set(found) - names.keys):
        raise WireError(
            f"nothing is known of {', '.join(repr(key[:60]) for key in unknown[:5])}; known are "
            f"{', '.join(sorted(names.keys))}; a file of names (rtx serve --names) can say what others mean"
        )
    robot = _robot(found, names, contract)
    frames = {key: _upright(found[key]) for key in names.images if key in found}
    roles = [names.images[key] for key in frames]
    if len(set(roles)) != len(roles):
        raise WireError(f"two pictures are for one camera: {', '.join(frames)}")
    return request(
        {
            "type": "act",
            "robot": robot,
            "instruction": _instruction(found, names),
            "stamp_ns": time.monotonic_ns(),  # of the server: these clients have no stamps
            "proprio": _state(found, names, contract, robot),
            "images": {names.images[key]: frame for key, frame in frames.items()},
            **({"episode": found["episode"]} if "episode" in found else {}),
        }
    )


def _flat(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        name = key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)
        if depth >= _MAX_DEPTH:
            raise WireError(f"{path[:80]!r} is nested too deeply")
        yield from _flat(inner, f"{path}/{name}" if path else name, depth + 1)


def _robot(found: Mapping[str, Any], names: Names, contract: Contract) -> str:
    given = [found[key] for key in ("unnorm_key", "robot") if found.get(key) is not None]
    said = given[0] if given else names.robot
    movable = [name for name in contract.embodiments if contract.action_mask(name).any()]
    if not given and not names.robot and len(movable) == 1:
        return movable[0]
    if not given and not names.robot:
        raise UserError(
            f"this policy moves several robots: {', '.join(movable)}; say which as 'unnorm_key' or 'robot', or start the "
            'server with --names and a file that says "robot"'
        )
    if not isinstance(said, str) or said not in contract.embodiments:
        raise unknown_name("robot", str(said)[:100], movable)
    return said


def _instruction(found: Mapping[str, Any], names: Names) -> Any:
    said = [found[key] for key in names.instruction if key in found]
    if not said:
        raise WireError(f"no instruction; it is expected as one of {', '.join(names.instruction)}")
    return said[0]


def _state(found: Mapping[str, Any], names: Names, contract: Contract, robot: str) -> Any:
    layout = contract.layouts[robot]
    for keys in names.state:
        if all(key in found for key in keys):
            parts = [found[key] for key in keys]
            if not all(isinstance(part, np.ndarray | float | int) for part in parts):
                raise WireError(f"{' and '.join(keys)}: expected arrays of numbers")
            try:
                return np.concatenate([np.atleast_1d(np.asarray(part)) for part in parts], -1)
            except ValueError as error:
                raise WireError(f"{' and '.join(keys)} cannot be joined: {error}") from error
    if not any(layout.proprio_mask):  # nothing was known of it in training either
        return np.zeros(layout.proprio_width, np.float32)
    fields = ", ".join(f"{f.name}[{f.width}]" for f in layout.proprio)
    raise UserError(
        f"no state, and the policy was trained with it; send {fields} as one of {', '.join('+'.join(k) for k in names.state)}"
    )


def _upright(value: Any) -> Any:
    """Channels last: ALOHA's clients send them first."""
    if isinstance(value, np.ndarray) and value.ndim >= 3 and value.shape[-1] != 3 and value.shape[-3] == 3:
        return np.moveaxis(value, -3, -1)
    return value
