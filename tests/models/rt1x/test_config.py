"""A config says everything that is wrong with it at once, and survives JSON as the family it is."""

from __future__ import annotations

import json

import pytest

from rtx.errors import UserError
from rtx.models.families import model_from_json, model_to_json
from rtx.models.rt1x.config import RT1XConfig, rt1
from rtx.models.rt1x.model import RT1X


def test_all_problems_at_once() -> None:
    expected = r"width 0 must be above 0.*dropout 1\.5 .*roles .* one camera.*chunk 4.*action_dims 7"
    with pytest.raises(UserError, match=expected):
        RT1XConfig(width=0, roles=("primary", "wrist"), chunk=4, action_dims=7, dropout=1.5)


def test_json_keeps_the_model() -> None:
    data = json.loads(json.dumps(model_to_json(RT1X(rt1()))))
    assert data["family"] == "rt1x"
    assert model_from_json(data) == RT1X(rt1())
    assert hash(model_from_json(data)) == hash(RT1X(rt1()))
