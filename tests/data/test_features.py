"""features.json and dataset_info.json as typed leaves, splits and shards."""

import json

import pytest

from rtx.data.features import features_of, open_source, read_features
from rtx.errors import UserError, WorldError
from tests.fakes import WIDOWX_FEATURES, feature, features_json, write_widowx


def test_leaves_know_their_way_shape_and_kind():
    leaves = features_of(features_json(WIDOWX_FEATURES), where="here")
    assert set(leaves) == set(WIDOWX_FEATURES)
    action, image = leaves["steps/action"], leaves["steps/observation/image_0"]
    assert (action.names, action.kind, action.dtype, action.shape, action.size) == (
        ("steps", "action"), "tensor", "float32", (7,), 7,
    )  # fmt: skip
    assert (image.kind, image.shape, image.encoding) == ("image", (16, 16, 3), "jpeg")
    assert leaves["steps/is_last"].size == 1
    assert str(action) == "steps/action: float32[7]"


def test_a_key_may_hold_a_slash_and_a_step_may_hold_a_sequence():
    inner = {"pythonClassName": "x.Sequence", "sequence": {"feature": feature("tensor", (3,)), "length": "-1"}}
    fixed = {"pythonClassName": "x.Sequence", "sequence": {"feature": feature("tensor", (3,)), "length": "5"}}
    tree = features_json({"steps/a": feature("tensor", (2,))})
    steps = tree["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
    steps |= {"present/xyz": feature("tensor", (3,)), "ragged": inner, "fixed": fixed}
    leaves = features_of(tree, where="here")
    assert leaves["steps/present/xyz"].names == ("steps", "present/xyz")
    assert leaves["steps/ragged"].shape == (None, 3)
    assert leaves["steps/ragged"].is_ragged
    assert (leaves["steps/ragged"].num_sequences, leaves["steps/ragged"].tensor_shape) == (1, (3,))
    assert leaves["steps/fixed"].size == 15


def test_the_older_wrapped_form_is_read_too():
    tree = features_json(WIDOWX_FEATURES)["featuresDict"]
    for content in (tree, json.dumps(tree)):
        leaves = features_of({"type": "x", "content": content, "proto_cls": "y"}, where="here")
        assert set(leaves) == set(WIDOWX_FEATURES)


def test_source_is_found_from_version_set_and_root(tmp_path):
    version = write_widowx(tmp_path, shards=(3, 4))
    for path in (version, version.parent, tmp_path):
        source = open_source(path, "bridge_dataset")
        assert source.directory == version
    assert [s.num_episodes for s in source.splits["train"]] == [3, 4]
    assert source.splits["train"][1].path.name == "bridge_dataset-train.tfrecord-00001-of-00002"
    assert source.splits["train"][1].path.is_file()
    assert source.num_episodes("train") == 7


def test_the_newest_version_is_taken(tmp_path):
    version = write_widowx(tmp_path)
    version.rename(version.parent / "10.0.0")
    write_widowx(tmp_path / "other").rename(version.parent / "9.0.0")
    assert open_source(tmp_path, "bridge_dataset").directory.name == "10.0.0"


def test_wrong_folders_say_what_is_there(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        open_source(tmp_path / "nowhere")
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(UserError, match=r"no TFDS data set of 'bridge_dataset'.*it holds holiday\.jpg"):
        open_source(tmp_path, "bridge_dataset")


def test_a_file_that_describes_no_features_is_named(tmp_path):
    for text in ('{"featuresDict": {"features": {"a": 3}}}', '{"featuresDict": {"features": {}}}'):
        (tmp_path / "features.json").write_text(text)
        with pytest.raises(WorldError, match=r"not a TFDS feature description|without a single feature"):
            read_features(tmp_path / "features.json")
    (tmp_path / "features.json").write_text("{")
    with pytest.raises(WorldError, match="damaged"):
        read_features(tmp_path / "features.json")


def test_another_file_format_is_named(tmp_path):
    version = write_widowx(tmp_path)
    info = json.loads((version / "dataset_info.json").read_text())
    (version / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "riegeli"}))
    with pytest.raises(WorldError, match="its files are riegeli"):
        open_source(version)
