"""Every seed of a simulated episode is a hash of what it is for: demonstrations and evaluations never share a scene.

    seed_for("demo", 0, "sim_panda", "reach", 12, 0)      the recorder's
    seed_for("eval", "quickstart", "reach", 12)           a suite's

The purpose comes first and is hashed like the rest: two purposes give two unrelated streams, whatever numbers follow.
63 bits, so that even a million episodes of each kind have a chance of about 1e-7 to share one.
"""

from __future__ import annotations

import hashlib
import json


def seed_for(purpose: str, *parts: str | int) -> int:
    """A seed in [0, 2**63), the same on every machine and Python version. `parts` are told apart by type: 1 is not "1"."""
    text = json.dumps([purpose, *parts], ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
