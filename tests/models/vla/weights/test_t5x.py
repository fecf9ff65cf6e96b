from __future__ import annotations

import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
import tensorstore
from flax import serialization, traverse_util

from rtx.errors import UserError, WorldError
from rtx.models.vla.weights import t5, t5x
from rtx.models.vla.weights.leaves import flat
from tests.models.vla import t5_tiny as tiny
from tests.models.vla.t5_build import text_shapes, variables

CONFIG = tiny.CONFIGS["gelu"]


def text_parameters():
    return {part: variables(CONFIG)["params"][part] for part in t5.TEXT}


def write_t5x(folder, params, *, dtype=np.float32) -> None:
    """As t5x/checkpoints.py does: matrices as zarr arrays beside the MessagePack file, which holds specs in their place."""
    tree = {}
    for name, array in t5.to_t5x(params):
        if array.ndim == 1:
            tree[name] = array
            continue
        array = array.astype(dtype)
        stored = array.view(np.uint16) if dtype == ml_dtypes.bfloat16 else array
        short = f"target.{name.replace('/', '.')}"
        spec = {
            "driver": "zarr",
            "kvstore": {"driver": "file", "path": str(folder / short)},
            "metadata": {"shape": array.shape, "chunks": [16, 16], "dtype": stored.dtype.str, "compressor": {"id": "gzip"}},
        }
        tensorstore.open(spec, create=True).result().write(stored).result()
        metadata = {"shape": list(array.shape), "chunks": [16, 16], "compressor": {"id": "gzip", "level": 1}}
        tree[name] = {"driver": "zarr", "dtype": str(array.dtype), "kvstore": {"driver": "gfile", "path": short},
                      "metadata": metadata}  # fmt: skip
    target = traverse_util.unflatten_dict({tuple(name.split("/")): leaf for name, leaf in tree.items()})
    whole = {"version": 3, "optimizer": {"target": target, "state": {"step": np.int32(7), "param_states": {"v": np.ones(3)}}}}
    (folder / "checkpoint").write_bytes(serialization.msgpack_serialize(whole))


def test_a_t5x_checkpoint_is_read_and_its_optimizer_left_alone(tmp_path):
    params = text_parameters()
    write_t5x(tmp_path, params)
    for path in (tmp_path, tmp_path / "checkpoint"):
        read = flat(t5.load_t5x(path, text_shapes(CONFIG)))
        for name, leaf in flat(params).items():
            np.testing.assert_array_equal(read[name], leaf, err_msg=name)


def test_bfloat16_in_the_bits_of_uint16(tmp_path):
    params = text_parameters()
    write_t5x(tmp_path, params, dtype=ml_dtypes.bfloat16)
    read = flat(t5.load_t5x(tmp_path, text_shapes(CONFIG)))
    for name, leaf in flat(params).items():
        rounded = np.asarray(leaf).astype(ml_dtypes.bfloat16 if not name.endswith("scale") else np.float32)
        np.testing.assert_array_equal(read[name], rounded.astype(np.float32), err_msg=name)


def test_a_bare_message_pack_file_holds_the_tree_itself(tmp_path):
    params = text_parameters()
    tree = traverse_util.unflatten_dict({tuple(name.split("/")): array for name, array in t5.to_t5x(params)})
    (tmp_path / "tree.msgpack").write_bytes(serialization.msgpack_serialize(tree))
    read = t5.load_t5x(tmp_path / "tree.msgpack", text_shapes(CONFIG))
    assert jax.tree.all(jax.tree.map(np.array_equal, read, params))


def test_a_missing_array_and_damaged_files_are_named(tmp_path):
    write_t5x(tmp_path, text_parameters())
    shutil.rmtree(tmp_path / "target.encoder.layers_1.mlp.wo.kernel")
    with pytest.raises(WorldError, match=r"target\.encoder\.layers_1\.mlp\.wo\.kernel is missing"):
        t5x.read_tree(tmp_path)
    with pytest.raises(UserError, match=r"no such file"):
        t5x.read_tree(tmp_path / "elsewhere")
    for name in ("bad.npz", "bad"):
        (tmp_path / name).write_bytes(b"neither this nor that")
        with pytest.raises(WorldError, match=r"damaged"):
            t5x.read_tree(tmp_path / name)


def test_shapes_of_an_npz_are_known_before_anything_is_read(tmp_path):
    t5.save_t5x(tmp_path / "tree.npz", text_parameters())
    tree = t5x.read_tree(tmp_path / "tree.npz")
    wo = tree["encoder/layers_1/mlp/wo/kernel"]
    assert isinstance(wo, t5x.LazyArray)
    assert wo.shape == (48, 32)
    np.testing.assert_array_equal(np.asarray(wo), text_parameters()["encoder"]["layers"]["mlp"]["wo"]["kernel"][1])
