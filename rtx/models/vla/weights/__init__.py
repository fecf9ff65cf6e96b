"""Public checkpoints to parameters and back: Hugging Face safetensors, big_vision npz, T5X."""
