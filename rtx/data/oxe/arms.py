"""One arm and its cameras, said once: the table of views gives both the embodiment's cameras and where their pictures lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rtx.data.record import ImageKey
from rtx.images import ChannelOrder
from rtx.robots.hardware import limits
from rtx.spec import ActionField, ActionSpace, Camera, Embodiment, Field

FRANKA_HAND_M = 0.08
"""Between the fingers of an open Franka hand; each finger moves half of it."""


class View(NamedTuple):
    """A camera: its key under `observation/`, the stored height and width in pixels, and how the file orders the channels."""

    key: str
    height: int
    width: int
    channel_order: ChannelOrder = "rgb"
    mounting: str = ""


def arm(
    name: str,
    views: Mapping[str, View],
    *,
    hz: float,
    action: tuple[ActionField, ...],
    proprio: tuple[Field, ...] = (),
    hardware: str = "franka",
    morphology: str = "single arm",
) -> Embodiment:
    """The robot of one data set. `action` and `proprio` are native, as the set stores them; limits follow the hardware."""
    return Embodiment(
        name=name,
        morphology=morphology,
        cameras=tuple(
            Camera(role=role, resolution=(v.height, v.width), channel_order=v.channel_order, mounting=v.mounting)
            for role, v in views.items()
        ),
        proprio=proprio,
        action=ActionSpace(fields=action),
        control_hz=hz,
        limits=limits(hardware, hz),
    )


def images(views: Mapping[str, View]) -> dict[str, ImageKey]:
    """Role -> where the pictures are."""
    return {role: ImageKey(path=f"observation/{v.key}", channel_order=v.channel_order) for role, v in views.items()}
