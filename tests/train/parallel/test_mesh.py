"""Sizes of the mesh, and what is refused."""

import pytest

from rtx.errors import UserError
from rtx.train.config import DataSet, TrainConfig, changed_leaves, config_to_json
from rtx.train.overrides import override
from rtx.train.parallel.mesh import MeshConfig, build_mesh, check_batch
from tests.train.small_run import small_config


def test_what_is_left_over_is_taken_by_one_axis():
    assert MeshConfig().sizes(8) == (8, 1, 1)
    assert MeshConfig(fsdp=4).sizes(8) == (2, 4, 1)
    assert MeshConfig(data=2, fsdp=-1, tensor=2).sizes(16) == (2, 4, 2)
    assert MeshConfig(data=1, fsdp=1, tensor=1).sizes(1) == (1, 1, 1)


@pytest.mark.parametrize("sizes", [{"fsdp": 3}, {"data": 2}, {"data": 4, "fsdp": 4}])
def test_sizes_that_do_not_fit_are_named_with_what_would(sizes):
    with pytest.raises(UserError, match=r"do not fit 8 devices: the product must be 8, so each is one of 1, 2, 4, 8"):
        MeshConfig(**sizes).sizes(8)


def config() -> TrainConfig:
    return small_config((DataSet(prepared="a"),))


def test_the_mesh_is_checked_with_the_configuration_and_free_to_change():
    with pytest.raises(UserError, match=r"run\.mesh\.fsdp 0 must be at least 1, or -1"):
        override(config(), ["run.mesh.fsdp=0"])
    with pytest.raises(UserError, match=r"only one of data, fsdp, tensor may be -1"):
        override(config(), ["run.mesh.fsdp=-1"])
    other = override(config(), ["run.mesh.fsdp=2", "run.mesh.tensor=4"])
    assert not changed_leaves(config_to_json(config()), config_to_json(other))


def test_rows_must_come_out_even():
    mesh = build_mesh(MeshConfig())
    check_batch(mesh, 6, parts=3)
    with pytest.raises(UserError, match=r"data\.batch_size 6 must be a multiple of 4"):
        check_batch(mesh, 6, parts=4)
