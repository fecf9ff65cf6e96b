"""A config says everything that is wrong with it at once."""

from __future__ import annotations

import pytest

from rtx.errors import UserError
from rtx.models.rt1.config import RT1Config


def test_all_problems_at_once() -> None:
    with pytest.raises(
        UserError, match=r"width 0 is too small.*roles .* must be distinct.*categorical_dims .* 0\.\.7.*dropout 1\.5"
    ):
        RT1Config(width=0, roles=("primary", "primary"), categorical_dims=(8,), dropout=1.5)


def test_heads_divide_the_text() -> None:
    with pytest.raises(UserError, match="text_width 30 must be a multiple of text_heads 4"):
        RT1Config(text_width=30)
