"""Models to JSON and back; nothing in the data can name code."""

from __future__ import annotations

import dataclasses
import json

import pytest

from rtx.errors import UserError
from rtx.models.families import build_model, model_from_json, model_to_json
from rtx.models.rt1.config import tiny
from rtx.models.rt1.model import RT1


def test_json_keeps_the_model() -> None:
    model = RT1(dataclasses.replace(tiny(), width=96, roles=("primary",)))
    data = json.loads(json.dumps(model_to_json(model)))
    assert data["family"] == "rt1"
    assert model_from_json(data) == model
    assert hash(model_from_json(data)) == hash(model)
    assert build_model(model.config) == model


def test_errors_help() -> None:
    with pytest.raises(UserError, match=r"unknown model family 'rt2'.*Choices: .*rt1"):
        model_from_json({"family": "rt2", "config": {}})
    with pytest.raises(UserError, match=r"unknown key .* 'widht'; did you mean 'width'"):
        model_from_json({"family": "rt1", "config": {"widht": 3}})
    with pytest.raises(UserError, match="lacks config"):
        model_from_json({"family": "rt1"})
    with pytest.raises(UserError, match="dict is not a model config"):
        build_model({"width": 3})
