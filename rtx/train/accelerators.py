"""What accelerators can do at best: dense bfloat16 operations a second of one device as JAX counts devices.

Makers' own figures, without sparsity: cloud.google.com/tpu/docs (system architecture, one page a version); NVIDIA's data
sheets of the A100, H100, H200, B200, L4, L40S and A10. Of what is not in the table nothing is claimed.
"""

from __future__ import annotations

_TERA = 1e12
PEAKS: tuple[tuple[str, float], ...] = (
    ("TPU v4", 275 * _TERA),
    ("TPU v5 lite", 197 * _TERA), ("TPU v5e", 197 * _TERA),
    ("TPU v5p", 459 * _TERA), ("TPU v5", 459 * _TERA),
    ("TPU v6 lite", 918 * _TERA), ("TPU v6e", 918 * _TERA),
    ("TPU7x", 2307 / 2 * _TERA),  # a chip is two devices
    ("B200", 2250 * _TERA),
    ("H200", 989 * _TERA),
    ("H100 PCIe", 756 * _TERA), ("H100 NVL", 835 * _TERA), ("H100", 989 * _TERA),
    ("A100", 312 * _TERA),
    ("L40S", 362 * _TERA), ("L4", 121 * _TERA),
    ("A10G", 70 * _TERA), ("A10", 125 * _TERA),
)  # fmt: skip
"""(part of `jax.Device.device_kind`, operations a second); the first that is found counts."""

_NOT_IT = ("GB200", "L40", "TPU v4 lite")
"""Kinds in which a name of the table is found, and which are another device; longer names of the table come first."""


def peak_flops(device_kind: str) -> float | None:
    """Of one device; None for one that the table does not know, a CPU above all."""
    if any(device_kind == name or device_kind.endswith(f" {name}") for name in _NOT_IT):
        return None
    return next((peak for name, peak in PEAKS if name in device_kind), None)
