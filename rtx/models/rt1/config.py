"""Every number of an RT-1 style policy in one frozen object, and the named presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rtx.embodiment import CAMERA_ROLES
from rtx.errors import UserError


@dataclass(frozen=True, kw_only=True)
class RT1Config:
    """Fields in the order of the data's way through the network. The first group must agree with the batches."""

    roles: tuple[str, ...] = ("primary", "wrist")  # cameras, in token order
    history: int = 1  # frames t
    chunk: int = 4  # actions k predicted at once
    action_dims: int = 8
    categorical_dims: tuple[int, ...] = (6, 7)  # gripper, terminate: hard labels, decoded by argmax
    proprio_dims: int = 10
    text_length: int = 16
    text_vocabulary: int = 512  # rows of the word table; the tokenizer may use fewer
    max_embodiments: int = 32  # rows of the robot table; larger indices are clipped to the last row

    # instruction -> sentence vector
    text_width: int = 64
    sentence_width: int = 128
    text_heads: int = 4

    # image tokenizer
    image_tokenizer: Literal["pointing", "film_conv"] = "pointing"  # see pointing.py and image_tokenizer.py
    key_width: int = 16  # of pointing
    mixer_width: int = 256  # of the token that joins all points with state, robot and sentence; pointing only
    patch: int = 4  # pixels; image sides must be divisible by 2 * patch
    stem_width: int = 64
    conv_width: int = 64  # from here to token_gain, except tokens_per_image: film_conv only
    num_conv_blocks: int = 2
    share_cameras: bool = False  # one set of weights for all cameras, told apart by an embedding
    fine_grid: bool = False  # attend on the stem's grid (sides / patch) instead of the convs' (sides / 2 patch)
    tokens_per_image: int = 8
    token_hidden: int = 64
    token_gain: float = 4.0  # of TokenLearner's scores at the start: maps that begin sharp learn to point sooner

    # transformer
    width: int = 128
    num_layers: int = 2
    num_heads: int = 4
    head_width: int = 32
    mlp_width: int = 256
    dropout: float = 0.1  # of the feed-forward output
    action_queries: Literal["entry", "step"] = (
        "step"  # a token per number as RT-1, or per chunk step, read out into its numbers
    )
    causal: Literal["step", "token"] = "step"  # what image tokens see: their whole step and earlier, or earlier tokens only
    compute_dtype: Literal["float32", "bfloat16"] = "float32"  # softmax, norms and loss are float32 always

    # actions
    num_bins: int = 256
    head_waves: int = 32  # the logits' smooth basis over the bins; 0 = every bin for itself, as RT-1
    rounding: Literal["nearest", "truncate"] = "nearest"
    label_sigma_bins: float = 4.0  # width of the Gaussian target in continuous dimensions; 0 = one-hot
    decode: Literal["argmax", "expectation"] = "expectation"
    expectation_radius_bins: int = 12

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise UserError("RT-1 config: " + "; ".join(problems))

    def _problems(self) -> list[str]:
        positive = [name for name, value in vars(self).items() if isinstance(value, int) and not isinstance(value, bool)]
        may_be_zero = {"num_conv_blocks", "head_waves", "expectation_radius_bins"}
        problems = [f"{n} {vars(self)[n]} is too small" for n in positive if vars(self)[n] < (0 if n in may_be_zero else 1)]
        if not self.roles or len(set(self.roles)) != len(self.roles) or not set(self.roles) <= set(CAMERA_ROLES):
            problems.append(f"roles {self.roles} must be distinct names out of {', '.join(CAMERA_ROLES)}")
        if any(not 0 <= dim < self.action_dims for dim in self.categorical_dims):
            problems.append(f"categorical_dims {self.categorical_dims} must lie in 0..{self.action_dims - 1}")
        if self.text_width % self.text_heads:
            problems.append(f"text_width {self.text_width} must be a multiple of text_heads {self.text_heads}")
        if self.num_bins < 2:
            problems.append(f"num_bins {self.num_bins} must be at least 2")
        if not 0 <= self.dropout < 1:
            problems.append(f"dropout {self.dropout} must be in [0, 1)")
        if self.label_sigma_bins < 0:
            problems.append(f"label_sigma_bins {self.label_sigma_bins} must not be negative")
        choices = {
            "action_queries": ("entry", "step"),
            "causal": ("step", "token"),
            "image_tokenizer": ("pointing", "film_conv"),
            "compute_dtype": ("float32", "bfloat16"),
            "rounding": ("nearest", "truncate"),
            "decode": ("argmax", "expectation"),
        }
        problems += [
            f"{n} {vars(self)[n]!r} must be one of {', '.join(c)}" for n, c in choices.items() if vars(self)[n] not in c
        ]
        return problems


def tiny() -> RT1Config:
    """Learns to find a named coloured cube from a few hundred demonstrations in minutes on two CPU cores (64x64 images)."""
    return RT1Config()
