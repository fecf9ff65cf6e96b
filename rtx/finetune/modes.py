"""What each mode of fine-tuning trains, as rules for `rtx.train.trainable`; one row a model family.

    mode            trained                                             for
    full            everything                                          models that fit with their optimizer
    frozen_vision   all but the vision encoder                          pictures like those of pre-training
    lora            factors of every kernel; head and robot's own rows  billions of parameters, few demonstrations
    head            the head and the robot's own rows                   the least memory
    new_head        everything, the head from fresh parameters          another action space, other cameras

A robot's own rows (`own`) are parameters that only its samples move, so freezing them would leave a new robot at chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from rtx.errors import UserError, unknown_name
from rtx.models.lora import LoRAConfig
from rtx.train.config import OptimizationConfig

Mode = Literal["full", "lora", "head", "new_head", "frozen_vision"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Beginnings of parameter paths, as alternatives of a regular expression."""

    vision: str
    head: str
    own: str = ""


_RT1X = Parts(vision="image_tokenizer/", head="Transformer_0/Dense_2/")
_VLA = Parts(vision="img/", head="action_head/")
PARTS: Mapping[str, Parts] = {
    "rt1": Parts(vision="image_tokenizer|points_", head="Transformer_0/Dense_2/", own="robot/|robot_film/"),
    "rt1x": _RT1X,
    "rt1x_words": _RT1X,
    "paligemma": _VLA,
    "pali": _VLA,
}


def check_mode(mode: str) -> None:
    """Raises UserError for a mode that there is not."""
    if mode not in (*MODES, "auto"):
        raise unknown_name("mode", mode, (*MODES, "auto"))


def trained_by(mode: Mode, family: str, *, adapters: bool = False) -> OptimizationConfig:
    """An `OptimizationConfig` whose `freeze` and `lora` are those of the mode; the rest of it is the default.

    `adapters`: with `new_head`, factors beside the frozen rest of the network instead of all of it.
    """
    parts = PARTS[family]
    kept = f"^(?!{'|'.join(part for part in (parts.head, parts.own) if part)})"
    adapted = OptimizationConfig(freeze=(kept,), lora=LoRAConfig(rules=(kept,)))
    if mode == "frozen_vision":
        return OptimizationConfig(freeze=(f"^({parts.vision})",))
    if mode == "lora" or (mode == "new_head" and adapters):
        return adapted
    if mode == "head":
        return OptimizationConfig(freeze=(kept,))
    return OptimizationConfig()


def has_head(family: str, paths: Mapping[str, object]) -> bool:
    """Whether the network has an action head of its own; vision-language models that say actions as words have none."""
    return any(path.startswith(PARTS[family].head) for path in paths)


def need_head(mode: str, family: str, paths: Mapping[str, object]) -> None:
    """Raises UserError where `mode` trains a head that is not there."""
    if mode == "head" and not has_head(family, paths):
        raise UserError("mode head: this model says its actions as words and has no head of its own; take lora or new_head")
