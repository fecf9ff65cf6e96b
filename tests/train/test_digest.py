"""One hash for equal weights, whoever holds them; found once for a manifest."""

import jax.numpy as jnp
import numpy as np

from rtx.train.checkpoint.digest import digest_of, remembered
from rtx.train.checkpoint.sound import MANIFEST

WEIGHTS = {
    "params": {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32(1.5)},
    "batch_stats": {"m": np.zeros(0)},
}


def changed(**params):
    return {**WEIGHTS, "params": WEIGHTS["params"] | params}


def test_equal_weights_have_equal_hashes_and_others_do_not():
    base = digest_of(WEIGHTS)
    on_device = {
        "batch_stats": WEIGHTS["batch_stats"],
        "params": {"b": jnp.float32(1.5), "a": jnp.asarray(WEIGHTS["params"]["a"])},
    }
    assert digest_of(on_device) == base == digest_of(changed(a=np.asfortranarray(WEIGHTS["params"]["a"])))
    a = WEIGHTS["params"]["a"]
    others = [
        changed(a=a.T),
        changed(a=a + 1e-6),
        changed(a=a.astype(np.float64)),
        changed(c=a),
        changed(a=jnp.asarray(a, jnp.bfloat16)),
    ]
    assert len({base, *map(digest_of, others)}) == 6


def test_it_is_found_once_for_a_manifest(tmp_path, monkeypatch):
    monkeypatch.setenv("RTX_CACHE", str(tmp_path / "cache"))
    asked = []

    def find():
        asked.append(1)
        return digest_of(WEIGHTS)

    for name, text in (("one", "{}"), ("copy", "{}"), ("other", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST).write_text(text)
    assert remembered(tmp_path / "one", find) == remembered(tmp_path / "copy", find) == digest_of(WEIGHTS)
    assert len(asked) == 1
    remembered(tmp_path / "other", find)
    assert len(asked) == 2
    for file in (tmp_path / "cache" / "weights").iterdir():
        file.write_text("cut")
    assert remembered(tmp_path / "one", find) == digest_of(WEIGHTS), "what cannot be read is found again"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RTX_CACHE", str(tmp_path / "file"))
    assert remembered(tmp_path / "one", find) == digest_of(WEIGHTS), "a home that cannot be written is no error"
