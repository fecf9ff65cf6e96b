"""Does the policy behind a server fit this robot? Compares the server's hello with what the robot says of itself.

hello  {type, protocol, policy, robots: {name: {control_hz, cameras, proprio, action}}, roles, image_size, history, chunk,
        max_message_bytes, contract_fingerprint, checkpoint_fingerprint, ...}                 docs/protocol.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtx_client.errors import Mismatch

PROTOCOL = "rtx-policy-1"
FINGERPRINTS = ("contract_fingerprint", "checkpoint_fingerprint")


def read_hello(message: Any) -> dict[str, Any]:
    """Raises ConnectionError for what is no hello, or one of another protocol."""
    if not isinstance(message, dict) or message.get("type") != "hello" or message.get("protocol") != PROTOCOL:
        spoken = message.get("protocol") if isinstance(message, dict) else None
        raise ConnectionError(f"it speaks {str(spoken)[:40]!r}, this client {PROTOCOL!r}")
    robots = message.get("robots")
    are_maps = isinstance(robots, dict) and all(isinstance(robot, dict) for robot in robots.values())
    if not are_maps or type(message.get("max_message_bytes")) is not int:
        raise ConnectionError("its hello lacks robots or max_message_bytes; is it a newer or an older server?")
    return message


def check(hello: Mapping[str, Any], robot: str | None, expects: Mapping[str, Any]) -> None:
    """Raises Mismatch that names every difference.

    `expects` may hold any of: `control_hz`, `cameras` (those the robot has; the policy may look at fewer), `proprio` and
    `action` (lists of maps with some or all of the keys of hello's), `contract_fingerprint`, `checkpoint_fingerprint`.
    """
    different = [
        f"{key}: this robot expects {expects[key]}, the server has {hello.get(key)}"
        for key in FINGERPRINTS
        if key in expects and expects[key] != hello.get(key)
    ]
    if robot is not None:
        offered = hello["robots"].get(robot)
        if offered is None:
            different.append(f"robot {robot!r} is unknown to the policy, which knows {', '.join(hello['robots']) or 'none'}")
        else:
            different += _robot_differences(offered, expects)
    if different:
        raise Mismatch(f"{hello.get('policy', 'the policy')} does not fit this robot: " + "; ".join(different))


def check_again(before: Mapping[str, Any], hello: Mapping[str, Any], robot: str | None) -> None:
    """After a reconnect: raises Mismatch where another policy now promises something else for a robot than `before` did.

    What a robot was set up with, such as limits from the policy's statistics, came from the first promise.
    """
    for name in before["robots"] if robot is None else [robot]:
        promise = before["robots"].get(name, {})
        check(hello, name, promise)
        changed = [key for key, value in promise.items() if hello["robots"][name].get(key) != value]
        if changed:
            raise Mismatch(f"the policy for {name} is another since the restart: {', '.join(changed)} changed; set up anew")


def _robot_differences(offered: Mapping[str, Any], expects: Mapping[str, Any]) -> list[str]:
    found = []
    if "control_hz" in expects and float(expects["control_hz"]) != offered.get("control_hz"):
        found.append(f"control_hz: this robot runs at {expects['control_hz']}, the policy's at {offered.get('control_hz')}")
    if "cameras" in expects:
        missing = [role for role in offered.get("cameras", ()) if role not in expects["cameras"]]
        if missing:
            found.append(f"cameras: the policy looks at {', '.join(missing)}, this robot has {', '.join(expects['cameras'])}")
    for key in ("proprio", "action"):
        if key in expects:
            found += _field_differences(key, list(expects[key]), list(offered.get(key, ())))
    return found


def _field_differences(what: str, ours: list[Mapping[str, Any]], theirs: list[Mapping[str, Any]]) -> list[str]:
    names, other = [field.get("name") for field in ours], [field.get("name") for field in theirs]
    if names != other:
        return [f"{what}: this robot has {', '.join(map(str, names))}, the policy {', '.join(map(str, other))}"]
    return [
        f"{what} {mine['name']}: {key} is {value!r} at this robot, {its.get(key)!r} for the policy"
        for mine, its in zip(ours, theirs)
        for key, value in mine.items()
        if value != its.get(key)
    ]
