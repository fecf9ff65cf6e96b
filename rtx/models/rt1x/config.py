"""Every number of a published RT-1 in one frozen object, and the named presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rtx.embodiment import CAMERA_ROLES
from rtx.errors import UserError
from rtx.models.remat import REMATS, Remat

NUM_ACTION_TOKENS = 11
"""terminate, world_vector (3), rotation_delta (3), gripper_closedness, base rotation, base displacement (2): `actions.py`."""


@dataclass(frozen=True, kw_only=True)
class RT1XConfig:
    """Fields in the order of the data's way through the network. The first group must agree with the batches."""

    roles: tuple[str, ...] = ("primary",)  # the one camera
    history: int = 15  # frames t
    chunk: int = 1  # actions returned when acting
    image_size: tuple[int, int] = (256, 320)  # (height, width) of the pictures as they are fed
    action_dims: int = 11  # of the mixture: 8 = `CANONICAL_ARM`, 11 = with `base_delta_pos` and `base_delta_yaw` after it
    sentence_width: int = 512  # of the instruction's vector (Universal Sentence Encoder: 512)

    # image tokenizer
    network_size: int = 300  # pixels; pictures are resized to this square, whatever their aspect
    width_coefficient: float = 1.2  # of EfficientNet; B3
    depth_coefficient: float = 1.4
    grid: Literal["same", "tf"] = "same"  # padding of strided layers: JAX weights (300 px -> 10x10) or TF weights (-> 9x9)
    drop_connect: float = 0.2  # of the last block; grows linearly from 0
    image_features: int = 512
    tokens_per_image: int = 81
    token_hidden: int = 64

    # transformer
    width: int = 512
    num_layers: int = 8
    num_heads: int = 8
    head_width: int = 256
    mlp_width: int = 512
    ffn: Literal["swiglu", "linear"] = "swiglu"  # "linear": one matrix, the first RT-1
    dropout: float = 0.1  # of attention probabilities and of the feed-forward output
    compute_dtype: Literal["float32", "bfloat16"] = "float32"  # softmax, norms and loss are float32 always

    remat: Remat = "none"  # what the backward pass keeps of a block of either network: `rtx.models.remat`

    # actions
    num_bins: int = 512
    rounding: Literal["nearest", "truncate"] = "truncate"  # "truncate" as the released weights were trained
    loss_over: Literal["all", "known"] = "all"  # as published, every token of every frame; or valid action entries only

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise UserError("RT-1-X config: " + "; ".join(problems))

    def _problems(self) -> list[str]:
        numbers = {n: v for n, v in vars(self).items() if isinstance(v, int | float) and not isinstance(v, bool)}
        may_be_zero = ("dropout", "drop_connect")
        problems = [f"{n} {v} must be above 0" for n, v in numbers.items() if not v > 0 and n not in may_be_zero]
        problems += [f"{n} {numbers[n]} must be in [0, 1)" for n in may_be_zero if not 0 <= numbers[n] < 1]
        if len(self.roles) != 1 or self.roles[0] not in CAMERA_ROLES:
            problems.append(f"roles {self.roles} must be one camera out of {', '.join(CAMERA_ROLES)}")
        if self.chunk != 1:
            problems.append(f"chunk {self.chunk} must be 1: the network predicts the action of each frame it has seen")
        if self.action_dims not in (8, NUM_ACTION_TOKENS):
            problems.append(f"action_dims {self.action_dims} must be 8 (an arm) or {NUM_ACTION_TOKENS} (an arm on a base)")
        if self.num_bins < 3:
            problems.append(f"num_bins {self.num_bins} must be at least 3: the terminate token has three values")
        choices = {
            "grid": ("same", "tf"), "ffn": ("swiglu", "linear"), "compute_dtype": ("float32", "bfloat16"),
            "rounding": ("nearest", "truncate"), "loss_over": ("all", "known"), "remat": REMATS,
        }  # fmt: skip
        return problems + [
            f"{n} {vars(self)[n]!r} must be one of {', '.join(c)}" for n, c in choices.items() if vars(self)[n] not in c
        ]


def rt1x() -> RT1XConfig:
    """RT-1-X as released in JAX: 56,896,809 parameters, 15 frames of 81 tokens."""
    return RT1XConfig()


def rt1() -> RT1XConfig:
    """RT-1 of the JAX release with the first feed-forward layer: 35,116,448 parameters, 6 frames of 8 tokens."""
    return RT1XConfig(history=6, tokens_per_image=8, head_width=128, ffn="linear", num_bins=256)
