"""New instructions as sentence vectors: the Universal Sentence Encoder's SavedModel, run by TensorFlow in a process of its own.

    vectors = encode_texts(["lift the cup"], Path("universal-sentence-encoder-large_5"))     float32 [n, 512]

Training and serving never import TensorFlow: they read tables of vectors (`rtx.models.sentences`). The model is downloaded from
its publisher (tfhub.dev/google/universal-sentence-encoder-large/5); the process is `python -m rtx.data.sentence_encoder`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from rtx.errors import UserError, WorldError

_BATCH = 128  # texts that go through the model together
_NO_TENSORFLOW, _NO_MODEL = 3, 4  # exit codes


def encode_texts(texts: Sequence[str], saved_model: Path) -> Float32[np.ndarray, "n s"]:
    """The vector of each text. Takes seconds to start and up to a GB of memory, which go back when it is done.

    Raises UserError where there is no SavedModel, where it does not turn texts into vectors, or TensorFlow is not installed.
    """
    if not (saved_model / "saved_model.pb").is_file():
        raise UserError(
            f"no SavedModel at {saved_model} (saved_model.pb is missing); expected the unpacked folder of the Universal "
            "Sentence Encoder, tfhub.dev/google/universal-sentence-encoder-large/5"
        )
    if not texts:
        raise UserError("no texts to encode")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "vectors.npy"
        command = [sys.executable, "-m", __name__, str(saved_model.absolute()), str(out)]
        # No GPU: the few texts are not worth its memory, which training or serving may need.
        environment = os.environ | {
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        done = subprocess.run(command, input=json.dumps(list(texts)), env=environment, capture_output=True, text=True)
        if done.returncode:
            raise _failure(done.returncode, done.stderr, saved_model)
        vectors = np.load(out)
    if vectors.ndim != 2 or len(vectors) != len(texts) or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
        raise UserError(
            f"the SavedModel at {saved_model} gave {vectors.dtype}{list(vectors.shape)} for {len(texts)} texts, expected "
            f"finite float32[{len(texts)}, s]: it is no sentence encoder"
        )
    return vectors


def _failure(code: int, stderr: str, saved_model: Path) -> Exception:
    last = stderr.strip().splitlines()[-1:] or [""]
    if code == _NO_TENSORFLOW:
        return UserError("encoding new instructions needs TensorFlow: pip install 'rtx-robotics[write]'")
    if code == _NO_MODEL:
        return UserError(f"the SavedModel at {saved_model} does not turn texts into vectors: {last[0]}")
    return WorldError(f"encoding with {saved_model} failed (exit code {code}): {last[0]}")


def _main(saved_model: str, out: str) -> int:
    try:
        import tensorflow as tf
    except ImportError:
        return _NO_TENSORFLOW
    texts = json.load(sys.stdin)
    try:
        model = _function_of(tf.saved_model.load(saved_model))
        vectors = [_vectors(model(tf.constant(texts[i : i + _BATCH]))) for i in range(0, len(texts), _BATCH)]
    except Exception as error:  # whatever a wrong model raises, TensorFlow's types are many
        print(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", file=sys.stderr)
        return _NO_MODEL
    np.save(out, np.concatenate(vectors))
    return 0


def _function_of(loaded: Any) -> Any:
    """Version 4 and 5 of the encoder can be called; older exports have a signature only."""
    if callable(loaded):
        return loaded
    return loaded.signatures["serving_default"]


def _vectors(result: Any) -> np.ndarray:
    """Some exports give a dictionary with one entry."""
    if isinstance(result, dict):
        (result,) = result.values()
    return np.asarray(result)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
