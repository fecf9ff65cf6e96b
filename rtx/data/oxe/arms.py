"""One arm and its cameras, said once: the table of views gives both the embodiment's cameras and where their pictures lie.

Robots that `rtx.robots` knows by themselves are referred to, and only the keys of their pictures are said here (`keys`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rtx.data.record import ImageKey
from rtx.embodiment import ActionField, Camera, Embodiment, Field
from rtx.images import ChannelOrder
from rtx.robots.hardware import embodiment


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
    """The robot of one data set. `action` and `proprio` are native, as the set stores them; limits are the hardware's."""
    cameras = tuple(
        Camera(role=role, resolution=(v.height, v.width), channel_order=v.channel_order, mounting=v.mounting)
        for role, v in views.items()
    )
    return embodiment(name, hardware, cameras, hz=hz, action=action, proprio=proprio, morphology=morphology)


def images(views: Mapping[str, View]) -> dict[str, ImageKey]:
    """Role -> where the pictures are."""
    return {role: ImageKey(path=f"observation/{v.key}", channel_order=v.channel_order) for role, v in views.items()}


def keys(robot: Embodiment, **by_role: str) -> dict[str, ImageKey]:
    """Role -> where the pictures of a robot of `rtx.robots` are, under `observation/`."""
    return {
        camera.role: ImageKey(path=f"observation/{by_role[camera.role]}", channel_order=camera.channel_order)
        for camera in robot.cameras
    }
