"""RT-2 (arXiv 2307.15818): vision-language models fine-tuned on robots and web data together.

    rtx train configs/rt2.py:pali_x_55b   also pali_x_5b, palm_e_12b, pali_3b     the paper's models; on accelerators
    rtx train configs/rt2.py:paligemma_3b --set train.start=CHECKPOINT            public weights; one large accelerator
    rtx train configs/rt2.py:nano --set data.sets.0.source=BRIDGE --set data.sets.1.prepared=WEB        on a CPU
                                          also small, nano_pali, small_pali

The paper's are its table of learning rates, batches, steps and shares of robots (appendices D and E). It co-trains on WebLI's
best tenth, captions and questions, none of it public: put what you have at data/prepared/web_vqa and web_captions (`rtx data
import` and `rtx data prepare`). Its schedules and regularisation are those of the models it starts from, of which it says no
more: ours are a short linear rise, a constant rate and no weight decay, with AdamW. Pictures are not changed at random: the
paper mentions nothing of the kind, and turned colours would make answers about colours wrong.

Robots are RT-1's (fractal20220817_data), in RT-1's bounds and 256 bins. Its base moves too, so an action is eleven integers:
the paper's eight, then the base's three.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from rtx.models.vla import presets
from rtx.models.vla.action_tokens import paligemma_ids
from rtx.models.vla.config import VLAConfig, nano_paligemma, small_paligemma
from rtx.models.vla.config import nano_pali as nano_pali_model
from rtx.models.vla.config import small_pali as small_pali_model
from rtx.train.config import AugmentConfig, DataConfig, DataSet, OptimizationConfig, RunConfig, TrainConfig

ROBOT = DataSet(prepared="data/prepared/fractal20220817_data")
TABLE = DataSet(prepared="data/prepared/language_table")
WEB = (DataSet(prepared="data/prepared/web_vqa"), DataSet(prepared="data/prepared/web_captions"))

MT5, T5, GEMMA = (f"data/vocabularies/{name}" for name in ("mt5/spiece.model", "t5/spiece.model", "gemma/tokenizer.model"))
"""Public files; the paper's own vocabularies are not."""

STILL = AugmentConfig(shift_px=0, brightness=0.0, contrast=0.0, hue=0.0)
SHIFTED = dataclasses.replace(STILL, shift_px=4)


def pali_x_55b() -> TrainConfig:
    """RT-2-PaLI-X-55B: rate 1e-3, batch 2,048, 80,000 steps, half of it robots. Bin i is the token of the integer i.

    `rtx plan` tells what it takes. The integers must have tokens of their own in the vocabulary; where it lacks some, an error
    names them, and data.action_words=rarest writes over the rarest tokens instead, as RT-2-PaLM-E does.
    """
    data = _data(batch_size=2048, robot_share=0.5, vocabulary=MT5, action_words="integers")
    return _paper(presets.pali_x_55b(), data, lr=1e-3, num_steps=80_000)


def pali_x_5b() -> TrainConfig:
    """RT-2-PaLI-X-5B: rate 1e-3, batch 2,048, 270,000 steps, half of it robots. See `pali_x_55b` for its tokens."""
    data = _data(batch_size=2048, robot_share=0.5, vocabulary=MT5, action_words="integers")
    return _paper(presets.pali_x_5b(), data, lr=1e-3, num_steps=270_000)


def palm_e_12b() -> TrainConfig:
    """RT-2-PaLM-E-12B: rate 4e-4, batch 512, a million steps, two thirds robots; the 256 rarest tokens become bins.

    Gemma's vocabulary, of PaLM's size, is in the place of PaLM's.
    """
    data = _data(batch_size=512, robot_share=0.66, vocabulary=GEMMA, action_words="rarest")
    return _paper(presets.palm_e_12b(), data, lr=4e-4, num_steps=1_000_000)


