"""The page is whole and safe to open, and its checks find a turned sign, a wrong unit and a camera that is never there."""

from __future__ import annotations

import dataclasses
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from rtx.data.inspect import inspect
from rtx.data.oxe.layouts import BASE, TWO_ARMS, joints
from rtx.data.prepared import LANGUAGES, PreparedSet
from rtx.data.record import NO_ACTION
from rtx.embodiment import Layout
from rtx.errors import UserError, WorldError
from rtx.files import write_json
from rtx.robots import fields, rotations
from tests.browser import check_page
from tests.data.tiny_sets import field_statistics, tiny_set

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
    assert page.tags.count("svg") == 1 + 7 + 10 + 2 * 4, "lengths, histograms of what is known, traces"
    assert page.outside == []
    assert "nan" not in path.read_text().split("<svg", 1)[1].split("</svg>")[0]
    assert inspect(prepared, tmp_path, num_episodes=1) == tmp_path / "tiny.html"


def test_a_browser_opens_it_without_complaint(tmp_path: Path):
    assert check_page(inspect(tiny_set(tmp_path / "s"), tmp_path / "page.html", num_episodes=2)) == []


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


def with_layout(prepared: PreparedSet, layout: Layout, action: np.ndarray, proprio: np.ndarray) -> PreparedSet:
    """The same pictures and episodes with other numbers."""
    np.save(prepared.path / "train" / "action.npy", action.astype(np.float32))
    np.save(prepared.path / "train" / "proprio.npy", proprio.astype(np.float32))
    statistics = dataclasses.replace(prepared.statistics, action=field_statistics(action), proprio=field_statistics(proprio))
    return dataclasses.replace(prepared, layout=layout, statistics=statistics)


def test_joints_are_compared_with_the_joints_that_were_reached(tmp_path: Path):
    layout = joints(fields.joint_pos(6), proprio=(fields.joint_state(6),))
    rng = np.random.default_rng(0)
    reached = np.cumsum(rng.normal(0, 0.1, (41, 6)), axis=0)
    action = np.concatenate([reached[1:], np.ones((40, 1))], axis=1)
    action[:, 2] *= -1
    prepared = with_layout(tiny_set(tmp_path / "s", lengths=(40,)), layout, action, reached[:40])
    limits = dataclasses.replace(prepared.embodiment.limits, joint_low_rad=(-0.2,) * 6, joint_high_rad=(0.2,) * 6)
    prepared = dataclasses.replace(prepared, embodiment=dataclasses.replace(prepared.embodiment, limits=limits))
    path = inspect(prepared, tmp_path / "page.html")
    table = check_table(path)
    assert table["joint_pos_6.0"].split() == ["+1.00", "1"]
    assert "sign turned?" in table["joint_pos_6.2"]
    beyond = float((np.abs(action[:, 0]) > 0.2).mean())
    assert beyond > 0
    assert f"-0.2 .. 0.2, {beyond:.1%} of steps beyond" in path.read_text()


def test_two_arms_and_a_base(tmp_path: Path):
    for name, layout in (("two_arms", TWO_ARMS), ("base", BASE)):
        rng = np.random.default_rng(1)
        action, proprio = rng.normal(size=(13, layout.action.width)), rng.normal(size=(13, layout.proprio_width))
        prepared = with_layout(tiny_set(tmp_path / name, name=name), layout, action, proprio)
        page = Page(inspect(prepared, tmp_path / f"{name}.html"))
        assert page.tags.count("svg") == 1 + layout.action.width + layout.proprio_width + 3 * {"two_arms": 8, "base": 3}[name]
        assert set(check_table(tmp_path / f"{name}.html")) > set(layout.action.dim_names) - {"terminate"}


def test_examples_are_shown_with_their_questions_and_answers(tmp_path: Path):
    prepared = tiny_set(tmp_path / "s", lengths=(1,) * 6, roles=("primary",))
    np.save(tmp_path / "s" / "train" / "target_id.npy", np.array([[1], [1], [2], [2], [2], [2]], np.int32))
    write_json(tmp_path / "s" / LANGUAGES, ["what <is> it?", "a cat", "a dog"])
    nothing = np.zeros((6, 8)), np.zeros((6, 10))
    prepared = with_layout(dataclasses.replace(prepared, targets=("suffix",)), NO_ACTION, *nothing)
    path = inspect(prepared, tmp_path / "page.html")
    text, page = path.read_text(), Page(path)
    assert page.tags.count("img") == 6
    assert page.tags.count("svg") == 0
    assert text.count("what &lt;is&gt; it?<br><b>a cat</b>") == 1
    assert "<td>a dog</td><td>4</td>" in text.split("Answers, suffix")[1]
    assert text.count("nothing known") == 2


def test_a_set_without_cameras_and_several_instructions(tmp_path: Path):
    prepared = tiny_set(tmp_path / "s", roles=())
    np.save(tmp_path / "s" / "train" / "language_id.npy", np.array([[0, 1]] * 13, np.int32))
    path = inspect(prepared, tmp_path / "page.html")
    assert Page(path).tags.count("img") == 0
    for words in ("Instructions, key 1 of 2", "Instructions, key 2 of 2", "Episode 0: do tiny / undo tiny"):
        assert words in path.read_text()


def test_depth_is_shown_in_metres(tmp_path: Path):
    prepared = tiny_set(tmp_path / "s", lengths=(2,), roles=("primary",), num_shards=1)
    depth = np.full((8, 6), 500, "<u2")
    depth[:4] = 2000
    data, shard = zlib.compress(depth.tobytes()), tmp_path / "s" / "shard0"
    start = shard.stat().st_size
    with open(shard, "ab") as file:
        file.write(data)
    for column, values in (("offset", np.array([start, 0], np.int64)), ("length", np.array([len(data), 0], np.int32))):
        np.save(tmp_path / "s" / "train" / f"depth_primary_{column}.npy", values)
    entry = {"path": "depth", "metres_per_unit": 0.001, "encoding": "zlib", "shape": [8, 6], "dtype": "uint16"}
    shards = ({"file": "shard0", "identity": {"size": shard.stat().st_size}},)
    path = inspect(dataclasses.replace(prepared, depths={"primary": entry}, shards=shards), tmp_path / "page.html")
    text = path.read_text()
    assert "<figcaption>0: 0.50 to 2.00 m</figcaption>" in text
    assert "<figcaption>1: no picture</figcaption>" in text
    assert "50.0% without depth" in check_table(path)["depth primary"]


def test_what_nobody_settled_stands_first(tmp_path: Path):
    prepared = dataclasses.replace(tiny_set(tmp_path / "s"), unsettled={"polarity": "is <1> open?"})
    text = inspect(prepared, tmp_path / "page.html").read_text()
    warning = text.split("<div class='warning'>")[1].split("</div>")[0]
    assert "is &lt;1&gt; open?" in warning
    assert "--choose polarity=..." in warning
    assert text.index("class='warning'") < text.index("<table>")
    assert "class='warning'" not in inspect(tiny_set(tmp_path / "t"), tmp_path / "other.html").read_text()


def test_an_empty_split_and_a_damaged_picture_are_errors(tmp_path: Path):
    with pytest.raises(UserError, match="has no steps"):
        inspect(dataclasses.replace(tiny_set(tmp_path / "e"), splits={"train": NOTHING}), tmp_path / "page.html")
    prepared = tiny_set(tmp_path / "s", num_shards=1)
    shard = tmp_path / "s" / "shard0"
    shard.write_bytes(bytes(len(shard.read_bytes())))
    with pytest.raises(WorldError, match="episode 0, step 0, bytes"):
        inspect(prepared, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
