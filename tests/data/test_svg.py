"""Histograms of what real columns hold: also of a column that hardly changes."""

import numpy as np
import pytest

from rtx.data.svg import histogram


@pytest.mark.parametrize("spread", [0.0, 1e-9, 1e-7, 1e-5, 1.0])
def test_any_range_of_float32_has_its_bars(spread):
    values = (1.0 + np.linspace(0.0, spread, 100)).astype(np.float32)
    assert histogram(values, marks={"q01": 1.0}).count("<rect") >= 1
