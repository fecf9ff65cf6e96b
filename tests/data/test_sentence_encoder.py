"""The real thing but for the weights: a SavedModel on disk, TensorFlow in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rtx.data.sentence_encoder import encode_texts
from rtx.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def saved_model(folder: Path, kind: str) -> Path:
    command = [sys.executable, "-m", "tests.data.write_sentence_encoder", str(folder), kind]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("kind", ["words", "signature"])
def test_texts_become_vectors(kind, tmp_path):
    model = saved_model(tmp_path / "encoder", kind)
    texts = ["lift the cup", "Lift the cup", "cup the lift", *(f"take block {i}" for i in range(150))]
    vectors = encode_texts(texts, model)
    assert (vectors.shape, vectors.dtype) == ((153, 512), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert len({vector.tobytes() for vector in vectors[3:]}) > 120  # numbers fall into a thousand buckets: some share one
    assert "tensorflow" not in sys.modules


def test_what_is_no_encoder_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not turn texts into vectors"):
        encode_texts(["lift"], saved_model(tmp_path / "numbers", "numbers"))
    with pytest.raises(UserError, match=r"no SavedModel at .*nothing"):
        encode_texts(["lift"], tmp_path / "nothing")
    (tmp_path / "saved_model.pb").write_bytes(b"junk")
    with pytest.raises(UserError, match="no texts"):
        encode_texts([], tmp_path)
