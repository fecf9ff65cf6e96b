"""The records against the published schemas, and the slips of other loaders that this catalogue must not make."""

import pytest

from rtx.data.oxe import OXE
from rtx.data.oxe.schemas import names, schema

BGR = {"berkeley_autolab_ur5": {"wrist"}}
"""Cameras whose channels are stored as BGR."""


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
