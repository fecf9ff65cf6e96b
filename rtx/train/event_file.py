"""Scalars in the form TensorBoard reads: TFRecord frames around `Event` messages, written field by field.

    Event    1 wall_time double | 2 step int64 | 3 file_version string | 5 summary Summary | 7 session_log SessionLog
    Summary  1 repeated Value   Value  1 tag string | 2 simple_value float   SessionLog  1 status, START = 1

TensorFlow's protos event.proto and summary.proto. By hand, because the packages that write them import TensorFlow or PyTorch
into the training process where these are installed, and what is needed of them is this page.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from rtx.data.protobuf import field, varint
from rtx.data.tfrecord import frame


def scalars(values: Mapping[str, float], *, step: int, wall_s: float) -> bytes:
    """One record: these tags at this step."""
    summary = b"".join(field(1, field(1, tag.encode()) + _float(2, value)) for tag, value in values.items())
    return _record(_event(step, wall_s) + field(5, summary))


def beginning(wall_s: float) -> bytes:
    """The first two records of a file: its version, and that all that was known before is void (a reader that follows the
    folder while files are replaced would otherwise keep both)."""
    return _record(_event(0, wall_s) + field(3, b"brain.Event:2")) + _record(_event(0, wall_s) + field(7, b"\x08\x01"))


def _event(step: int, wall_s: float) -> bytes:
    return b"\x09" + struct.pack("<d", wall_s) + b"\x10" + varint(step)


def _float(number: int, value: float) -> bytes:
    return bytes([number << 3 | 5]) + struct.pack("<f", value)


def _record(message: bytes) -> bytes:
    return b"".join(frame(message))
