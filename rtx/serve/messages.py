"""What policy server and robot say to each other, between plain msgpack maps and the types of `rtx.spec`.

    server  {type: hello, protocol, policy, contract_fingerprint, checkpoint_fingerprint, roles, image_size, fit, history,
             chunk, continuation, max_message_bytes, robots: {name: {control_hz, cameras, proprio: [field], action: [field],
             layout, statistics}}}     the last two as in a checkpoint's contract: what limits and scales at the robot come from
    robot   {type: hello, id, robot, contract_fingerprint, cameras: [role], proprio: [field], action: [field], control_hz}
            may be left out, and so may all of it but the robot: what is in it must fit
    server  {type: welcome, id, robot}
    robot   {type: act, id, robot, instruction, stamp_ns, proprio [t, p] or [p], images: {role: [t, h, w, 3] or [h, w, 3]},
             image_mask: {role: [t]}, episode: number or text, deadline_ns, committed [m, a], planned [n, a]}
             the last five may be left out
    server  {type: actions, id, actions [k, a], names, control_hz, stamp_ns, valid_until_ns, timing_ms}
       or   {type: error, id, code, message}                                   codes: `rtx.serve.refusals`

    field   {name, width, unit, rotation}

With `episode` the server keeps the frames of this connection's episode: each message brings the newest one only (t = 1), and a
policy with memory computes nothing else. Another `episode` (or robot) begins without a past; the connection's end forgets it.
Another instruction within an episode is told about the remembered frames too.

`stamp_ns` and `deadline_ns` are the robot's monotonic clock, which the server does not know: the time left is their difference,
counted from the message's arrival. `committed`: the actions from the stamp on that will be executed whatever the answer is; its
first m rows are they. `planned`: what was to follow them; of use where the hello's `continuation` is "guided".

How arrays are written is `rtx_client.wire`, which both sides use. `docs/protocol.md` tells all of it to other languages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rtx.embodiment import Field
from rtx.spec import ActionChunk, Contract, Observation, to_json
from rtx_client.handshake import PROTOCOL
from rtx_client.wire import MAX_MESSAGE_BYTES, WireError

if TYPE_CHECKING:
    from rtx.models.protocol import Continuation

_REQUIRED = ("robot", "instruction", "stamp_ns", "proprio", "images")
_KNOWN = frozenset({"type", "id", "image_mask", "episode", "deadline_ns", "committed", "planned", *_REQUIRED})
_HELLO = frozenset({"type", "id", "robot", "contract_fingerprint", "cameras", "proprio", "action", "control_hz"})
_MAX_TEXT = 1000  # characters of an instruction
_MAX_NAME = 100  # of a robot or a camera


@dataclass(frozen=True, kw_only=True)
class Request:
    id: int | str | None
    robot: str
    observation: Observation
    episode: int | str | None = None  # None: the observation holds all the history there is
    time_left_s: float | None = None  # from arrival on; later the answer is of no use


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """What a robot says of itself; None where it says nothing."""

    id: int | str | None
    robot: str
    contract_fingerprint: str | None
    cameras: tuple[str, ...] | None
    proprio: tuple[Mapping[str, Any], ...] | None  # fields
    action: tuple[Mapping[str, Any], ...] | None
    control_hz: float | None


def hello(contract: Contract, *, policy: str, fingerprint: str, continuation: Continuation = "spliced") -> dict[str, Any]:
    """The first message: what the policy behind this socket must be given, and what it gives. `fingerprint`: its weights'."""
    robots = {
        name: {
            "control_hz": e.control_hz,
            "cameras": [role for role in contract.roles if role in e.roles],
            "proprio": _fields(contract.layouts[name].proprio),
            "action": _fields(contract.layouts[name].action.fields),
            "layout": to_json(contract.layouts[name]),
            "statistics": to_json(contract.statistics[name]),
        }
        for name, e in contract.embodiments.items()
    }
    return {
        "type": "hello", "protocol": PROTOCOL, "policy": policy, "robots": robots,
        "contract_fingerprint": contract.fingerprint(), "checkpoint_fingerprint": fingerprint,
        "roles": list(contract.roles), "image_size": list(contract.image_size), "fit": contract.fit,
        "history": contract.history, "chunk": contract.chunk, "continuation": continuation,
        "max_message_bytes": MAX_MESSAGE_BYTES,
    }  # fmt: skip


def _fields(fields: Sequence[Field]) -> list[dict[str, Any]]:
    return [{"name": f.name, "width": f.width, "unit": f.unit, "rotation": f.rotation} for f in fields]


def greeting(message: Mapping[str, Any]) -> Greeting:
    """A robot's hello. Raises WireError where it is not built as it should be."""
    if unknown := sorted(str(key)[:40] for key in message if key not in _HELLO):
        raise WireError(f"message 'hello' has unknown keys {', '.join(unknown[:5])}; known are {', '.join(sorted(_HELLO))}")
    fingerprint, hz = message.get("contract_fingerprint"), message.get("control_hz")
    if hz is not None and (isinstance(hz, bool) or not isinstance(hz, (int, float)) or not 0 < hz < 1e6):
        raise WireError(f"control_hz {str(hz)[:40]} is no rate")
    return Greeting(
        id=request_id(message),
        robot=_text(message.get("robot"), "robot", _MAX_NAME),
        contract_fingerprint=None if fingerprint is None else _text(fingerprint, "contract_fingerprint", _MAX_NAME),
        cameras=_listed(message.get("cameras"), "cameras", str),
        proprio=_listed(message.get("proprio"), "proprio", dict),
        action=_listed(message.get("action"), "action", dict),
        control_hz=None if hz is None else float(hz),
    )


