"""Which held-out questions are asked: evenly spaced, the same each time, each under a key of its own."""

import json
from pathlib import Path

from rtx.reproduce.questions import held_out


def write(web: Path, count: int) -> None:
    rows = [
        {"image": f"images/{i // 2:06d}.jpg", "prefix": f"is there a {colour} cube?", "suffix": "yes", "kind": "exists"}
        for i, colour in zip(range(count), ["red", "blue"] * count, strict=False)
    ]
    (web / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_as_many_as_there_are(tmp_path):
    write(tmp_path, 5)
    asked = held_out(tmp_path, 10)
    assert len({one.key for one in asked}) == len(asked) == 5
    assert asked[3].key == "000001 is there a blue cube?"
    assert asked[3].image == tmp_path / "images" / "000001.jpg"


def test_some_of_many_from_the_first_to_the_last(tmp_path):
    write(tmp_path, 100)
    asked = held_out(tmp_path, 10)
    assert [one.image.stem for one in asked[:: len(asked) - 1]] == ["000000", "000049"]
    assert len(asked) == 10
    assert asked == held_out(tmp_path, 10)
