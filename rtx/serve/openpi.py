"""openpi's clients (`openpi-client` on the package index) as they are: an observation without a type, a map with `actions`.

    server  our hello, which they keep as metadata
    client  {"observation/image": ..., "observation/state": ..., "prompt": ...}        names: `rtx.serve.names`
    server  {actions [k, a], action_names, control_hz, server_timing: {infer_ms}}
       or   a text frame "code: message", which they raise as an error

Their arrays are ours (`rtx_client.wire`). They send no number and take the next answer for theirs, so one at a time.
"""

from __future__ import annotations

from typing import Any

from rtx.spec import ActionChunk


def is_openpi(message: Any) -> bool:
    return isinstance(message, dict) and "type" not in message


def openpi_answer(chunk: ActionChunk, *, infer_ms: float) -> dict[str, Any]:
    """Only what has a row for each action is an array: `ActionChunkBroker` takes row i of every array."""
    return {
        "actions": chunk.actions,
        "action_names": list(chunk.names),
        "control_hz": chunk.control_hz,
        "server_timing": {"infer_ms": infer_ms},
    }
