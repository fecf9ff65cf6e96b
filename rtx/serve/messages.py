"""What policy server and robot say to each other, between plain msgpack maps and the types of `rtx.spec`.

    server  {type: hello, protocol, policy, contract, robots: {name: {control_hz, cameras}}, roles, image_size, fit, history,
             chunk, proprio, action, max_message_bytes}
    robot   {type: act, id, robot, instruction, stamp_ns, proprio [t, p] or [p], images: {role: [t, h, w, 3] or [h, w, 3]},
             image_mask: {role: [t]} (may be left out), episode: number or text (may be left out)}
    server  {type: actions, id, actions [k, a], names, control_hz, stamp_ns, valid_until_ns, timing_ms}
       or   {type: error, id, code, message}

With `episode` the server keeps the frames of this connection's episode: each message brings the newest one only (t = 1), and a
policy with memory computes nothing else. Another `episode` (or robot) begins without a past; the connection's end forgets it.
Another instruction within an episode is told about the remembered frames too.

How arrays are written is `rtx_client.wire`, which both sides use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtx.spec import ActionChunk, Contract, Field, Observation
from rtx_client.client import PROTOCOL
from rtx_client.wire import MAX_MESSAGE_BYTES, WireError

_REQUIRED = ("robot", "instruction", "stamp_ns", "proprio", "images")
_KNOWN = frozenset({"type", "id", "image_mask", "episode", *_REQUIRED})
_MAX_TEXT = 1000  # characters of an instruction
_MAX_NAME = 100  # of a robot or a camera


@dataclass(frozen=True, kw_only=True)
class Request:
    id: int | str | None
    robot: str
    observation: Observation
    episode: int | str | None  # None: the observation holds all the history there is


def hello(contract: Contract, *, policy: str) -> dict[str, Any]:
    """The first message: what the policy behind this socket must be given, and what it gives."""
    robots = {
        name: {
            "control_hz": e.control_hz,
            "cameras": [role for role in contract.roles if role in e.roles],
            "proprio": _fields(contract.layouts[name].proprio),
            "action": _fields(contract.layouts[name].action.fields),
        }
        for name, e in contract.embodiments.items()
    }
    return {
        "type": "hello", "protocol": PROTOCOL, "policy": policy, "contract": contract.fingerprint(), "robots": robots,
        "roles": list(contract.roles), "image_size": list(contract.image_size), "fit": contract.fit,
        "history": contract.history, "chunk": contract.chunk, "max_message_bytes": MAX_MESSAGE_BYTES,
    }  # fmt: skip


def _fields(fields: Sequence[Field]) -> list[dict[str, Any]]:
    return [{"name": f.name, "width": f.width, "unit": f.unit, "rotation": f.rotation} for f in fields]


def request_id(message: Any) -> int | str | None:
    """The number to echo, also of a message that is otherwise unusable."""
    found = message.get("id") if isinstance(message, dict) else None
    return found if _is_short(found) else None


def _is_short(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and len(value) <= 64)


def request(message: Any) -> Request:
    """Raises WireError for a message that is not built as it should be, UserError (from `Observation`) for odd contents."""
    if not isinstance(message, dict) or message.get("type") != "act":
        kind = message.get("type") if isinstance(message, dict) else type(message).__name__
        raise WireError(f"message of type {str(kind)[:40]!r}; expected a map with type 'act'")
    if missing := [key for key in _REQUIRED if key not in message]:
        raise WireError(f"message 'act' lacks {', '.join(missing)}")
    if unknown := sorted(str(key)[:40] for key in message if key not in _KNOWN):
        raise WireError(f"message 'act' has unknown keys {', '.join(unknown[:5])}; known are {', '.join(sorted(_KNOWN))}")
    proprio = _array(message["proprio"], "proprio", kinds="fiu")
    images = {role: _frames(image, role) for role, image in _mapping(message["images"], "images").items()}
    masks = _mapping(message.get("image_mask", {}), "image_mask")
    if stray := sorted(set(masks) - set(images)):
        raise WireError(f"image_mask for {', '.join(stray)}, but no images")
    return Request(
        id=request_id(message),
        robot=_text(message["robot"], "robot", _MAX_NAME),
        episode=_episode(message.get("episode"), frames=len(np.atleast_2d(proprio))),
        observation=Observation(
            images=images,
            image_mask={role: _mask(masks.get(role), role, len(image)) for role, image in images.items()},
            proprio=_float32(np.atleast_2d(proprio)),
            instruction=_text(message["instruction"], "instruction", _MAX_TEXT),
            stamp_ns=_stamp(message["stamp_ns"]),
        ),
    )


def answer(chunk: ActionChunk, *, id: int | str | None, timing_ms: Mapping[str, float]) -> dict[str, Any]:
    return {
        "type": "actions", "id": id, "actions": chunk.actions, "names": list(chunk.names), "control_hz": chunk.control_hz,
        "stamp_ns": chunk.stamp_ns, "valid_until_ns": chunk.valid_until_ns, "timing_ms": dict(timing_ms),
    }  # fmt: skip


def error(code: str, message: str, *, id: int | str | None) -> dict[str, Any]:
    """`code`: one of those `rtx_client.PolicyError` lists."""
    return {"type": "error", "id": id, "code": code, "message": message}


def _episode(value: Any, *, frames: int) -> int | str | None:
    if value is not None and not _is_short(value):
        raise WireError(f"episode {str(value)[:40]!r} is no number and no text of at most 64 characters")
    if value is not None and frames != 1:
        raise WireError(f"a message of an episode has {frames} frames; send the newest one, the server keeps the earlier ones")
    return None if value is None else value


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) and len(key) <= _MAX_NAME for key in value):
        raise WireError(f"{what} is no map from camera names to arrays")
    return value


def _array(value: Any, what: str, *, kinds: str) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
        got = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise WireError(f"{what} is {got}; expected an array of dtype kind {' or '.join(kinds)}")
    return value


def _frames(value: Any, role: str) -> np.ndarray:
    image = _array(value, f"image {role!r}", kinds="u")
    return image[None] if image.ndim == 3 else image


def _mask(value: Any, role: str, frames: int) -> np.ndarray:
    return np.ones(frames, bool) if value is None else _array(value, f"image_mask {role!r}", kinds="b")


def _text(value: Any, what: str, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise WireError(f"{what} is no text of at most {longest} characters")
    return value


def _float32(value: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # too large becomes infinite, and that is refused
        return value.astype(np.float32)


def _stamp(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise WireError(f"stamp_ns {str(value)[:40]} is no count of nanoseconds")
    return value
