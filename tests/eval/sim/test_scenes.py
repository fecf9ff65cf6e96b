"""The answers are true of the pixels, come equally often, and the same scenes come again whoever draws them."""

import collections
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rtx.data.prepare import prepare
from rtx.data.web import import_web, web_record
from rtx.errors import UserError
from rtx.eval.sim.grounding import KINDS, QUESTIONS
from rtx.eval.sim.questions import deal
from rtx.eval.sim.scenes import write_scenes, write_workcell
from rtx.images import decode

_SCRIPT = Path(__file__).with_name("scenes_in_process.py")
_ROOT = Path(__file__).resolve().parents[3]
_NUMBER = 42  # seven of each kind: every robot once


@pytest.fixture(scope="module")
def drawn():
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), str(_NUMBER), "3"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def answer_from_pixels(scene: dict) -> str:
    """By the question's words alone, and what the pixels show."""
    question, cubes = scene["question"], scene["shown"]
    colours = [cube["colour"] for cube in cubes]
    if question == "how many cubes are on the table?":
        return str(len(cubes))
    if found := re.fullmatch(r"is there a (\w+) cube on the table\?", question):
        return "yes" if found[1] in colours else "no"
    if found := re.fullmatch(r"is the (\w+) cube to the left or to the right of the (\w+) cube in the picture\?", question):
        return "left" if colours.index(found[1]) < colours.index(found[2]) else "right"
    if found := re.fullmatch(r"what colour is the (\w+)( cube from the (left|right))?( cube)?( in the picture)?\?", question):
        from_left = {"cube": 0, "leftmost": 0, "second": 1, "third": 2, "rightmost": -1}[found[1]]
        return colours[from_left if found[3] != "right" else -1 - from_left]
    raise AssertionError(f"no such question: {question}")


def test_answers_are_true_of_the_pixels(drawn):
    assert len(drawn["scenes"]) == _NUMBER
    asked = collections.Counter()
    for scene in drawn["scenes"]:
        assert [cube["colour"] for cube in scene["shown"]] == [cube["colour"] for cube in scene["truth"]], scene
        for seen, true in zip(scene["shown"], scene["truth"], strict=True):
            assert seen["column"] == pytest.approx(true["column"], abs=5)
        if scene["kind"] in ("colour", "count", "side", "exists"):
            assert answer_from_pixels(scene) == scene["answer"], scene
            asked[scene["kind"]] += 1
    assert asked == {"colour": 7, "count": 7, "side": 7, "exists": 7}


def test_the_larger_cube_is_larger_and_the_robot_is_there(drawn):
    for scene in drawn["scenes"]:
        if scene["kind"] == "larger":
            first, second = re.findall(r"the (\w+) (?:or|one)", scene["question"])
            half = {cube["colour"]: cube["half_m"] for cube in scene["truth"]}
            assert half[scene["answer"]] >= 1.35 * min(half[first], half[second])
            assert scene["answer"] in (first, second)
        if scene["kind"] == "robot":
            assert scene["arm"] == f"sim_{scene['answer']}"
    robots = [scene["answer"] for scene in drawn["scenes"] if scene["kind"] == "robot"]
    assert len(set(robots)) == 7


def test_the_same_scene_whatever_was_drawn_before(drawn):
    assert all(first == again for again, first in drawn["again"])
    assert len({scene["digest"] for scene in drawn["scenes"]}) == _NUMBER
    assert drawn["loaded"] == []


def test_every_answer_comes_equally_often():
    dealt = [deal(0, index) for index in range(6 * 84)]
    for kind, expected in (("colour", 4), ("count", 4), ("side", 2), ("larger", 4), ("robot", 7), ("exists", 2)):
        counts = collections.Counter(one.answer for one in dealt if one.kind == kind)
        assert set(counts.values()) == {84 // expected}
        assert len(counts) == expected
        if kind != "robot":
            assert set(collections.Counter(one.arm for one in dealt if one.kind == kind).values()) == {12}
    order = [one.answer for one in dealt if one.kind == "side"]
    assert order != [deal(1, one.index).answer for one in dealt if one.kind == "side"]
    assert order != (["left", "right"] * 42)
    assert order != (["right", "left"] * 42)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_written_scenes_go_in_as_web_data(tmp_path: Path):
    out = write_scenes(tmp_path / "two", 20, 5, num_workers=2, image_size=96)
    assert contents(out) == contents(write_scenes(tmp_path / "one", 20, 5, num_workers=1, image_size=96))
    assert write_scenes(tmp_path / "two", 20, 5, image_size=96) == out
    with pytest.raises(UserError, match="holds other scenes"):
        write_scenes(tmp_path / "two", 21, 5, image_size=96)
    splits = {name: out / f"{name}.jsonl" for name in ("train", "val")}
    source = import_web(splits, out, tmp_path / "tfds", name="scenes")
    prepared = prepare(web_record("scenes"), source, tmp_path / "prepared", num_workers=1)
    assert {name: split["num_steps"] for name, split in prepared.splits.items()} == {"train": 19, "val": 1}
    assert "which robot is this?" in prepared.languages
    assert decode((out / "images" / "000000.jpg").read_bytes()).shape == (96, 96, 3)


def test_a_written_workcell_goes_in_as_web_data(tmp_path: Path):
    out = write_workcell(tmp_path / "two", "sim_panda", 20, 5, num_workers=2, image_size=64)
    assert contents(out) == contents(write_workcell(tmp_path / "one", "sim_panda", 20, 5, num_workers=1, image_size=64))
    assert write_workcell(tmp_path / "two", "sim_panda", 20, 5, image_size=64) == out
    with pytest.raises(UserError, match="holds other scenes"):
        write_workcell(tmp_path / "two", "sim_jaco", 20, 5, image_size=64)
    with pytest.raises(UserError, match=r"num_cubes \(2, 4\)"):
        write_workcell(tmp_path / "four", "sim_panda", 20, num_cubes=(2, 4))
    lines = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    assert collections.Counter(line["image"] for line in lines) == {f"images/{i:06d}.jpg": QUESTIONS for i in range(19)}
    assert {line["kind"] for line in lines} == set(KINDS)
    source = import_web({name: out / f"{name}.jsonl" for name in ("train", "val")}, out, tmp_path / "tfds", name="workcell")
    prepared = prepare(web_record("workcell"), source, tmp_path / "prepared", num_workers=1)
    assert {name: split["num_steps"] for name, split in prepared.splits.items()} == {"train": 76, "val": 4}


def test_wrong_arguments():
    with pytest.raises(UserError, match=r"num_scenes 0: .*; num_workers 0: .*; image_size 8"):
        write_scenes(Path("nowhere"), 0, num_workers=0, image_size=8)
