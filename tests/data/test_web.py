"""Questions and captions come in unchanged, are read by tensorflow-datasets, and train beside robots without an action."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rtx.data import web
from rtx.data.loader import Loader, one_pass
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.prepare import prepare
from rtx.data.record import load_records
from rtx.data.web import import_web, left_out, web_record
from rtx.errors import UserError, WorldError
from rtx.images import encode_jpeg, encode_png
from tests.data.tiny_sets import LETTERS, tiny_set
from tests.fakes import feature, listed, write_rlds

_READ_BACK = """
import sys, hashlib, json, tensorflow_datasets as tfds
builder = tfds.builder_from_directory(sys.argv[1])
found = {}
for split in ("train", "val"):
    raw = builder.as_dataset(split, decoders={"image": tfds.decode.SkipDecoding()})
    shown = builder.as_dataset(split)
    for one, picture in zip(tfds.as_numpy(raw), tfds.as_numpy(shown), strict=True):
        found[one["name"].decode()] = [split, one["prefix"].decode(), one["suffix"].decode(),
                                       hashlib.sha256(one["image"]).hexdigest(), list(picture["image"].shape)]
print(json.dumps(found))
"""


def colour(number: int) -> np.ndarray:
    return np.full((10 + number, 12, 3), [20 * number, 50, 0], np.uint8)


def write_pictures(folder: Path, count: int = 6) -> tuple[Path, Path]:
    """Pictures 0 to count - 1, of different sizes, JPEG and PNG; returns annotations of `train` and `val`."""
    (folder / "pictures" / "sub").mkdir(parents=True)
    lines = []
    for i in range(count):
        name = f"sub/{i}.png" if i % 2 else f"{i}.jpg"
        (folder / "pictures" / name).write_bytes((encode_png if i % 2 else encode_jpeg)(colour(i)))
        lines.append({"image": name, "prefix": f"wie viele? {i}", "suffix": f"größe {i}"})
    lines[0] = {"image": "0.jpg", "caption": "a plain caption"}
    for split, part in (("train", lines[:4]), ("val", lines[4:])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in part))
    return folder / "train.jsonl", folder / "val.jsonl"


def bring_in(folder: Path, **options: object) -> Path:
    splits = {"train": folder / "train.jsonl", "val": folder / "val.jsonl"}
    return import_web(splits, folder / "pictures", folder / "out", name="pictures_and_texts", num_threads=2, **options)


def test_tensorflow_datasets_reads_the_bytes_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_pictures(tmp_path)
    monkeypatch.setattr(web, "_EXAMPLES_PER_SHARD", 3)
    folder = bring_in(tmp_path)
    assert len(list(folder.glob("*-train.tfrecord-*-of-00002"))) == 2
    done = subprocess.run([sys.executable, "-c", _READ_BACK, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["0.jpg"][:3] == ["train", "", "a plain caption"]
    assert found["sub/5.png"][:3] == ["val", "wie viele? 5", "größe 5"]
    for i, (name, row) in enumerate(sorted(found.items(), key=lambda item: item[1][4])):
        assert row[3] == hashlib.sha256((tmp_path / "pictures" / name).read_bytes()).hexdigest()
        assert row[4] == [10 + i, 12, 3]


def web_set(tmp_path: Path):
    write_pictures(tmp_path)
    source = bring_in(tmp_path)
    record = load_records(source.parent / "record.py")["pictures_and_texts"]
    return prepare(record, source, tmp_path / "prepared", num_workers=1)


def text_of(tokens: np.ndarray) -> str:
    return "".join(chr(c) for c in tokens if c)


def test_in_a_mixture_with_a_robot(tmp_path: Path):
    robot = tiny_set(tmp_path / "robot", name="robot")
    mixture = Mixture(entries=(MixtureEntry(prepared=robot), MixtureEntry(prepared=web_set(tmp_path))))
    options = {"history": 2, "chunk": 3, "roles": ("primary", "wrist"), "image_size": (16, 16), "tokenizers": LETTERS}
    with Loader(mixture, batch_size=16, seed=0, **options) as loader:
        batch = next(loader)
    is_web = batch.embodiment == 1
    assert is_web.sum() == 8, "half of the samples"
    assert (batch.target.dtype, batch.target.shape) == (np.int32, (16, 12))
    assert not batch.target[~is_web].any(), "robot samples have nothing to answer"
    assert not batch.action_mask[is_web].any()
    assert batch.action_mask[~is_web].any()
    assert np.isfinite(batch.action).all()
    assert np.isfinite(batch.proprio).all()
    assert batch.image_mask["primary"][is_web].tolist() == [[False, True]] * 8
    assert not batch.image_mask["wrist"][is_web].any()
    assert not batch.images["wrist"][is_web].any()
    for row in np.flatnonzero(is_web):
        number = round(batch.images["primary"][row, 1, ..., 0].mean() / 20)
        said = text_of(batch.text[row]), text_of(batch.target[row])
        assert said == (("", "a plain capt") if number == 0 else (f"wie viele? {number}", f"größe {number}"))


def test_a_mixture_without_questions_has_no_target(tmp_path: Path):
    mixture = Mixture(entries=(MixtureEntry(prepared=tiny_set(tmp_path / "robot")),))
    options = {"history": 1, "chunk": 1, "roles": ("primary",), "image_size": (8, 6), "tokenizers": LETTERS}
    assert next(one_pass(mixture, split="train", batch_size=4, **options)).target is None


def test_the_answers_of_a_tfds_set(tmp_path: Path):
    """As VQA sets have them: a picture, a question and a list of answers."""
    features = {"image": feature("image", (16, 16, 3)), "question_text": feature("text"), "answers": listed(feature("text"))}
    examples = [
        {"image": [encode_jpeg(colour(i))], "question_text": [b"what?"], "answers": [b"a", b"b", b"b"][: i + 1]}
        for i in range(3)
    ]
    source = write_rlds(tmp_path, "asked", features, {"train": [examples], "validation": [examples[:1]]})
    record = web_record("asked", question="question_text", answer="answers", val_split="validation")
    prepared = prepare(record, source, tmp_path / "prepared", num_workers=1)
    mixture = Mixture(entries=(MixtureEntry(prepared=prepared),))
    options = {"history": 1, "chunk": 1, "roles": ("primary",), "image_size": (8, 8), "tokenizers": LETTERS}
    (batch,) = one_pass(mixture, split="train", batch_size=3, **options)
    assert [text_of(row) for row in batch.target] == ["a", "a", "b"]
    assert {text_of(row) for row in batch.text} == {"what?"}


def spoil(folder: Path) -> None:
    (folder / "pictures" / "2.jpg").unlink()
    (folder / "pictures" / "sub" / "3.png").write_bytes(encode_png(colour(3))[:45])
    with open(folder / "train.jsonl", "a") as file:
        file.write('{"image": "1.jpg"\n{"image": "0.jpg", "prefix": "q"}\n{"image": "../secret.png", "suffix": "x"}\n')


def test_unusable_examples_are_all_named_or_left_out_and_counted(tmp_path: Path):
    write_pictures(tmp_path)
    spoil(tmp_path)
    with pytest.raises(WorldError) as error:
        bring_in(tmp_path)
    for words in (
        "5 examples cannot be used", "train.jsonl, line 3: ", "2.jpg: No such file", "3.png: damaged picture",
        "line 5: Expecting ',' delimiter", "line 6: 'suffix' is None", "line 7: picture '../secret.png' lies outside",
    ):  # fmt: skip
        assert words in str(error.value), words
    assert not (tmp_path / "out" / "pictures_and_texts" / "1.0.0").exists()
    count, reasons = left_out(folder := bring_in(tmp_path, strict=False))
    assert (count, len(reasons)) == (5, 5)
    prepared = prepare(web_record("pictures_and_texts"), folder, tmp_path / "prepared", num_workers=1)
    assert {name: split["num_steps"] for name, split in prepared.splits.items()} == {"train": 2, "val": 2}


def test_an_interrupted_import_carries_on_and_a_finished_one_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_pictures(tmp_path)
    monkeypatch.setattr(web, "_EXAMPLES_PER_SHARD", 1)
    wrote, write_shard = [], web.write_shard

    def dying(path: Path, examples: object):
        if len(wrote) == 3:
            raise KeyboardInterrupt
        wrote.append(path.name)
        return write_shard(path, examples)

    monkeypatch.setattr(web, "write_shard", dying)
    with pytest.raises(KeyboardInterrupt):
        import_web(
            {s: tmp_path / f"{s}.jsonl" for s in ("train", "val")}, tmp_path / "pictures", tmp_path / "out",
            name="pictures_and_texts", num_threads=1,
        )  # fmt: skip
    first, _ = list(wrote), wrote.clear()
    folder = bring_in(tmp_path)
    assert len(wrote) == 3
    assert not set(first) & set(wrote)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    wrote.clear()
    assert bring_in(tmp_path) == folder
    assert not wrote
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    assert not [name for name in whole if name.endswith("shard.json")]
    (tmp_path / "val.jsonl").write_text('{"image": "0.jpg", "suffix": "other"}\n')
    with pytest.raises(UserError, match="made of other annotations"):
        bring_in(tmp_path)


def test_arguments_that_cannot_work(tmp_path: Path):
    with pytest.raises(UserError, match=r"expected at least 'train'; no such file: .*; no such folder .*; name 'A b'"):
        import_web({"val": tmp_path / "x.jsonl"}, tmp_path / "nowhere", tmp_path / "out", name="A b")
    write_pictures(tmp_path)
    (tmp_path / "val.jsonl").write_text("\n")
    with pytest.raises(WorldError, match="no usable example in val"):
        bring_in(tmp_path)
