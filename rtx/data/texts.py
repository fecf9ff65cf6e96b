"""Instructions and answers as data sets store them -> text: UTF-8 strings, integers that spell one, lists to choose from."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from rtx.errors import WorldError


def decode_text(value: Any, key: str, where: str) -> str:
    """`value`: str, bytes (UTF-8), an array of integers, or an array of any of these.

    Of several texts (five people's answers to one question) the most frequent, of equally frequent ones the first; of none "".
    Raises WorldError naming `where` and `key` for bytes or numbers that are no text.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise WorldError(f"{where}, key {key!r}: the text {value[:40]!r} is not UTF-8") from error
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return _spelled(value.reshape(-1), key, where)
    texts = Counter(decode_text(one, key, where) for one in value)
    return texts.most_common(1)[0][0] if texts else ""


def _spelled(numbers: np.ndarray, key: str, where: str) -> str:
    """Language-Table stores the UTF-8 bytes of a sentence as int32, others its code points; both pad with 0.

    What is valid UTF-8 is taken for that: letters of European languages given as code points are not.
    """
    values = numbers[numbers != 0].tolist()
    try:
        return bytes(values).decode("utf-8")
    except ValueError:  # a number beyond a byte, or bytes that are no UTF-8
        return _from_code_points(values, key, where)


def _from_code_points(values: list[int], key: str, where: str) -> str:
    try:
        text = "".join(map(chr, values))
        text.encode("utf-8")  # refuses halves of surrogate pairs
    except (ValueError, OverflowError) as error:
        raise WorldError(
            f"{where}, key {key!r}: {values[:10]} ... are neither UTF-8 bytes nor code points of a text"
        ) from error
    return text
