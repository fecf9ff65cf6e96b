"""Drivers by name: `sim`, `ur:192.168.0.2`, `interbotix:/dev/ttyDXL`, and the file each of them lives in.

A name may carry an address after a colon and options after a question mark: `ur:192.168.0.2?gripper=robotiq`. Each driver
reads its own options; the SDK is imported when the driver is opened, never before.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from rtx.drivers.driver import Driver
from rtx.embodiment import Embodiment
from rtx.errors import UserError, unknown_name


@dataclass(frozen=True, kw_only=True)
class DriverSpec:
    """`name:address?key=value&...`, taken apart. `cameras`: role -> camera source (`rtx.drivers.cameras.open_camera`)."""

    name: str
    address: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    cameras: Mapping[str, str] = field(default_factory=dict)

    def take(self, **known: str) -> dict[str, str]:
        """The options, with these defaults. Raises UserError for one that is not among them."""
        for key in self.options:
            if key not in known:
                raise unknown_name(f"option of driver {self.name!r}", key, known)
        return {**known, **self.options}

    def number(self, key: str, text: str) -> float:
        """An option's text as a number. Raises UserError naming it."""
        try:
            return float(text)
        except ValueError:
            raise UserError(f"driver {self.name!r}: option {key}={text!r} is not a number") from None

    def need_address(self, example: str) -> str:
        """The part after the colon. Raises UserError with an example if there is none."""
        if not self.address:
            raise UserError(f"driver {self.name!r} needs an address: {self.name}:{example}")
        return self.address


_MODULES: Mapping[str, str] = {
    "sim": "rtx.drivers.sim",
    "ur": "rtx.drivers.ur",
    "xarm": "rtx.drivers.xarm",
    "franka": "rtx.drivers.franka",
    "interbotix": "rtx.drivers.interbotix",
    "lerobot": "rtx.drivers.lerobot",
}
"""Each has `open(spec: DriverSpec, embodiment: Embodiment) -> Driver`."""

DRIVER_NAMES: tuple[str, ...] = tuple(_MODULES)


def parse(text: str, cameras: Mapping[str, str] | None = None) -> DriverSpec:
    """Raises UserError for a driver that does not exist or options that are not `key=value`."""
    head, _, query = text.partition("?")
    name, _, address = head.partition(":")
    if name not in _MODULES:
        raise unknown_name("driver", name, _MODULES, hint="a driver is NAME, NAME:ADDRESS or NAME:ADDRESS?option=value")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise UserError(f"driver {text!r}: after '?' expected option=value, joined by '&'; got {query!r}") from None
    return DriverSpec(name=name, address=address, options=options, cameras=dict(cameras or {}))


def open_driver(name_or_spec: str, embodiment: Embodiment, *, cameras: Mapping[str, str] | None = None) -> Driver:
    """A driver that is not connected yet: `open_driver("ur:192.168.0.2", robot, cameras={"primary": "v4l2:/dev/video0"})`.

    Raises UserError for an unknown driver or option, an SDK that is not installed (it names the extra), or an embodiment
    whose vectors this robot cannot take; nothing is connected or moved.
    """
    spec = parse(name_or_spec, cameras)
    for role in spec.cameras:
        if role not in embodiment.roles:
            raise unknown_name(f"camera role of {embodiment.name!r}", role, embodiment.roles)
    driver: Driver = importlib.import_module(_MODULES[spec.name]).open(spec, embodiment)
    return driver
