import io
import zipfile

import jax
import ml_dtypes
import numpy as np
import pytest

from rtx.errors import UserError, WorldError
from rtx.models.vla.weights import big_vision
from rtx.models.vla.weights.leaves import flat
from tests.models.vla import paligemma_tiny as tiny


def params(kind: str, dtype=np.float32) -> dict:
    return jax.tree.map(lambda leaf: tiny.weight(str(leaf.shape), leaf.shape).astype(dtype), tiny.shapes(kind))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_round_trip_bit_for_bit(tmp_path, dtype, monkeypatch):
    monkeypatch.setattr(big_vision, "BLOCK_BYTES", 1000)  # several blocks a leaf
    given = params("gemma2", dtype)
    big_vision.save_npz(tmp_path / "a.npz", given)
    found = big_vision.load_npz(tmp_path / "a.npz", tiny.shapes("gemma2"), dtype=dtype)
    for name, leaf in flat(found).items():
        assert leaf.dtype == dtype
        np.testing.assert_array_equal(leaf, flat(given)[name], err_msg=name)


def test_numpy_reads_what_is_written_and_the_other_way(tmp_path):
    given = params("gemma1")
    big_vision.save_npz(tmp_path / "ours.npz", given)
    with np.load(tmp_path / "ours.npz") as stored:
        assert set(stored) == {f"params/{name}" for name in flat(given)}
        arrays = {name: stored[name] for name in stored}
    np.savez_compressed(tmp_path / "theirs.npz", **arrays, **{"opt/count": np.zeros(3)})
    found = big_vision.load_npz(tmp_path / "theirs.npz", tiny.shapes("gemma1"))
    jax.tree.map(np.testing.assert_array_equal, found, given)


def test_bfloat16_is_stored_as_big_vision_stores_it(tmp_path):
    """As two raw bytes, which `np.savez` makes of it too."""
    given = params("gemma1", ml_dtypes.bfloat16)
    np.savez(tmp_path / "theirs.npz", **{f"params/{name}": leaf for name, leaf in flat(given).items()})
    big_vision.save_npz(tmp_path / "ours.npz", given)
    with np.load(tmp_path / "theirs.npz") as theirs, np.load(tmp_path / "ours.npz") as ours:
        assert {ours[name].dtype for name in ours} == {theirs[name].dtype for name in theirs} == {np.dtype("V2")}
    found = big_vision.load_npz(tmp_path / "theirs.npz", tiny.shapes("gemma1"), dtype=np.float32)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b.astype(np.float32)), found, given)


def test_the_wrong_network_is_refused_by_name(tmp_path):
    big_vision.save_npz(tmp_path / "a.npz", params("gemma1"))
    with pytest.raises(WorldError, match=r"does not hold this network: img/head/bias is \[32\], expected \[36\]"):
        big_vision.load_npz(tmp_path / "a.npz", tiny.shapes("gemma2"))


def test_positions_are_resized_only_when_asked(tmp_path):
    big_vision.save_npz(tmp_path / "a.npz", params("gemma1"))
    larger = tiny.shapes("gemma1", size=2 * tiny.SIZE)
    with pytest.raises(WorldError, match=r"img/pos_embedding is \[1, 16, 24\], expected \[1, 64, 24\]"):
        big_vision.load_npz(tmp_path / "a.npz", larger)
    found = big_vision.load_npz(tmp_path / "a.npz", larger, resize_positions=True)
    assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, larger)


def test_damaged_and_missing_files_are_named(tmp_path):
    like = tiny.shapes("gemma1")
    with pytest.raises(UserError, match="no such file"):
        big_vision.load_npz(tmp_path / "a.npz", like)
    big_vision.save_npz(tmp_path / "a.npz", params("gemma1"))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[:-1000])
    with pytest.raises(WorldError, match=r"a\.npz is no npz file, or a damaged one"):
        big_vision.load_npz(tmp_path / "a.npz", like)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255  # inside some array: only the checksum tells
    (tmp_path / "a.npz").write_bytes(flipped)
    with pytest.raises(WorldError, match=r"a\.npz is no npz file, or a damaged one: Bad CRC-32"):
        big_vision.load_npz(tmp_path / "a.npz", like)
    (tmp_path / "a.npz").write_bytes(_with_bias(whole, np.zeros(32, np.int64)))
    with pytest.raises(WorldError, match="params/img/head/bias is stored as int64"):
        big_vision.load_npz(tmp_path / "a.npz", like)


def _with_bias(whole: bytes, array: np.ndarray) -> bytes:
    with np.load(io.BytesIO(whole)) as stored:
        arrays = {name: stored[name] for name in stored}
    out = io.BytesIO()
    np.savez(out, **{**arrays, "params/img/head/bias": array})
    assert zipfile.is_zipfile(out)
    return out.getvalue()


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="int32; big_vision files are written as float32"):
        big_vision.save_npz(tmp_path / "a.npz", {"img": {"head": np.zeros(3, np.int32)}})
    assert list(tmp_path.iterdir()) == []
