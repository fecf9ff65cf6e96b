"""Trees of dataclasses from JSON: nested, by their type hints, and nothing that does not fit."""

import dataclasses
import json
import math
from collections.abc import Mapping

import pytest

from rtx.errors import UserError
from rtx.spec import to_json
from rtx.typed_json import from_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    width: int
    scale: float = 1.0
    cap: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whole:
    part: Part
    parts: tuple[Part, ...] = ()
    table: tuple[tuple[float, ...], ...] = ()
    names: tuple[str, str] = ("a", "b")
    spare: Part | None = None


def test_round_trip_of_nested_parts():
    whole = Whole(
        part=Part(width=3, scale=math.inf, cap=2.5), parts=(Part(width=1), Part(width=2)), table=((0.5, 1.0), (-1.0,)),
        names=("c", "d"), spare=Part(width=4),
    )  # fmt: skip
    assert from_json(Whole, json.loads(json.dumps(to_json(whole))), "it") == whole


def test_whole_numbers_are_numbers():
    scale = from_json(Part, {"width": 3, "scale": 2}, "it").scale
    assert isinstance(scale, float)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"part": {"widht": 3}}, r"key in it\.part 'widht'; did you mean 'width'"),
        ({"part": {"width": "3"}}, r"it\.part\.width: got '3', expected a whole number"),
        ({"part": 3}, r"it\.part: got 3, expected an object with width, scale, cap"),
        ({"part": {"width": 1}, "names": ["a"]}, r"it\.names"),
        ({"part": {"width": 1}, "spare": {"width": "x"}}, r"it\.spare\.width: got 'x'"),
        ({"part": {"width": 1}, "table": [[1.0], "x"]}, r"it\.table\.1: got 'x'"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(data, message):
    with pytest.raises(UserError, match=message):
        from_json(Whole, data, "it")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Named:
    parts: Mapping[str, Part]


def test_mappings_by_name():
    named = Named(parts={"a": Part(width=1), "b": Part(width=2, cap=math.inf)})
    assert from_json(Named, json.loads(json.dumps(to_json(named))), "it") == named
    with pytest.raises(UserError, match=r"it\.parts\.a: lacks width"):
        from_json(Named, {"parts": {"a": {}}}, "it")
