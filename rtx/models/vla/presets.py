"""The models of the RT-2 paper (arXiv 2307.15818) as far as they are published, and what we chose where they are not.

    RT-2-PaLI-X-55B   ViT-22B + encoder-decoder of 32B            54.0 B here
    RT-2-PaLI-X-5B    not detailed                                 5.6 B here
    RT-2-PaLI-3B      ViT-G/14 + "UL2-3B", for Language-Table      4.7 B here
    RT-2-PaLM-E-12B   ViT-4B + decoder-only PaLM                  12.4 B here
    PaliGemma 1, 2    public weights, stand-ins for the last       2.9 B, 3.0 B

None of the paper's weights are public. The resolution of the robot's pictures is not given: 224 pixels, at which the vision
parts were trained, are our choice. Computed in bfloat16, layers recomputed in the backward pass.
"""

from __future__ import annotations

from rtx.models.vla import gemma, vit
from rtx.models.vla.config import PaLIConfig, PaliGemmaConfig
from rtx.models.vla.gemma import GemmaConfig
from rtx.models.vla.t5 import T5Config

MULTILINGUAL_VOCABULARY = 250_112
"""Rows of mT5's embedding (arXiv 2010.11934), our choice for models that were trained on 109 languages."""


def pali_x_55b() -> PaLIConfig:
    """RT-2-PaLI-X-55B: ViT-22B, and UL2 with 50 layers in the encoder and 50 in the decoder.

    Published: those two, and 32B parameters for the text part. UL2 20B's widths are kept, which the published number confirms:
    with 100 layers and mT5's vocabulary there are 32.2 B.
    """
    language = T5Config(
        vocab=MULTILINGUAL_VOCABULARY, width=4096, mlp=16_384, heads=16, head_dim=256, encoder_depth=50, decoder_depth=50,
        activation="silu",
    )  # fmt: skip
    return PaLIConfig(vision=vit.vit_22b(), language=language, compute_dtype="bfloat16", remat="layers")


def pali_x_5b() -> PaLIConfig:
    """RT-2-PaLI-X-5B. Nothing but the name is published; ours is ViT-G/14 with an encoder-decoder of T5 XL's sizes, and the
    activation and the vocabulary of the large one."""
    language = T5Config(
        vocab=MULTILINGUAL_VOCABULARY, width=2048, mlp=5120, heads=32, head_dim=64, encoder_depth=24, decoder_depth=24,
        activation="silu",
    )  # fmt: skip
    return PaLIConfig(vision=vit.big_g(), language=language, compute_dtype="bfloat16", remat="layers")


def pali_3b() -> PaLIConfig:
    """RT-2-PaLI-3B, the model for Language-Table, which is shown two frames; 21 values per number of an action, -10 to 10.

    The paper names ViT-G/14 (2B) and "UL2-3B", which are five billion together and not three; both parts are taken at their
    word. Sizes of the text part: T5 XL's, the encoder-decoder of 3B.
    """
    language = T5Config(
        vocab=32_128, width=2048, mlp=5120, heads=32, head_dim=64, encoder_depth=24, decoder_depth=24, activation="silu"
    )
    return PaLIConfig(
        history=2, num_bins=21, vision=vit.big_g(), language=language, compute_dtype="bfloat16", remat="layers"
    )  # fmt: skip


def palm_e_12b() -> PaliGemmaConfig:
    """RT-2-PaLM-E-12B: ViT-4B (ViT-e/14) and PaLM 8B's sizes (arXiv 2204.02311) in Gemma's block, which is in its place.

    The same: 32 layers of width 4096, 16 query heads of 256 over one key and value head, a gated MLP of 16,384, rotary
    positions, no biases, the embedding as head; so as many parameters and products. Not the same: PaLM's layers run attention
    and MLP side by side from one norm and gate with SiLU; here they follow each other and gate with GELU.
    """
    language = GemmaConfig(
        vocab=256_000, width=4096, depth=32, mlp=16_384, heads=16, kv_heads=1, head_dim=256, query_scale=256**-0.5
    )
    return PaliGemmaConfig(vision=vit.vit_e(), language=language, compute_dtype="bfloat16", remat="layers")


def paligemma_3b() -> PaliGemmaConfig:
    """PaliGemma 3B at 224 pixels (arXiv 2407.07726), whose weights are public."""
    return PaliGemmaConfig(vision=vit.so400m(), language=gemma.gemma_2b(), compute_dtype="bfloat16", remat="layers")


def paligemma2_3b() -> PaliGemmaConfig:
    """PaliGemma 2 3B at 224 pixels (arXiv 2412.03555), whose weights are public."""
    return PaliGemmaConfig(vision=vit.so400m(), language=gemma.gemma2_2b(), compute_dtype="bfloat16", remat="layers")
