"""Published PaliGemma weights as a checkpoint of ours: a model that answers questions, and what training starts from.

    rtx ckpt convert paligemma WEIGHTS OUT --tokenizer tokenizer.model      then train.start=OUT, or Policy.ask

It knows no robot: its contract holds one data set of pictures from elsewhere, of which every action dimension is unknown.
Actions will be said in the `<loc>` tokens, as openpi does. Weights: big_vision's `.npz`, or Hugging Face safetensors (a file,
an index, a folder). Google's terms for Gemma must have been accepted to get them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from rtx.embodiment import CANONICAL
from rtx.errors import UserError, look_up
from rtx.models.blank import blank_batch
from rtx.models.vla.action_tokens import paligemma_ids
from rtx.models.vla.config import PaliGemmaConfig
from rtx.models.vla.gemma import GemmaConfig, gemma2_2b, gemma2_9b, gemma2_27b, gemma_2b
from rtx.models.vla.language import VLATokenizer
from rtx.models.vla.vit import so400m
from rtx.robots.no_robot import NO_ROBOT
from rtx.spec import Contract, FieldStatistics, Statistics

SIZES: Mapping[str, Callable[[], GemmaConfig]] = {
    "paligemma-3b": gemma_2b,
    "paligemma2-3b": gemma2_2b,
    "paligemma2-10b": gemma2_9b,
    "paligemma2-28b": gemma2_27b,
}
PIXELS = (224, 448, 896)
_SET = "pictures"


def released_config(size: str, *, pixels: int = 224) -> PaliGemmaConfig:
    """The config of a published size (`SIZES`), for pictures of so many pixels (`PIXELS`)."""
    language = look_up("PaliGemma", size, SIZES)
    if pixels not in PIXELS:
        raise UserError(f"PaliGemma was published for pictures of {', '.join(map(str, PIXELS))} pixels, not {pixels}")
    return PaliGemmaConfig(
        image_size=(pixels, pixels), vision=so400m(), language=language(), compute_dtype="bfloat16",
        action_ids=paligemma_ids(), text_length=64,
    )  # fmt: skip


def pictures_contract(config: PaliGemmaConfig) -> Contract:
    """Of a model that has seen pictures and text only."""
    layout = CANONICAL.without(*(field.name for field in CANONICAL.action.fields), "proprio")
    statistics = Statistics(
        action=_nothing(layout.action.width), proprio=_nothing(layout.proprio_width), num_episodes=0, source="no robot"
    )
    return Contract(
        roles=config.roles, image_size=config.image_size, history=config.history, chunk=config.chunk,
        embodiments={_SET: NO_ROBOT}, layouts={_SET: layout}, statistics={_SET: statistics},
    )  # fmt: skip


def convert_paligemma(path: Path, out: Path, *, tokenizer: Path, config: PaliGemmaConfig) -> Path:
    """Reads the weights at `path`, checks every leaf, writes `out/checkpoints/0`; returns that.

    `tokenizer`: Gemma's `tokenizer.model`. `config`: `released_config`, or that of other weights of the family. Raises
    UserError and WorldError as the readers and `save`, and UserError where `out` holds a checkpoint already.
    """
    import jax

    from rtx.models.families import model_to_json
    from rtx.models.vla.planning import build_vla
    from rtx.models.vla.weights.big_vision import load_npz
    from rtx.models.vla.weights.paligemma import load_safetensors
    from rtx.train.checkpoint import SideFiles, save

    if (out / "checkpoints" / "0").exists():
        raise UserError(f"{out} holds a checkpoint already; give a new folder")
    config = dataclasses.replace(config, head="tokens", plan=False, plan_end=())  # what is published has neither
    language = VLATokenizer.from_file(tokenizer, text_length=config.text_length, answer_length=config.answer_length)
    if language.size > config.language.vocab:
        raise UserError(f"{tokenizer} has {language.size} pieces, the model's vocabulary is {config.language.vocab}")
    model = build_vla(config)
    blank = blank_batch(
        np.zeros((1, config.text_length), np.int32),
        roles=config.roles,
        image_size=config.image_size,
        history=config.history,
        proprio=config.proprio_dims,
    )
    like = jax.eval_shape(model.init, jax.random.key(0), blank)["params"]
    params = (load_npz if path.suffix == ".npz" else load_safetensors)(path, like)
    side = SideFiles(
        contract=pictures_contract(config), model=model_to_json(model), tokenizer=language.to_json(), data={}, config={}
    )
    return save(out / "checkpoints", step=0, state={"variables": {"params": params}}, side=side)


def export_weights(path: Path | str, out: Path, *, dtype: str) -> list[Path]:
    """The weights of the PaliGemma model at `path` as published ones are: `out` is a file `.npz` (big_vision) or a folder
    (Hugging Face safetensors). Adapters are merged, averages in place. Returns the files.

    Raises UserError for another kind of model, or one with a head of numbers, which no published form has a place for.
    """
    import jax.numpy as jnp

    from rtx.models.families import model_from_json
    from rtx.models.vla.weights.big_vision import save_npz
    from rtx.models.vla.weights.paligemma import save_safetensors
    from rtx.train.checkpoint import open_checkpoint

    opened = open_checkpoint(path)
    config = model_from_json(opened.model).config
    if not isinstance(config, PaliGemmaConfig) or not config.says_actions:
        kind = opened.model["family"] if not isinstance(config, PaliGemmaConfig) else f"paligemma with head={config.head!r}"
        raise UserError(f"{opened.path} is {kind}; only PaliGemma models that say their actions as tokens can be exported")
    params, kind = opened.variables["params"], jnp.dtype(dtype)
    if out.suffix == ".npz":
        save_npz(out, params, dtype=kind)
        return [out]
    return save_safetensors(out, params, dtype=kind)


def _nothing(width: int) -> FieldStatistics:
    zeros = (0.0,) * width
    return FieldStatistics(mean=zeros, std=zeros, min=zeros, max=zeros, q01=zeros, q99=zeros, count=0)
