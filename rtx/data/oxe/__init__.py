"""The Open X-Embodiment catalogue: one record per data set, gathered from small themed files."""

from __future__ import annotations

from collections.abc import Mapping

from rtx.data.oxe.bridge import BRIDGE
from rtx.data.record import DatasetRecord

OXE: Mapping[str, DatasetRecord] = {record.name: record for group in (BRIDGE,) for record in group}
"""Every record by name. Each themed file has one tuple of records; add a new file's tuple here."""
