"""The records against the published schemas, and the slips of other loaders that this catalogue must not make."""

import pytest

from rtx.data.oxe import OXE
from rtx.data.oxe.schemas import names, schema

BGR = {
    "berkeley_autolab_ur5": {"observation/hand_image"},
    "berkeley_fanuc_manipulation": {"observation/image", "observation/wrist_image"},
    "fmb": {f"observation/image_{place}" for place in ("side_1", "side_2", "wrist_1", "wrist_2")},
    "stanford_hydra_dataset_converted_externally_to_rlds": {"observation/image", "observation/wrist_image"},
    "utaustin_mutex": {"observation/image", "observation/wrist_image"},
}
"""Cameras whose channels are stored as BGR; all others are RGB."""


@pytest.mark.parametrize("name", names())
def test_every_published_data_set_has_a_record(name):
    assert name in OXE


@pytest.mark.parametrize("name", sorted(OXE))
def test_the_record_fits_the_published_schema(name):
    record, known = OXE[name], schema(name)
    record.validate(known.features, where=name)
    for camera in record.embodiment.cameras:
        spec = known.features[f"steps/{record.images[camera.role].path}"]
        assert camera.resolution == spec.shape[:2], camera.role
        assert camera.channel_order == record.images[camera.role].channel_order, camera.role
    splits = set(known.splits) or {"train"}
    assert record.train_split in splits
    assert record.val_split in splits or not splits & {"val", "validation"}


@pytest.mark.parametrize("name", sorted(OXE))
def test_the_record_says_what_a_reader_needs(name):
    record = OXE[name]
    assert record.title
    assert record.embodiment.limits.source
    assert all(switch.evidence for switch in record.switches), "why the default is the default"


def test_exactly_the_known_cameras_are_read_as_bgr():
    found = {name: {key.path for key in record.images.values() if key.channel_order == "bgr"} for name, record in OXE.items()}
    assert {name: paths for name, paths in found.items() if paths} == BGR


@pytest.mark.parametrize("name", sorted(OXE))
def test_stored_sentence_vectors_are_found(name):
    """Every schema with a vector of 512 numbers beside its instruction has it named, and no other."""
    steps = [path.removeprefix("steps/") for path in schema(name).features if path.startswith("steps/")]
    stored = [path for path in steps if path.endswith("language_embedding")]
    assert [OXE[name].sentence_vector] == (stored or [""])
