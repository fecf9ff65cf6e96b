"""`POST /act` for OpenVLA's clients: JSON with json-numpy arrays in, the next action as seven numbers out.

    {"image": A, "instruction": "...", "unnorm_key": "bridge"}  ->  A: dx dy dz (m), droll dpitch dyaw (rad), gripper (1 open)
    {"encoded": "<the same as JSON in a string>"}               ->  "<A as JSON in a string>"

    A = {"__numpy__": base64, "dtype": "|u1", "shape": [h, w, 3]}

Other cameras and a state, where the policy was trained with them: `rtx.serve.names`. Errors are `{"code", "message"}` with the
status of `rtx.serve.refusals`. Format: openvla's vla-scripts/deploy.py and the json-numpy package, 2.1.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from rtx.errors import UserError
from rtx.spec import ActionChunk
from rtx_client.wire import WireError, array_of

MAX_BODY_BYTES = 32 << 20
_MAX_PARTS = 10_000  # objects, lists and their items: each takes a hundred times its bytes once it is read
_ARM = (*(f"delta_pos.{i}" for i in range(3)), *(f"delta_rot.{i}" for i in range(3)), "gripper")


def read_payload(body: bytes) -> tuple[dict[str, Any], bool]:
    """The observation, and whether it came encoded twice. Raises WireError."""
    payload, twice = _read(body), False
    if isinstance(payload, dict) and set(payload) == {"encoded"}:
        if not isinstance(payload["encoded"], str):
            raise WireError("'encoded' is no text")
        payload, twice = _read(payload["encoded"].encode()), True
    if not isinstance(payload, dict):
        raise WireError(f"expected a JSON object, got {type(payload).__name__}")
    return payload, twice


def first_action(chunk: ActionChunk) -> np.ndarray:
    """The chunk's first action as OpenVLA's seven numbers, float32. Raises UserError for a robot that has others."""
    if missing := [name for name in _ARM if name not in chunk.names]:
        raise UserError(f"/act answers single arms; this robot's actions are {', '.join(chunk.names)}: no {', '.join(missing)}")
    return chunk.actions[0, [chunk.names.index(name) for name in _ARM]]


def write_action(action: np.ndarray, *, twice: bool) -> str:
    data = np.ascontiguousarray(action, "<f4")
    text = json.dumps(
        {"__numpy__": base64.b64encode(data.tobytes()).decode(), "dtype": data.dtype.str, "shape": list(data.shape)}
    )
    return json.dumps(text) if twice else text


def _read(data: bytes) -> Any:
    if sum(data.count(mark) for mark in (b"{", b"[", b",")) > _MAX_PARTS:
        raise WireError(f"more than {_MAX_PARTS} values; send pictures as json-numpy arrays, not as lists")
    try:
        return json.loads(data, object_hook=_array)
    except WireError:
        raise
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {type(error).__name__}: {str(error)[:100]}") from error


def _array(value: Mapping[str, Any]) -> Any:
    if "__numpy__" not in value:
        return value
    text = value["__numpy__"]
    try:
        data = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError(f"array with data that is no base64: {error}") from error
    return array_of(value.get("dtype"), value.get("shape"), data)
