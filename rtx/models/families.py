"""Models to JSON and back, through a fixed table of families. Data read from a file never names code to import."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

from rtx.errors import UserError, look_up
from rtx.models.protocol import Model
from rtx.models.rt1.config import RT1Config
from rtx.models.rt1.model import RT1
from rtx.models.rt1x.config import RT1XConfig
from rtx.models.rt1x.model import RT1X
from rtx.models.rt1x_words.config import RT1XWordsConfig
from rtx.models.rt1x_words.model import RT1XWords
from rtx.models.vla.config import PaLIConfig, PaliGemmaConfig
from rtx.models.vla.planning import build_vla
from rtx.spec import to_json
from rtx.typed_json import from_json

Reads = Literal["words", "subwords", "sentences", "vla"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """One row of the table: the class of the config, how a model is made from it, and what it reads in place of a sentence.

    "words", "subwords": numbers, `text_length` of them out of `text_vocabulary`; "sentences": a vector of `sentence_width`;
    "vla": prompts of `text_length` ids and answers of `answer_length` ids of the language model's own vocabulary.
    """

    config: type
    build: Callable[[Any], Model]
    reads: Reads = "words"


FAMILIES: Mapping[str, Family] = {
    "rt1": Family(config=RT1Config, build=RT1),
    "rt1x": Family(config=RT1XConfig, build=RT1X, reads="sentences"),
    "rt1x_words": Family(config=RT1XWordsConfig, build=RT1XWords, reads="subwords"),
    "paligemma": Family(config=PaliGemmaConfig, build=build_vla, reads="vla"),
    "pali": Family(config=PaLIConfig, build=build_vla, reads="vla"),
}


def build_model(config: Any) -> Model:
    """The model a config describes, by the config's type. Raises UserError for a type outside the table."""
    return FAMILIES[_family_of(config)].build(config)


def reads(config: Any) -> Reads:
    """What the model of a config reads in place of a sentence."""
    return FAMILIES[_family_of(config)].reads


def model_to_json(model: Model) -> dict[str, Any]:
    """`{"family": name, "config": {...}}`, plain JSON data."""
    return {"family": _family_of(model.config), "config": to_json(model.config)}


def model_from_json(data: Mapping[str, Any]) -> Model:
    """Inverse of `model_to_json`. Raises UserError: unknown family or key, value out of range."""
    missing = {"family", "config"} - set(data)
    if missing:
        raise UserError(f"model description lacks {', '.join(sorted(missing))}; expected an object with family and config")
    family = look_up("model family", str(data["family"]), FAMILIES)
    config = from_json(family.config, data["config"], f"the config of model family {data['family']}")
    return family.build(config)


def _family_of(config: Any) -> str:
    for name, family in FAMILIES.items():
        if type(config) is family.config:
            return name
    raise UserError(f"{type(config).__name__} is not a model config; model families are {', '.join(sorted(FAMILIES))}")
