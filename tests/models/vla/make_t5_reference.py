"""Writes t5_reference.npz: logits of transformers' T5 (PyTorch, float32) with the weights of t5_tiny.py.

    python -m tests.models.vla.make_t5_reference        with torch==2.13.0 and transformers==5.23.0

Teacher forcing, padding in the prompt. "text": the prompt alone. "pictures": embeddings instead of ids, our projected tokens of
three pictures (one of them absent) before the prompt. A third of the vocabulary is kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import T5Config as TheirConfig
from transformers import T5ForConditionalGeneration

from rtx.models.vla.t5 import T5Config
from tests.models.vla import t5_tiny as tiny
from tests.models.vla.t5_build import picture_tokens


def reference(config: T5Config) -> T5ForConditionalGeneration:
    theirs = TheirConfig(
        vocab_size=config.vocab, d_model=config.width, d_ff=config.mlp, num_heads=config.heads, d_kv=config.head_dim,
        num_layers=config.encoder_depth, num_decoder_layers=config.decoder_depth, tie_word_embeddings=config.tied,
        feed_forward_proj=f"gated-{config.activation}", relative_attention_num_buckets=config.buckets,
        relative_attention_max_distance=config.max_distance, dropout_rate=0.0, decoder_start_token_id=0,
    )  # fmt: skip
    model = T5ForConditionalGeneration._from_config(theirs, attn_implementation="eager").eval()
    if not config.tied:  # the library ties every head to the embedding
        model.lm_head = torch.nn.Linear(config.width, config.vocab, bias=False)
    state = {name: torch.from_numpy(tiny.weight(name, tuple(value.shape))) for name, value in model.state_dict().items()}
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", *(("lm_head.weight",) if config.tied else ())):
        state[name] = state["shared.weight"]
    model.load_state_dict(state)
    assert config.tied == (model.lm_head.weight.data_ptr() == model.shared.weight.data_ptr())
    return model


def logits(model: T5ForConditionalGeneration, *, with_pictures: bool) -> np.ndarray:
    """[2, m, v]: row j predicts answer token j."""
    before = torch.from_numpy(np.pad(tiny.ANSWER[:, :-1], ((0, 0), (1, 0)))).long()
    prompt, valid = torch.from_numpy(tiny.PROMPT).long(), tiny.PROMPT != 0
    with torch.no_grad():
        if not with_pictures:
            mask = torch.from_numpy(valid).long()
            return model(input_ids=prompt, attention_mask=mask, decoder_input_ids=before).logits.numpy()
        tokens = picture_tokens()
        n = tokens.shape[1] // tiny.PICTURE_MASK.shape[1]
        valid = np.concatenate([np.repeat(tiny.PICTURE_MASK, n, axis=1), valid], 1)
        joined = torch.cat([torch.tensor(tokens), model.shared(prompt)], 1)
        mask = torch.from_numpy(valid).long()
        return model(inputs_embeds=joined, attention_mask=mask, decoder_input_ids=before).logits.numpy()


def main() -> None:
    found: dict[str, np.ndarray] = {}
    for name, config in tiny.CONFIGS.items():
        model = reference(config)
        for kind in ("text", "pictures"):
            found[f"{name}_{kind}"] = out = logits(model, with_pictures=kind == "pictures")[..., :: tiny.KEPT]
            print(name, kind, out.shape, f"std {out.std():.3g}")
    np.savez_compressed(Path(__file__).with_name("t5_reference.npz"), **found)


if __name__ == "__main__":
    main()
