"""The other side of the loader's benchmark: a tf.data pipeline for the same windows, as public documentation has it.

    parse (TFDS, images stay encoded) -> repeat -> windows -> interleave episodes -> shuffle buffer
        -> decode -> resize (Lanczos3, antialiased) -> random resized crop, brightness, contrast, saturation, hue -> batch

The order of the stages is Octo's. Draws are stateless and shared by the frames of a window, as there; the crop is one
`crop_and_resize` for all frames of a camera, and only as many threads run as there are cores, which is kind to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def pipeline(
    source: Path, keys: list[list[str]], *, batch: int, history: int, chunk: int, size: int, shuffle: int, resize: bool,
    augment: bool, num_threads: int,
) -> Callable[[], int]:  # fmt: skip
    """Delivers a batch per call and says how many windows it holds. `keys`: path of each camera in a step.

    Without `resize` pictures must be stored in the size wanted.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def episode(example: dict[str, Any]) -> dict[str, Any]:
        steps = example["steps"]
        actions = [tf.cast(part, tf.float32) for part in tf.nest.flatten(steps["action"])]
        images = tf.stack([_at(steps, key) for key in keys], axis=1)
        return {"images": images, "action": tf.concat(actions, -1)}

    def windows(steps: dict[str, Any]) -> Any:
        n = tf.shape(steps["images"])[0]
        past = tf.maximum(tf.range(n)[:, None] + tf.range(1 - history, 1), 0)
        future = tf.minimum(tf.range(n)[:, None] + tf.range(chunk), n - 1)
        picked = {"images": tf.gather(steps["images"], past), "action": tf.gather(steps["action"], future)}
        return tf.data.Dataset.from_tensor_slices(picked)

    def picture(data: Any) -> Any:
        decoded = tf.io.decode_image(data, channels=3, expand_animations=False)
        if resize:
            decoded = tf.image.resize(decoded, (size, size), method="lanczos3", antialias=True)
            decoded = tf.cast(tf.clip_by_value(tf.round(decoded), 0, 255), tf.uint8)
        return tf.ensure_shape(decoded, (size, size, 3))

    def frames(window: dict[str, Any]) -> dict[str, Any]:
        encoded = tf.transpose(window["images"])  # camera, time
        cameras = []
        for camera in range(len(keys)):
            images = tf.stack([picture(encoded[camera, t]) for t in range(history)])
            cameras.append(_augmented(tf, images, size) if augment else images)
        return window | {"images": tf.stack(cameras)}

    data = tfds.builder_from_directory(str(source)).as_dataset(
        split="train", shuffle_files=True, decoders={"steps": tfds.decode.SkipDecoding()}
    )
    data = data.repeat().map(episode, num_threads).interleave(windows, cycle_length=16, num_parallel_calls=num_threads)
    data = data.shuffle(shuffle).map(frames, tf.data.AUTOTUNE).batch(batch).prefetch(2)
    options = tf.data.Options()
    options.deterministic = False
    options.threading.private_threadpool_size = num_threads
    stream = data.with_options(options).as_numpy_iterator()
    return lambda: len(next(stream)["action"])


def _augmented(tf: Any, images: Any, size: int) -> Any:
    """The frames of one camera of a window, uint8 [t, size, size, 3], all with the same draws."""

    def seed() -> Any:
        return tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)

    images = tf.cast(images, tf.float32) / 255
    box = tf.repeat(_crop_box(tf)[None], tf.shape(images)[0], axis=0)
    images = tf.image.crop_and_resize(images, box, tf.range(tf.shape(images)[0]), (size, size))
    images = tf.image.stateless_random_brightness(images, 0.1, seed())
    images = tf.image.stateless_random_contrast(images, 0.9, 1.1, seed())
    images = tf.image.stateless_random_saturation(images, 0.9, 1.1, seed())
    images = tf.image.stateless_random_hue(images, 0.05, seed())
    return tf.cast(tf.round(tf.clip_by_value(images, 0, 1) * 255), tf.uint8)


def _crop_box(tf: Any) -> Any:
    """[y0, x0, y1, x1] in 0..1: area 0.8 to 1 of the picture, aspect ratio 0.9 to 1.1."""
    area = tf.random.uniform([], 0.8, 1.0)
    ratio = tf.exp(tf.random.uniform([], tf.math.log(0.9), tf.math.log(1.1)))
    height, width = tf.minimum(tf.sqrt(area / ratio), 1.0), tf.minimum(tf.sqrt(area * ratio), 1.0)
    y, x = tf.random.uniform([], 0, 1) * (1 - height), tf.random.uniform([], 0, 1) * (1 - width)
    return tf.stack([y, x, y + height, x + width])


def _at(tree: Any, names: list[str]) -> Any:
    for name in names:
        tree = tree[name]
    return tree
