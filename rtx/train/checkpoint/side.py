"""What travels with the arrays: the files that make a checkpoint usable without the run it came from."""

from __future__ import annotations

import functools
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax
import jax
import orbax.checkpoint as ocp

from rtx import __version__
from rtx.files import read_json
from rtx.spec import Contract, to_json
from rtx.typed_json import from_json

SIDE_NAMES = ("contract", "model", "tokenizer", "data", "config")
CODE = "code.json"


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


@functools.cache
def code_version() -> dict[str, str]:
    """Which code runs: versions, and the commit where rtx runs from its repository ("-dirty" if files were changed since)."""
    versions = {"rtx": __version__, "python": platform.python_version()}
    versions |= {package.__name__.split(".")[0]: package.__version__ for package in (jax, flax, ocp)}
    repository = Path(__file__).resolve().parents[3]
    if not (repository / ".git").exists():  # an installed rtx may lie in somebody else's repository
        return versions
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):  # no git on this machine, or not for this user
        return versions
    return {**versions, "commit": found.stdout.strip()}


def read_code(folder: Path) -> dict[str, str]:
    """The code that wrote a checkpoint; empty in those written before it was kept."""
    found: dict[str, str] = read_json(folder / CODE) if (folder / CODE).is_file() else {}
    return found
