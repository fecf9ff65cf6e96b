"""The published mask written out, and the rows that are left away against the whole sequence."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.rt1x_plain import plain_mask
from rtx.models.rt1x.transformer import attention_mask, image_positions, query_positions, read_rows


def test_mask_by_hand() -> None:
    """Two frames of two image tokens and eleven action tokens, from the published rule; a dot is False."""
    first, second = "11" + "." * 11, "11" + "." * 11
    rows = ["1............" + "." * 13, first + "." * 13]
    rows += [first + "." * 13] * 11  # the first frame's action tokens: its image tokens, not each other, not themselves
    rows += [first + "1" + "." * 12, first + second]
    rows += [first + second] * 11
    expected = np.array([[c == "1" for c in row] for row in rows])
    np.testing.assert_array_equal(attention_mask(2, 2), expected)
    np.testing.assert_array_equal(plain_mask(2, 2), expected)


@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_what_is_left_away_is_read_by_nobody(num_steps: int) -> None:
    """Reads go back through the mask: the rows kept are all that can reach a logit that is asked for."""
    t, m = 5, 3
    mask, per_frame = attention_mask(t, m), m + 11
    outputs = (np.arange(t - num_steps, t)[:, None] * per_frame + np.arange(m - 1, per_frame - 1)).reshape(-1)
    kept = np.concatenate([image_positions(t, m).reshape(-1), query_positions(t, m, num_steps).reshape(-1)])
    assert set(outputs) <= set(kept)
    reached = set(outputs) | set(np.flatnonzero(mask[outputs].any(0)))
    reached |= set(np.flatnonzero(mask[sorted(reached)].any(0)))
    assert reached <= set(kept)
    np.testing.assert_array_equal(kept[read_rows(t, m, num_steps)], outputs)


def test_places_of_the_release() -> None:
    """15 frames of 81 + 11 tokens: 1,380 rows, of which one action needs 1,225."""
    assert attention_mask(15, 81).shape == (1380, 1380)
    assert image_positions(15, 81).size + query_positions(15, 81, 1).size == 1225
    assert query_positions(15, 81, 1).tolist() == [list(range(1369, 1379))]
    assert image_positions(15, 81)[-1, -1] == 1368
