"""How smoothly and how freshly an arm was driven: jerk of where it was sent, age of what its actions answer, time it held.

jerk        third difference of the commanded positions times rate^3, m/s^3: what shakes arm, load and camera
seam        the change of velocity where one chunk follows another, m/s, largest
staleness   from the observation that an action answers to the moment it is executed, s
held        share of the periods without an action
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, kw_only=True)
class Smoothness:
    jerk_rms_m_s3: float
    jerk_peak_m_s3: float
    seam_m_s: float
    staleness_p50_s: float
    staleness_p99_s: float
    held: float
    periods: int


def jerk(positions: Float[np.ndarray, "n 3"], hz: float) -> Float[np.ndarray, " m"]:
    """`[n - 3]` lengths of the jerk between consecutive positions, m/s^3; empty for fewer than 4 positions."""
    return np.asarray(np.linalg.norm(np.diff(positions, n=3, axis=0), axis=-1) * hz**3)


class Trace:
    """Gathers one drive, a control period after the other."""

    def __init__(self, hz: float) -> None:
        self._hz = hz
        self._positions: list[np.ndarray] = []
        self._ages_s: list[float] = []
        self._stamps: list[int] = []

    def add(self, position: Float[np.ndarray, " 3"], *, age_ns: int | None, stamp_ns: int = 0) -> None:
        """`position` after this period; `age_ns` of the observation its action answers, `stamp_ns` that one's; None: held."""
        self._positions.append(np.array(position, np.float64))
        self._stamps.append(-1 if age_ns is None else stamp_ns)
        if age_ns is not None:
            self._ages_s.append(age_ns * 1e-9)

    def measured(self) -> Smoothness:
        """Of all that was added; zeros where nothing was."""
        positions = np.array(self._positions).reshape(-1, 3)
        jerks = jerk(positions, self._hz) if len(positions) > 3 else np.zeros(1)
        ages = np.array(self._ages_s or [0.0])
        return Smoothness(
            jerk_rms_m_s3=float(np.sqrt(np.mean(jerks**2))),
            jerk_peak_m_s3=float(jerks.max()),
            seam_m_s=self._seam(positions),
            staleness_p50_s=float(np.percentile(ages, 50)),
            staleness_p99_s=float(np.percentile(ages, 99)),
            held=self._stamps.count(-1) / max(len(self._stamps), 1),
            periods=len(self._stamps),
        )

    def _seam(self, positions: np.ndarray) -> float:
        changes = np.linalg.norm(np.diff(positions, n=2, axis=0), axis=-1) * self._hz if len(positions) > 2 else np.zeros(0)
        stamps = np.array(self._stamps)[2:]
        crossing = stamps != np.array(self._stamps)[1:-1]
        return float(changes[crossing].max()) if np.any(crossing) else 0.0