def differences(said: Greeting, contract: Contract) -> list[str]:
    """What of a robot's hello does not fit the policy, one sentence each. `said.robot` is one of the contract."""
    wanted = hello(contract, policy="", fingerprint="")["robots"][said.robot]
    found = []
    if said.contract_fingerprint is not None and said.contract_fingerprint != contract.fingerprint():
        found.append(f"the robot was set up for contract {said.contract_fingerprint}, this policy has {contract.fingerprint()}")
    if said.cameras is not None and (missing := [role for role in wanted["cameras"] if role not in said.cameras]):
        found.append(f"cameras: the robot has {list(said.cameras)}, the policy needs {', '.join(missing)} too")
    for what, fields in (("proprio", said.proprio), ("action", said.action)):
        if fields is not None and (difference := _first_difference(fields, wanted[what])):
            found.append(f"{what}: {difference}")
    if said.control_hz is not None and abs(said.control_hz - wanted["control_hz"]) > 0.01 * wanted["control_hz"]:
        found.append(f"control_hz: the robot runs at {said.control_hz:g}, the policy was trained at {wanted['control_hz']:g}")
    return found


def _first_difference(fields: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> str:
    """Of what a robot says of its vector, key by key; keys it leaves out are not compared."""
    got, names = [str(field.get("name"))[:_MAX_NAME] for field in fields], [field["name"] for field in wanted]
    if got != names:
        return f"the robot has fields {got[:20]}, the policy {names}"
    for field, other in zip(fields, wanted, strict=True):
        for key in ("width", "unit", "rotation"):
            if key in field and not (type(field[key]) is type(other[key]) and field[key] == other[key]):
                return f"field {other['name']!r} has {key} {str(field[key])[:40]} at the robot, {other[key]} in the policy"
    return ""


def welcome(robot: str, *, id: int | str | None) -> dict[str, Any]:
    return {"type": "welcome", "id": id, "robot": robot}


def kind_of(message: Any) -> str | None:
    """The `type` of a message, None for what has none; "" for one that is no text."""
    if not isinstance(message, dict) or "type" not in message:
        return None
    return message["type"] if isinstance(message["type"], str) else ""


def request_id(message: Any) -> int | str | None:
    """The number to echo, also of a message that is otherwise unusable."""
    found = message.get("id") if isinstance(message, dict) else None
    return found if _is_short(found) else None


def _is_short(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and len(value) <= 64)


def request(message: Any) -> Request:
    """Raises WireError for a message that is not built as it should be, UserError (from `Observation`) for odd contents."""
    if not isinstance(message, dict) or kind_of(message) != "act":
        kind = kind_of(message) if isinstance(message, dict) else type(message).__name__
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
        time_left_s=_time_left_s(message.get("deadline_ns"), _stamp(message["stamp_ns"])),
        observation=Observation(
            images=images,
            image_mask={role: _mask(masks.get(role), role, len(image)) for role, image in images.items()},
            proprio=_float32(np.atleast_2d(proprio)),
            instruction=_text(message["instruction"], "instruction", _MAX_TEXT),
            stamp_ns=_stamp(message["stamp_ns"]),
            committed=_promised(message.get("committed"), "committed"),
            planned=_promised(message.get("planned"), "planned"),
        ),
    )


def answer(chunk: ActionChunk, *, id: int | str | None, timing_ms: Mapping[str, float]) -> dict[str, Any]:
    return {
        "type": "actions", "id": id, "actions": chunk.actions, "names": list(chunk.names), "control_hz": chunk.control_hz,
        "stamp_ns": chunk.stamp_ns, "valid_until_ns": chunk.valid_until_ns, "timing_ms": dict(timing_ms),
    }  # fmt: skip


def error(code: str, message: str, *, id: int | str | None) -> dict[str, Any]:
    """`code`: one of `rtx.serve.refusals`."""
    return {"type": "error", "id": id, "code": code, "message": message}


def _episode(value: Any, *, frames: int) -> int | str | None:
    if value is not None and not _is_short(value):
        raise WireError(f"episode {str(value)[:40]!r} is no number and no text of at most 64 characters")
    if value is not None and frames != 1:
        raise WireError(f"a message of an episode has {frames} frames; send the newest one, the server keeps the earlier ones")
    return None if value is None else value


def _time_left_s(deadline: Any, stamp_ns: int) -> float | None:
    return None if deadline is None else (_stamp(deadline, "deadline_ns") - stamp_ns) / 1e9


def _promised(value: Any, what: str) -> np.ndarray | None:
    if value is None:
        return None
    rows = _float32(_array(value, what, kinds="f"))
    if rows.ndim != 2 or not np.all(np.isfinite(rows)):
        raise WireError(f"{what} has shape {list(rows.shape)} or a non-finite value; expected finite numbers [m, a]")
    return rows


def _listed(value: Any, what: str, kind: type) -> tuple[Any, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > _MAX_NAME or not all(isinstance(item, kind) for item in value):
        raise WireError(f"{what} is no list of {'names' if kind is str else 'fields {name, width, unit, rotation}'}")
    return tuple(value)


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
    if image.ndim not in (3, 4):
        raise WireError(f"image {role!r} has shape {list(image.shape)}; expected [h, w, 3] or [t, h, w, 3]")
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


def _stamp(value: Any, what: str = "stamp_ns") -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise WireError(f"{what} {str(value)[:40]} is no count of nanoseconds")
    return value
