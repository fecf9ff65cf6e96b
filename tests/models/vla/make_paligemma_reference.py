"""Writes paligemma_reference.npz: logits of transformers' PaliGemma 1 and 2 (PyTorch, float32) with the weights of
paligemma_tiny.py, and the names and shapes of the parameters as transformers saves them.

    python -m tests.models.vla.make_paligemma_reference        with torch==2.13.0 and transformers==5.23.0

Three pictures a sample, one of them absent; padding between prompt and answer; teacher forcing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from transformers import Gemma2Config, GemmaConfig, PaliGemmaConfig, PaliGemmaForConditionalGeneration, SiglipVisionConfig

from rtx.models.vla import gemma
from tests.models.vla import paligemma_tiny as tiny

PADDING_ROWS = 64  # of the embedding, as in the published files


def reference(config: gemma.GemmaConfig) -> PaliGemmaForConditionalGeneration:
    v = tiny.VISION
    vision = SiglipVisionConfig(
        hidden_size=v.width, intermediate_size=v.mlp, num_hidden_layers=v.depth, num_attention_heads=v.heads,
        image_size=tiny.SIZE, patch_size=v.patch, vision_use_head=False,
    )  # fmt: skip
    shared = {
        "vocab_size": config.vocab + PADDING_ROWS, "hidden_size": config.width, "intermediate_size": config.mlp,
        "num_hidden_layers": config.depth, "num_attention_heads": config.heads, "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
    }  # fmt: skip
    if config.post_norms:
        caps = {"attn_logit_softcapping": config.attn_softcap, "final_logit_softcapping": config.final_softcap}
        text = Gemma2Config(**shared, **caps, query_pre_attn_scalar=round(config.query_scale**-2))
    else:
        text = GemmaConfig(**shared)
    whole = PaliGemmaConfig(vision_config=vision, text_config=text, image_token_id=config.vocab, projection_dim=config.width)
    return PaliGemmaForConditionalGeneration._from_config(whole, attn_implementation="eager").eval()


def saved_names(model: PaliGemmaForConditionalGeneration) -> dict[str, tuple[int, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with safe_open(Path(folder) / "model.safetensors", "np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.offset_keys()}


def fill(model: PaliGemmaForConditionalGeneration) -> dict[str, tuple[int, ...]]:
    """Gives the model the weights of paligemma_tiny.py, through a file under the names that it saves."""
    names = saved_names(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        save_file({n: tiny.weight(n, s) for n, s in names.items()}, Path(folder) / "model.safetensors", {"format": "pt"})
        loaded = PaliGemmaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    return names


def logits(model: PaliGemmaForConditionalGeneration, config: gemma.GemmaConfig) -> np.ndarray:
    """[2, m, v]: row j predicts answer token j."""
    tokens = (tiny.SIZE // tiny.VISION.patch) ** 2
    pictures = tiny.pictures().reshape(-1, tiny.SIZE, tiny.SIZE, 3).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    image = np.full((2, tiny.PICTURE_MASK.shape[1] * tokens), config.vocab)
    ids = np.concatenate([image, tiny.PROMPT, tiny.ANSWER[:, :-1]], 1)
    there = np.concatenate([np.repeat(tiny.PICTURE_MASK, tokens, 1), tiny.PROMPT != 0, tiny.ANSWER[:, :-1] != 0], 1)
    prefix = image.shape[1] + tiny.PROMPT.shape[1]
    types = np.broadcast_to(np.arange(ids.shape[1]) >= prefix, ids.shape).astype(np.int64)
    with torch.no_grad():
        out = model(
            input_ids=torch.from_numpy(ids).long(), pixel_values=torch.from_numpy(pictures),
            attention_mask=torch.from_numpy(there).long(), token_type_ids=torch.from_numpy(types),
            position_ids=torch.from_numpy(np.maximum(there.cumsum(1), 1)),
        ).logits.numpy()  # fmt: skip
    last = image.shape[1] + (tiny.PROMPT != 0).sum(1) - 1
    return np.concatenate([out[np.arange(2), last][:, None], out[:, prefix:]], 1)[..., : config.vocab]


def main() -> None:
    found: dict[str, np.ndarray] = {}
    for name, config in tiny.LANGUAGES.items():
        model = reference(config)
        names = fill(model)
        found[f"{name}_logits"] = logits(model, config)
        found[f"{name}_names"] = np.array([f"{n} {' '.join(map(str, s))}" for n, s in sorted(names.items())])
        print(name, found[f"{name}_logits"].shape, f"std {found[f'{name}_logits'].std():.3g}")
    np.savez_compressed(tiny.REFERENCE, **found)


if __name__ == "__main__":
    main()
