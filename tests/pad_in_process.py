"""Run in a process of its own (TensorFlow): `tf.image.resize_with_pad` against the house's "pad". Prints ok."""

import numpy as np
import tensorflow as tf

from rtx.images import place_in, resize

KNOWN = ((256, 256, 256, 320), (480, 640, 256, 320), (360, 640, 256, 320), (84, 84, 256, 320), (720, 1280, 256, 320))


def padded(picture, height, width):
    return tf.image.resize_with_pad(picture, height, width).numpy()


def same_place(height, width, *size):
    """Whether the bars are where TensorFlow has them; sizes at which a side would vanish are an error there."""
    place = place_in(size, height, width, "pad")
    ground = np.zeros((*size, 1), np.float32)
    place.of(ground)[...] = 1
    return np.array_equal(padded(np.ones((height, width, 1), np.uint8), *size), ground)


def main():
    rng = np.random.default_rng(0)
    drawn = [tuple(map(int, rng.integers(20, 200, 4))) for _ in range(400)]
    wrong = [sizes for sizes in (*KNOWN, *drawn) if not same_place(*sizes)]
    assert not wrong, wrong
    picture = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(picture, (12, 20), "pad"), padded(picture, 12, 20).astype(np.uint8))
    larger = padded(picture, 24, 40)  # enlarged: antialiasing, which we have and they have not, changes nothing
    assert np.abs(resize(picture, (24, 40), "pad") - larger).max() <= 1
    print("ok")


if __name__ == "__main__":
    main()
