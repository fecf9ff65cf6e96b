"""Run in a process of its own (TensorFlow): writes a SavedModel that is called as the Universal Sentence Encoder is.

python -m tests.data.write_sentence_encoder FOLDER [words | signature | numbers]     string [n] -> float32 [n, 512]
"""

import sys

import tensorflow as tf

BUCKETS = 1000


class Words(tf.Module):
    """A fixed random vector per word, added up and scaled to length 1: real TensorFlow over real strings."""

    def __init__(self):
        super().__init__()
        self.table = tf.Variable(tf.random.stateless_normal((BUCKETS, 512), seed=(1, 2)))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        words = tf.strings.split(tf.strings.lower(texts))
        buckets = words.with_values(tf.strings.to_hash_bucket_fast(words.values, BUCKETS))
        return tf.math.l2_normalize(tf.reduce_sum(tf.gather(self.table, buckets), axis=1), axis=1)


class Numbers(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, x):
        return x


class OnlySignature(tf.Module):
    def __init__(self):
        super().__init__()
        self.words = Words()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def encode(self, inputs):
        return {"outputs": self.words(inputs)}


if __name__ == "__main__":
    folder, kind = sys.argv[1:]
    if kind == "signature":
        model = OnlySignature()
        tf.saved_model.save(model, folder, signatures={"serving_default": model.encode})
    else:
        tf.saved_model.save(Words() if kind == "words" else Numbers(), folder)