def pali_3b() -> TrainConfig:
    """RT-2-PaLI-3B for Language-Table: rate 1e-3, batch 128, 300,000 steps. Its share of robots is not published: half here.

    Two consecutive frames; two integers of 21 values in an answer of eight, of which the other six are not learned.
    """
    data = _data(
        batch_size=128, robot_share=0.5, vocabulary=T5, action_words="rarest", sets=(TABLE, *WEB), history=2, bounds="quantiles"
    )
    return _paper(presets.pali_3b(), data, lr=1e-3, num_steps=300_000, action_dims=8)


def paligemma_3b() -> TrainConfig:
    """PaliGemma 3B in the place of RT-2-PaLM-E, from its public weights: PaLM-E's share of robots.

    Rate 1e-5, weight decay 3e-7, gradients up to 1.0, 5 % linear rise, then a cosine, batch 32: PaliGemma's own fine-tuning.
    Bins are the tail of the <loc> tokens, from <loc1023> down. `train.start`: a checkpoint made of those weights.
    """
    model = dataclasses.replace(presets.paligemma_3b(), action_ids=paligemma_ids())
    config = _paper(model, _data(batch_size=32, robot_share=0.66, vocabulary=GEMMA), lr=1e-5, num_steps=100_000)
    train = dataclasses.replace(config.train, schedule="cosine", warmup_steps=5_000, weight_decay=3e-7)
    return dataclasses.replace(config, train=train)


def small() -> TrainConfig:
    """About 30 million parameters, decoder-only, on Bridge and web data: hours on a small accelerator."""
    return _laptop(small_paligemma(), num_steps=20_000, batch_size=64)


def nano() -> TrainConfig:
    """About 3 million parameters, decoder-only: tests, laptops, and `rtx reproduce rt2-cotraining`."""
    return _laptop(nano_paligemma(), num_steps=4_000, batch_size=32)


def small_pali() -> TrainConfig:
    """`small` in the encoder-decoder family."""
    return _laptop(small_pali_model(), num_steps=20_000, batch_size=64)


def nano_pali() -> TrainConfig:
    """`nano` in the encoder-decoder family."""
    return _laptop(nano_pali_model(), num_steps=4_000, batch_size=32)


def _data(
    *,
    batch_size: int,
    robot_share: float,
    vocabulary: str,
    action_words: Literal["given", "integers", "rarest"] = "given",
    sets: tuple[DataSet, ...] = (ROBOT, *WEB),
    history: int = 1,
    bounds: Literal["quantiles", "rt1x"] = "rt1x",
) -> DataConfig:
    return DataConfig(
        sets=sets,
        image_size=(224, 224),
        history=history,
        batch_size=batch_size,
        bounds=bounds,
        vocabulary=vocabulary,
        action_words=action_words,
        robot_share=robot_share,
    )


def _paper(model: VLAConfig, data: DataConfig, *, lr: float, num_steps: int, action_dims: int = 11) -> TrainConfig:
    return TrainConfig(
        data=data,
        model=dataclasses.replace(model, action_dims=action_dims, text_length=64, answer_length=64),
        train=OptimizationConfig(
            num_steps=num_steps, lr=lr, schedule="constant", warmup_steps=1000, weight_decay=0.0, groups=2, augment=STILL
        ),
        run=RunConfig(log_every=50, eval_every=5_000, save_every=1_000, keep=3),
    )


def _laptop(model: VLAConfig, *, num_steps: int, batch_size: int) -> TrainConfig:
    """Half robots, half web, as the larger two; rates are ours."""
    return TrainConfig(
        data=DataConfig(
            sets=(DataSet(record="bridge_dataset"), DataSet(prepared="data/prepared/web")),
            image_size=(128, 128),
            batch_size=batch_size,
            robot_share=0.5,
        ),
        model=model,
        train=OptimizationConfig(num_steps=num_steps, lr=1e-3, warmup_steps=200, final_lr=0.05, groups=2, augment=SHIFTED),
        run=RunConfig(log_every=20, eval_every=1_000, save_every=500),
    )
