"""`python -m rtx_client URL`: is a policy server there, what does it promise, how far away is it, what time is it there."""

from __future__ import annotations

import argparse
import os
import ssl
import statistics
import sys
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from rtx_client.client import Client
from rtx_client.errors import PolicyError

TOKEN = "RTX_TOKEN"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 where there is no such server."""
    parser = argparse.ArgumentParser(prog="python -m rtx_client", description="Looks at a policy server from a robot's side.")
    parser.add_argument("url", metavar="URL", help="ws://HOST:PORT, or wss:// for TLS")
    parser.add_argument(
        "--ca", metavar="FILE", help="trust the certificates in this PEM file, for a server with one of its own"
    )
    parser.add_argument("--pings", type=int, default=20, metavar="N", help="default: %(default)s")
    parser.epilog = f"A token is taken from the environment variable {TOKEN}."
    args = parser.parse_args(arguments)
    try:
        tls = ssl.create_default_context(cafile=args.ca) if args.ca else None
        with Client(args.url, token=os.environ.get(TOKEN), tls=tls, timeout_s=5.0) as client:
            print("\n".join([*_promise(client.hello), *_clocks(client), _distance(client, max(args.pings, 1))]))
    except (ConnectionError, TimeoutError, PolicyError, ValueError, OSError) as error:
        print(f"rtx_client: {error}", file=sys.stderr)
        return 1
    return 0


def _promise(hello: dict[str, Any]) -> list[str]:
    keys = ("policy", "protocol", "contract_fingerprint", "checkpoint_fingerprint", "image_size", "history", "chunk")
    lines = [f"{key:<23}{hello[key]}" for key in keys if key in hello]
    for name, robot in hello["robots"].items():
        lines.append(f"robot {name}: {robot.get('control_hz')} Hz, cameras {', '.join(robot.get('cameras', ())) or 'none'}")
        lines += [f"  {key:<8}{_fields(robot.get(key, ()))}" for key in ("proprio", "action")]
    return lines


def _fields(fields: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{field['name']}[{field['width']}] {field['unit']}" for field in fields)


def _distance(client: Client, count: int) -> str:
    taken = sorted(1e3 * client.ping() for _ in range(count))
    return f"{'round trip':<23}{statistics.median(taken):.2f} ms median of {count}, {taken[0]:.2f} to {taken[-1]:.2f} ms"


def _clocks(client: Client) -> list[str]:
    """Actions need no common clock; whoever reads two logs side by side wants to know."""
    local = f"{'clock':<23}monotonic, steps of {time.get_clock_info('monotonic').resolution * 1e9:.0f} ns"
    if client.server_date is None:
        return [local]
    ahead_s = parsedate_to_datetime(client.server_date).timestamp() - time.time()
    return [local, f"{'server wall clock':<23}{client.server_date}, {ahead_s:+.0f} s from this one's (told to the second)"]


if __name__ == "__main__":
    sys.exit(main())
