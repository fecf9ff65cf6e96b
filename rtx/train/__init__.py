"""Training: configuration, one loop, one file per way of learning, checkpoints. Nothing is imported here: jax takes a second."""
