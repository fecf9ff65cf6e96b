"""RT-1's mask, written out."""

from __future__ import annotations

import numpy as np

from rtx.models.rt1.transformer import attention_mask, bin_basis

_, X = False, True


def test_mask_by_step() -> None:
    """Two frames of two context tokens, then two action tokens: nobody sees an action token, actions see all context."""
    expected = [
        # frame 0 | frame 1 | actions
        [X, X, _, _, _, _],
        [X, X, _, _, _, _],
        [X, X, X, X, _, _],
        [X, X, X, X, _, _],
        [X, X, X, X, _, _],
        [X, X, X, X, _, _],
    ]
    np.testing.assert_array_equal(attention_mask(num_frames=2, context=2, num_actions=2, causal="step"), expected)


def test_mask_by_token_as_released() -> None:
    """Context tokens see only tokens at or before themselves."""
    expected = [
        [X, _, _, _, _, _],
        [X, X, _, _, _, _],
        [X, X, X, _, _, _],
        [X, X, X, X, _, _],
        [X, X, X, X, _, _],
        [X, X, X, X, _, _],
    ]
    np.testing.assert_array_equal(attention_mask(num_frames=2, context=2, num_actions=2, causal="token"), expected)


def test_one_frame() -> None:
    expected = [[X, X, _], [X, X, _], [X, X, _]]
    np.testing.assert_array_equal(attention_mask(num_frames=1, context=2, num_actions=1, causal="step"), expected)


def test_bin_basis_spans_smooth_peaks_and_the_two_ends() -> None:
    """Least squares finds any Gaussian wider than a wave in it, and a spike on the first or last bin but on no other."""
    basis = bin_basis(64, 16)
    assert basis.shape == (18, 64)

    def residual(target: np.ndarray) -> float:
        solution, *_ = np.linalg.lstsq(basis.T, target, rcond=None)
        return float(np.abs(basis.T @ solution - target).max())

    assert residual(np.exp(-0.5 * np.square((np.arange(64) - 20.3) / 4.0))) < 0.02
    assert residual(np.eye(64)[63]) < 1e-4
    assert residual(np.eye(64)[0]) < 1e-4
    assert residual(np.eye(64)[30]) > 0.5
