"""Run by test_write.py in a process of its own: what imports TensorFlow must not share one with tests that render.

python write_in_process.py good|bad|kill FOLDER     prints one JSON object
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import install_import_hook

install_import_hook("rtx", "beartype.beartype")
from rtx.data.write import ImageFeature, RldsEpisode, RldsFeatures, TensorFeature, TextFeature, write_rlds  # noqa: E402
from rtx.errors import UserError, WorldError  # noqa: E402
from rtx.images import encode_jpeg, encode_png  # noqa: E402

FEATURES = RldsFeatures(
    steps={
        "observation": {
            "image": ImageFeature(height=24, width=32),
            "depth_like": ImageFeature(height=8, width=8, encoding="png"),
            "state": TensorFeature(shape=(3,)),
        },
        "action": {"move": TensorFeature(shape=(2,)), "stop": TensorFeature(shape=(3,), dtype="int32")},
        "language_instruction": TextFeature(),
        "reward": TensorFeature(),
        **{key: TensorFeature(dtype="bool") for key in ("is_first", "is_last", "is_terminal")},
    },
    episode={"file_path": TextFeature(), "episode_id": TensorFeature(dtype="int32")},
)


def step(rng: np.random.Generator, t: int, last: int) -> dict:
    return {
        "observation": {
            "image": encode_jpeg(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)),
            "depth_like": encode_png(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)),
            "state": rng.normal(size=3),  # float64: stored as float32
        },
        "action": {"move": rng.normal(size=2).astype(np.float32), "stop": np.array([0, 1, 0])},
        "language_instruction": "saisis le cube doré",
        "reward": float(t == last),
        "is_first": t == 0,
        "is_last": t == last,
        "is_terminal": t == last,
    }


def episode(index: int, num_steps: int = 3) -> RldsEpisode:
    rng = np.random.default_rng(index)
    steps = tuple(step(rng, t, num_steps - 1) for t in range(num_steps))
    return RldsEpisode(key=f"e{index}", steps=steps, metadata={"file_path": f"a/{index}", "episode_id": index})


def write(out: Path, train: list[RldsEpisode], **options: object) -> Path:
    splits = {"train": lambda: train, "val": lambda: [episode(100)]}
    return write_rlds(out, name="my_set_2", features=FEATURES, splits=splits, **options)


def good(out: Path) -> object:
    written = []
    episodes = [episode(i, num_steps=2 + i) for i in range(4)]
    path = write(out, episodes, metadata={"recipe": {"seed": 3}}, on_episode=lambda: written.append(1))
    again = write(out / "reversed", episodes[::-1])
    records = [sorted(p.read_bytes() for p in folder.glob("*.tfrecord*")) for folder in (path, again)]
    return {
        "path": str(path),
        "num_written": len(written),
        "order_free": records[0] == records[1],
        "left": sorted(os.listdir(out)),
        "read": read(path),
    }


def spoiled() -> Iterator[tuple[str, RldsEpisode]]:
    """Episodes that do not fit, and a word the message must hold."""

    def with_observation(**change: object) -> RldsEpisode:
        one = episode(0)
        first = {**one.steps[0], "observation": {**one.steps[0]["observation"], **change}}
        return replace(one, steps=(first, *one.steps[1:]))

    yield "has no steps", replace(episode(0), steps=())
    yield "step 0, observation", with_observation(extra=1.0)
    yield "float64[4], expected float32[3]", with_observation(state=np.zeros(4))
    yield "non-finite", with_observation(state=np.array([0, np.nan, 0]))
    yield "expected the bytes of a JPEG picture", with_observation(image=encode_png(np.zeros((24, 32, 3), np.uint8)))
    yield "24 x 30, expected 24 x 32", with_observation(image=encode_jpeg(np.zeros((24, 30, 3), np.uint8)))
    yield "metadata", replace(episode(0), metadata={"file_path": "x"})


def message(error: type[Exception], out: Path, *, splits: dict | None = None, train: list[RldsEpisode] | None = None) -> str:
    try:
        write_rlds(out, name="my_set_2", features=FEATURES, splits=splits or {"train": lambda: train})
    except error as raised:
        return str(raised)
    return "nothing was raised"


def bad(out: Path) -> object:
    answers = [(word, message(UserError, out, train=[episode(1), one])) for word, one in spoiled()]
    answers.append(("without episodes", message(UserError, out, splits={"train": lambda: [episode(0)], "val": list})))
    tiny = Path(os.environ["TINY_DISK"]) if "TINY_DISK" in os.environ else None
    if tiny:
        answers.append(("disk is full", message(WorldError, tiny / "out", train=[episode(i, 20) for i in range(20)])))
    return {"answers": answers, "left": sorted(os.listdir(out)), "left_on_tiny": os.listdir(tiny / "out") if tiny else []}


def kill(out: Path) -> object:
    write(out, [episode(i) for i in range(4)], on_episode=lambda: os.kill(os.getpid(), signal.SIGKILL))
    return "survived"


def read(path: Path) -> object:
    """By the tools' own road: neither our code nor the builder's is asked."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(path))
    skip = {"steps": tfds.decode.SkipDecoding()}
    raw = list(tfds.as_numpy(builder.as_dataset("train", decoders=skip, shuffle_files=False)))
    decoded = next(iter(tfds.as_numpy(next(iter(builder.as_dataset("train")))["steps"])))
    found = {int(e["episode_metadata"]["episode_id"]): e for e in raw}
    for index, got in found.items():
        check(got, episode(index, num_steps=2 + index))
    return {
        "episodes": sorted(found),
        "val": builder.info.splits["val"].num_examples,
        "metadata": builder.info.metadata,
        "decoded": list(decoded["observation"]["image"].shape),
    }


def check(got: dict, expected: RldsEpisode) -> None:
    steps, wanted = got["steps"], expected.steps
    assert got["episode_metadata"]["file_path"].decode() == expected.metadata["file_path"]
    assert steps["is_last"].tolist() == [s["is_last"] for s in wanted]
    for key in ("image", "depth_like"):
        assert list(steps["observation"][key]) == [s["observation"][key] for s in wanted], f"{key}: bytes changed"
    np.testing.assert_array_equal(steps["observation"]["state"], np.float32([s["observation"]["state"] for s in wanted]))
    np.testing.assert_array_equal(steps["action"]["move"], np.stack([s["action"]["move"] for s in wanted]))
    assert steps["action"]["stop"].dtype == np.int32
    assert {text.decode() for text in steps["language_instruction"]} == {"saisis le cube doré"}


if __name__ == "__main__":
    verb, folder = sys.argv[1:]
    print(json.dumps({"good": good, "bad": bad, "kill": kill}[verb](Path(folder))))
