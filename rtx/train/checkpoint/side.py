"""What travels with the arrays: the files that make a checkpoint usable without the run it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.files import read_json
from rtx.spec import Contract, to_json
from rtx.typed_json import from_json

SIDE_NAMES = ("contract", "model", "tokenizer", "data", "config")
CODE = "code"


@dataclass(frozen=True, kw_only=True)
class SideFiles:
    """What travels with the weights, as JSON data but for the contract."""

    contract: Contract
    model: Mapping[str, Any]  # {"family": ..., "config": {...}}, for `rtx.models.families.model_from_json`
    tokenizer: Mapping[str, Any]
    data: Mapping[str, Any]  # LoaderState: {"next_sample": int, "fingerprint": str}
    config: Mapping[str, Any]  # the resolved TrainConfig

    def to_json(self) -> dict[str, Any]:
        return {name: to_json(getattr(self, name)) for name in SIDE_NAMES}


def read_side(folder: Path) -> SideFiles:
    data = {name: read_json(folder / f"{name}.json") for name in SIDE_NAMES}
    return SideFiles(**{**data, "contract": from_json(Contract, data["contract"], "contract")})
