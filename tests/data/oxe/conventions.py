"""Every convention, by data set name, gathered from themed files; several where switches read the same keys in several ways."""

from __future__ import annotations

from collections.abc import Mapping

from tests.data.oxe.convention import Convention
from tests.data.oxe.conventions_arms import ARMS
from tests.data.oxe.conventions_franka import FRANKA
from tests.data.oxe.conventions_gnm import GNM
from tests.data.oxe.conventions_google import GOOGLE
from tests.data.oxe.conventions_mobile import MOBILE
from tests.data.oxe.conventions_others import OTHERS
from tests.data.oxe.conventions_rtx import RTX
from tests.data.oxe.conventions_widowx import WIDOWX

CONVENTIONS: Mapping[str, tuple[Convention, ...]] = {
    name: conventions
    for group in (
        WIDOWX,
        ARMS,
        FRANKA,
        GNM,
        GOOGLE,
        MOBILE,
        OTHERS,
        RTX,
    )
    for name, conventions in group.items()
}
"""The first of a set is that of its default switches."""
