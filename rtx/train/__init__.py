"""Training: configuration, one loop, one file per way of learning, checkpoints. Imports nothing: jax takes a second."""
