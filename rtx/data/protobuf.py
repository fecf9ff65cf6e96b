"""What of protocol buffers' wire format the files we write need: numbers and length-delimited fields."""

from __future__ import annotations


def field(number: int, content: bytes) -> bytes:
    """A string, bytes or message."""
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Of a number that is not negative: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
