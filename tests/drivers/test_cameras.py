"""Camera sources: RGB whatever the file holds, fresh or an error, at the embodiment's resolution or refused."""

import threading

import numpy as np
import pytest
from PIL import Image

from rtx.drivers.arm import ArmDriver
from rtx.drivers.cameras import LiveCamera, open_camera, open_cameras
from rtx.drivers.native import ArmModel, Measured
from rtx.errors import UserError, WorldError
from tests.drivers.robots import CAMERA, joint_arm, until_error, without_gripper

RED, BLUE = (250, 10, 20), (15, 20, 240)


def picture(color, size=(24, 32)):
    return np.broadcast_to(np.array(color, np.uint8), (*size, 3)).copy()


@pytest.fixture
def folder(tmp_path):
    for name, color in (("0.png", RED), ("1.png", BLUE)):
        Image.fromarray(picture(color)).save(tmp_path / name)
    return tmp_path


def test_pictures_come_in_order_as_rgb_over_and_over(folder):
    camera = open_camera(f"pictures:{folder}", CAMERA, clock_ns=iter(range(100, 200)).__next__)
    with pytest.raises(WorldError, match=r"not open: call connect\(\)"):
        camera.newest()
    camera.open()
    seen = [camera.newest() for _ in range(3)]
    np.testing.assert_array_equal([image[0, 0] for image, _ in seen], [RED, BLUE, RED])
    assert [stamp for _, stamp in seen] == [100, 101, 102]
    camera.close()


def test_a_palette_picture_is_rgb_too(tmp_path):
    Image.fromarray(picture(RED)).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "0.png")
    camera = open_camera(f"pictures:{tmp_path}", CAMERA)
    camera.open()
    np.testing.assert_allclose(camera.newest()[0][0, 0], RED, atol=4)


def test_a_film_is_rgb_and_starts_again(tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install rtx-robotics[cameras]")
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for color in (RED, BLUE):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture(color), format="rgb24")))
        film.mux(stream.encode(None))
    camera = open_camera(f"video:{path}", CAMERA)
    camera.open()
    colors = [camera.newest()[0].mean((0, 1)) for _ in range(3)]
    np.testing.assert_allclose(colors, [RED, BLUE, RED], atol=12)  # through YUV 4:2:0
    assert camera.newest()[0].dtype == np.uint8
    camera.close()


def test_another_resolution_is_refused_or_fitted_as_asked(tmp_path):
    Image.fromarray(picture(RED, (48, 48))).save(tmp_path / "0.png")
    camera = open_camera(f"pictures:{tmp_path}", CAMERA)
    camera.open()
    with pytest.raises(WorldError, match=r"48 x 48 .*'primary' is 24 x 32.*\?fit=stretch"):
        camera.newest()
    for fit, corner in (("stretch", RED), ("pad", (0, 0, 0))):
        fitted = open_camera(f"pictures:{tmp_path}?fit={fit}", CAMERA)
        fitted.open()
        image, _ = fitted.newest()
        assert image.shape == (24, 32, 3)
        np.testing.assert_allclose(image[0, 0], corner, atol=2)
        np.testing.assert_allclose(image[12, 16], RED, atol=2)


def test_a_live_camera_gives_its_newest_picture_and_says_when_it_hangs():
    go, now, seen = threading.Semaphore(0), [10**9], threading.Semaphore(0)

    def pictures():
        for number in range(3):
            yield picture((number, 0, 0))
            seen.release()
            go.acquire()

    camera = LiveCamera("v4l2:test", pictures, clock_ns=lambda: now[0])
    camera.open()
    first, stamp = camera.newest()
    assert (int(first[0, 0, 0]), stamp) == (0, 10**9)
    seen.acquire()
    now[0] += 33_000_000
    go.release()
    seen.acquire()  # the second one is there, and asked for after the third would be
    second, stamp = camera.newest()
    assert (int(second[0, 0, 0]), stamp) == (1, 10**9 + 33_000_000)
    now[0] += 600_000_000
    with pytest.raises(WorldError, match=r"0\.60 s old; it hangs"):
        camera.newest()
    go.release()
    go.release()
    camera.close()


def test_a_camera_that_fails_says_so_where_it_is_read():
    broken = threading.Semaphore(0)

    def pictures():
        yield picture(RED)
        broken.acquire()
        raise OSError("No such device")

    camera = LiveCamera("v4l2:test", pictures, clock_ns=lambda: 0)
    camera.open()
    camera.newest()
    broken.release()
    with pytest.raises(WorldError, match=r"No such device; plug it in again, then call connect\(\)"):
        until_error(camera.newest)


def test_sources_that_do_not_exist_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"unknown kind of camera 'v4l'; did you mean 'v4l2'"):
        open_camera("v4l:/dev/video0", CAMERA)
    with pytest.raises(UserError, match=r"unknown option of camera .* 'sise'"):
        open_camera(f"pictures:{tmp_path}?sise=24x32", CAMERA)
    with pytest.raises(UserError, match="there is no /nowhere"):
        open_camera("pictures:/nowhere", CAMERA)
    with pytest.raises(UserError, match="HEIGHTxWIDTH"):
        open_camera(f"pictures:{tmp_path}?size=640", CAMERA)
    empty = open_camera(f"pictures:{tmp_path}", CAMERA)
    empty.open()
    with pytest.raises(WorldError, match="holds no picture"):
        empty.newest()
    pytest.importorskip("av", reason="PyAV is not installed: pip install rtx-robotics[cameras]")
    with pytest.raises(WorldError, match=r"/dev/video99.*plugged in and free"):
        open_camera("v4l2:/dev/video99", CAMERA).open()


class StillArm:
    """An arm that stands at zero and counts what it is told."""

    model = ArmModel(name="a still arm", num_joints=3, takes_pose=False, knows_pose=False, has_gripper=False)

    def __init__(self):
        self.calls = []

    def measure(self):
        return Measured(joints=np.zeros(3), stamp_ns=50)

    def send(self, target, *, period_s):
        self.calls.append("send")

    def connect(self):
        self.calls.append("connect")

    def hold(self):
        self.calls.append("hold")

    def stop(self):
        self.calls.append("stop")

    def close(self):
        self.calls.append("close")


def test_a_robots_state_carries_the_oldest_stamp_and_a_lost_camera_stops_the_arm(folder):
    robot = without_gripper(joint_arm(3, cameras=(CAMERA,)))
    cameras = open_cameras({"primary": f"pictures:{folder}"}, robot.cameras)
    arm = StillArm()
    driver = ArmDriver(robot, {"": arm}, cameras)
    driver.connect()
    state = driver.read()
    assert state.stamp_ns == 50
    np.testing.assert_array_equal(state.images["primary"], picture(RED))
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(WorldError, match="cannot read"):
        until_error(driver.read)
    assert arm.calls[-1] == "stop"
    with pytest.raises(WorldError, match="not armed"):
        driver.command(np.zeros(3))
    driver.close()
    assert arm.calls[-1] == "close"
