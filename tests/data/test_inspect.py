"""The page is whole and safe to open, and its checks find a turned sign, a wrong unit and a camera that is never there."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from rtx.data.inspect import inspect
from rtx.data.prepared import LANGUAGES, PreparedSet
from rtx.errors import UserError, WorldError
from rtx.files import write_json
from rtx.robots import rotations
from tests.data.tiny_sets import tiny_set

NOTHING = {"num_episodes": 0, "num_steps": 0}


class Page(HTMLParser):
    """Counts tags, and collects text and what would be fetched from outside."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.outside: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.outside += [v for k, v in attrs if k in ("src", "href") and v and not v.startswith("data:")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def moving_set(folder: Path, *, command_factor: np.ndarray) -> PreparedSet:
    """Two episodes whose measured motion is the command, but for `command_factor` [6] on what is stored as the command."""
    prepared = tiny_set(folder, name="moving", lengths=(40, 40), absent=[("wrist", s) for s in range(80)])
    rng = np.random.default_rng(0)
    action, proprio = np.zeros((80, 8), np.float32), np.zeros((80, 10), np.float32)
    for start in (0, 40):
        position, turn = np.zeros(3), np.eye(3)
        for step in range(start, start + 40):
            motion = rng.normal(0, 0.02, 6)
            proprio[step] = [*position, *rotations.from_matrix(turn, "rot6d"), 1.0]
            action[step] = [*(motion * command_factor), 1.0, 0.0]
            position, turn = position + motion[:3], rotations.to_matrix(motion[3:], "rpy") @ turn
    np.save(folder / "train" / "action.npy", action)
    np.save(folder / "train" / "proprio.npy", proprio)
    return prepared


def check_table(path: Path) -> dict[str, str]:
    checks = path.read_text().split("<h2>Checks</h2>")[1].split("</table>")[0]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in checks.split("<tr>")]
    return {row[0]: " ".join(row[1:]) for row in rows if row}


def test_the_page_is_whole_and_needs_nothing_from_outside(tmp_path: Path):
    prepared = tiny_set(tmp_path / "s")
    path = inspect(prepared, tmp_path / "page.html", num_episodes=2)
    page = Page(path)
    assert path == tmp_path / "page.html"
    assert page.tags.count("img") == (5 + 7) * 2, "every step of two short episodes, two cameras"
    assert page.tags.count("svg") == 8 + 10 + 2 * 4, "histograms and traces"
    assert page.outside == []
    assert "nan" not in path.read_text().split("<svg", 1)[1].split("</svg>")[0]
    assert inspect(prepared, tmp_path, num_episodes=1) == tmp_path / "tiny.html"


def test_text_from_the_data_is_escaped(tmp_path: Path):
    prepared = tiny_set(tmp_path / "s")
    write_json(tmp_path / "s" / LANGUAGES, ["<script>alert(1)</script>", "a & b", '"quoted"'])
    page = Page(inspect(prepared, tmp_path / "page.html"))
    assert "script" not in page.tags
    assert any("<script>alert(1)</script>" in text for text in page.text)


def test_checks_agree_where_all_is_right(tmp_path: Path):
    table = check_table(inspect(moving_set(tmp_path / "s", command_factor=np.ones(6)), tmp_path / "page.html"))
    for name in [f"delta_{kind}.{i}" for kind in ("pos", "rot") for i in range(3)]:
        assert table[name].split() == ["+1.00", "1"], name


def test_checks_find_signs_units_and_missing_cameras(tmp_path: Path):
    prepared = moving_set(tmp_path / "s", command_factor=np.array([1, -1, 100, 1, 1, -1]))
    table = check_table(inspect(prepared, tmp_path / "page.html"))
    assert "note" not in table["delta_pos.0"]
    assert "sign turned?" in table["delta_pos.1"]
    assert "+1.00 100 unit?" in table["delta_pos.2"]
    assert "sign turned?" in table["delta_rot.2"]
    assert "never there" in table["camera wrist"]
    assert "never there" not in table["camera primary"]


def test_dropped_episodes_and_their_reasons_are_listed(tmp_path: Path):
    counts = {
        "train": {"episodes": 9, "empty": 1, "filtered": 2, "quarantined": 3, "held_out": 0, "reasons": ["shard7 <broken>"]}
    }
    prepared = dataclasses.replace(tiny_set(tmp_path / "s"), counts=counts)
    text = " ".join(Page(inspect(prepared, tmp_path / "page.html")).text)
    assert "episodes 9, empty 1, filtered 2, quarantined 3" in text
    assert "shard7 <broken>" in text


def test_episodes_without_steps_and_one_step_are_shown(tmp_path: Path):
    page = Page(inspect(tiny_set(tmp_path / "s", lengths=(0, 1)), tmp_path / "page.html"))
    assert page.tags.count("img") == 2


def test_an_empty_split_and_a_damaged_picture_are_errors(tmp_path: Path):
    with pytest.raises(UserError, match="has no steps"):
        inspect(dataclasses.replace(tiny_set(tmp_path / "e"), splits={"train": NOTHING}), tmp_path / "page.html")
    prepared = tiny_set(tmp_path / "s", num_shards=1)
    shard = tmp_path / "s" / "shard0"
    shard.write_bytes(bytes(len(shard.read_bytes())))
    with pytest.raises(WorldError, match="episode 0, step 0, bytes"):
        inspect(prepared, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
