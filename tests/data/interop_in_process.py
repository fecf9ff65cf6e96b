"""Run by test_interop.py in a process of its own: hands data out to TensorFlow and prints what came, as JSON.

python interop_in_process.py FOLDER
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

from rtx.data.interop import as_dlimp, as_tf_dataset, as_tree
from rtx.data.loader import Loader
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.errors import UserError
from rtx.images import decode
from tests.data.tiny_sets import LETTERS, picture, tiny_set

LENGTHS = (5, 1, 7)


def batches(folder: Path) -> dict[str, object]:
    import tensorflow as tf

    sets = [tiny_set(folder / name, name=name, roles=roles) for name, roles in (("one", ("primary",)), ("two", ("wrist",)))]
    mixture = Mixture(entries=tuple(MixtureEntry(prepared=s) for s in sets))
    options = {"batch_size": 6, "history": 2, "chunk": 3, "roles": ("primary", "wrist"), "image_size": (8, 6)}
    with Loader(mixture, **options, tokenizers=LETTERS, seed=4) as plain:
        wanted = [as_tree(next(plain)) for _ in range(5)]
    with Loader(mixture, **options, tokenizers=LETTERS, seed=4) as loader:
        dataset = as_tf_dataset(loader)
        got = [next(iter(dataset.take(1)))]
        position = loader.state().next_sample
        got += list(dataset.take(4))
    for a, b in zip(wanted, got, strict=True):
        tf.nest.assert_same_structure(a, b)
        for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
            assert x.dtype == y.numpy().dtype
            np.testing.assert_array_equal(x, y.numpy())
    spec = dataset.element_spec
    return {"spec": {k: str(spec[k].shape) for k in ("action", "text", "sample")}, "keys": sorted(spec), "position": position}


def trajectories(folder: Path) -> dict[str, object]:
    prepared = tiny_set(folder / "dl", lengths=LENGTHS, channel_order="bgr", absent=[("wrist", 2)])
    if importlib.util.find_spec("dlimp") is None:
        try:
            as_dlimp(prepared)
        except UserError as error:
            return {"error": str(error)}
    import dlimp

    dataset = as_dlimp(prepared)
    assert isinstance(dataset, dlimp.DLataset)
    part, steps = prepared.split("train"), 0
    same = dataset.frame_map(lambda frame: {**frame, "doubled": 2 * frame["action"]})
    assert isinstance(same, dlimp.DLataset)
    for number, one in enumerate(same.iterator()):
        first = int(part.episode_start[number])
        assert one["_len"].tolist() == [LENGTHS[number]] * LENGTHS[number]
        assert one["_traj_index"].tolist() == [number] * LENGTHS[number]
        np.testing.assert_array_equal(one["action"], part.action[first : first + LENGTHS[number]])
        np.testing.assert_array_equal(one["doubled"], 2 * one["action"])
        for t in range(LENGTHS[number]):
            said = one["task"]["language_instruction"][t].decode()
            assert said == prepared.languages[part.language_id[first + t, 0]]
            np.testing.assert_array_equal(decode(one["observation"]["image_primary"][t]), picture("tiny", "primary", first + t))
            assert bool(one["observation"]["image_wrist"][t]) == (first + t != 2)
            steps += 1
    assert steps == sum(LENGTHS)
    return {"frames": sum(1 for _ in dataset.unbatch())}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(json.dumps({"batches": batches(folder), "trajectories": trajectories(folder)}))
