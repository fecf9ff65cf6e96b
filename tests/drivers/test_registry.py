"""Names of drivers: taken apart, refused with the nearest name."""

import pytest

from rtx.drivers.registry import DRIVER_NAMES, open_driver, parse
from rtx.drivers.sdk import need_sdk
from rtx.errors import UserError
from rtx.robots.widowx import WIDOWX_250


def test_a_name_is_taken_apart():
    spec = parse("ur:192.168.0.2?gripper=robotiq&payload_kg=1.5", {"primary": "v4l2:/dev/video0"})
    assert (spec.name, spec.address) == ("ur", "192.168.0.2")
    assert spec.options == {"gripper": "robotiq", "payload_kg": "1.5"}
    assert spec.cameras == {"primary": "v4l2:/dev/video0"}
    assert spec.take(gripper="none", payload_kg="0", gain="300") == {"gripper": "robotiq", "payload_kg": "1.5", "gain": "300"}
    assert parse("lerobot:/dev/ttyACM0").address == "/dev/ttyACM0"


def test_what_does_not_exist_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match=r"unknown driver 'xram'; did you mean 'xarm'"):
        open_driver("xram:10.0.0.1", WIDOWX_250)
    with pytest.raises(UserError, match=r"unknown option of driver 'ur' 'griper'; did you mean 'gripper'"):
        parse("ur:1.2.3.4?griper=robotiq").take(gripper="none")
    with pytest.raises(UserError, match="option=value"):
        parse("ur:1.2.3.4?gripper")
    with pytest.raises(UserError, match=r"camera role of 'widowx_250' 'wrsit'"):
        open_driver("ur:1.2.3.4", WIDOWX_250, cameras={"wrsit": "pictures:/tmp"})


def test_a_missing_sdk_is_named_with_what_to_install():
    with pytest.raises(UserError, match=r"driver 'ur' needs rtde_kontrol: pip install rtx-robotics\[ur\]"):
        need_sdk("rtde_kontrol", driver="ur", install="rtx-robotics[ur]")


@pytest.mark.parametrize("name", [name for name in DRIVER_NAMES if name not in ("sim",)])
def test_a_real_robot_needs_its_address(name):
    with pytest.raises(UserError, match=rf"driver '{name}' needs an address: {name}:"):
        open_driver(name, WIDOWX_250)
