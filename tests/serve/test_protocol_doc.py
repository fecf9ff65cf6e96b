"""The bytes of docs/protocol.md are those that are really sent."""

import re
from pathlib import Path

import numpy as np

from rtx_client.wire import pack

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text()


def documented():
    """Each block of hexadecimal bytes; what follows three blanks explains."""
    blocks = [block for block in re.findall(r"```\n(.*?)```", TEXT, re.DOTALL) if re.match(r"[0-9a-f]{2}\b", block)]
    return [bytes.fromhex(" ".join(line.strip().split("   ")[0] for line in block.splitlines())) for block in blocks]


def test_the_worked_examples():
    array, message = documented()
    assert array == pack(np.array([0.5, -2], np.float32))
    assert message == pack(
        {"type": "act", "id": 7, "robot": "arm", "instruction": "go", "stamp_ns": 1000, "proprio": np.array([0.5], np.float32),
         "images": {"primary": np.array([[[255, 0, 0]]], np.uint8)}}
    )  # fmt: skip
    assert f"{len(array)} bytes" in TEXT
    assert f"{len(message)} bytes" in TEXT
