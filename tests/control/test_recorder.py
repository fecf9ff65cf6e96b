"""What a driver showed is what is in the file, in the prepared set, and at the loader: states exactly, frames within JPEG."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from rtx.cli.record import Person
from rtx.control.episode_file import next_number
from rtx.control.recorder import record
from rtx.data.bring_in import bring_in
from rtx.drivers.driver import Driver, RobotState
from rtx.drivers.sim import SimDriver
from rtx.drivers.sim_expert import SimExpert, scene_seed
from rtx.errors import UserError, WorldError
from rtx.images import encode_jpeg
from rtx.robots.adapter import Adapter
from rtx.robots.between import Between
from rtx.robots.sim_arms import SIM_ARMS
from tests.data.episodes.small_sets import ROBOT, pictures, states

WORDS = "pour the water"


class Shown:
    """A driver that shows recorded states, one a call, and never moves: something else did. Fails at `fails_at`."""

    def __init__(self, episodes: tuple[int, ...] = (1,), fails_at: int = -1) -> None:
        self.embodiment = ROBOT
        self._rows = [(states(e)[t], pictures(e, 0)[t], pictures(e, 1)[t]) for e in episodes for t in range(len(states(e)))]
        self.num_read, self._fails_at, self.is_closed = 0, fails_at, False

    def connect(self) -> None: ...

    def read(self) -> RobotState:
        if self.num_read == self._fails_at:
            raise WorldError("the arm is gone")
        proprio, primary, wrist = self._rows[self.num_read % len(self._rows)]
        self.num_read += 1
        images = {"primary": primary, "wrist": wrist}
        return RobotState(images=images, proprio=proprio.astype(np.float64), stamp_ns=1000 * self.num_read)

    def command(self, native: np.ndarray) -> None:
        raise AssertionError("a recorder moves nothing by itself")

    def hold(self) -> None: ...

    def soft_stop(self) -> None: ...

    def close(self) -> None:
        self.is_closed = True


class Script:
    """Episodes of so many states each; `keeps` says which are kept."""

    def __init__(self, lengths: tuple[int, ...], keeps: tuple[bool, ...] | None = None) -> None:
        self._lengths, self._keeps = list(lengths), list(keeps or (True,) * len(lengths))
        self.summaries: list[str] = []

    def begin(self, number: int) -> str | None:
        return WORDS if self._lengths else None

    def is_over(self, steps: int) -> bool:
        over = steps >= self._lengths[0]
        if over:
            self._lengths.pop(0)
        return over

    def keep(self, summary: str) -> bool:
        self.summaries.append(summary)
        return self._keeps.pop(0)


class Steps:
    """A clock that is where it was asked to be; `late` periods come 0.8 of a period late."""

    def __init__(self, late: tuple[int, ...] = ()) -> None:
        self._now, self._late, self._slept = 0, late, 0

    def now_ns(self) -> int:
        return self._now

    def sleep_until(self, moment_ns: int) -> None:
        self._now = max(self._now, moment_ns) + (80_000_000 if self._slept in self._late else 0)
        self._slept += 1


def test_states_and_pictures_are_kept_as_they_were_read(tmp_path: Path):
    driver = Shown()
    assert isinstance(driver, Driver)
    done = record(driver, tmp_path, Script((9,)), robot=ROBOT, clock=Steps())
    (path,) = done.files
    assert driver.is_closed
    with h5py.File(path) as file:
        np.testing.assert_array_equal(
            file["observations/state"][:], states(1)[1:9].astype(np.float64)
        )  # one read looks for cameras
        wanted = Between(ROBOT)(np.concatenate([states(1)[1:], states(1)[:1]]).astype(np.float64))
        np.testing.assert_array_equal(file["action"][:], wanted.astype(np.float32))
        for i, role in enumerate(("primary", "wrist")):
            got = [row.tobytes() for row in file[f"observations/images/{role}"][:]]
            assert got == [encode_jpeg(picture) for picture in pictures(1, i)[1:9]]
        assert file["stamp_ns"][:].tolist() == [1000 * n for n in range(2, 10)]
        assert dict(file.attrs) == {
            "language_instruction": WORDS, "robot": "lab_arm", "control_hz": 10.0, "channel_order": "rgb"
        }  # fmt: skip
        assert file["done"][:].tolist() == [False] * 7 + [True]


def test_what_was_recorded_comes_back_from_the_prepared_set(tmp_path: Path):
    """The wrist camera of the robot's file is bgr, what drivers show is rgb: the recording says so."""
    record(Shown((1, 2)), tmp_path / "set", Script((6, 8)), robot=ROBOT, clock=Steps())
    prepared = bring_in(tmp_path / "set", ROBOT, tmp_path / "out", num_workers=1)
    assert {entry["channel_order"] for entry in prepared.images.values()} == {"rgb"}
    assert prepared.languages == (WORDS,)
    adapter, found = Adapter(ROBOT, prepared.layout), 0
    for path in sorted((tmp_path / "set").glob("*.hdf5")):
        with h5py.File(path) as file:
            native, state = file["action"][:], file["observations/state"][:]
            shown = [row.tobytes() for row in file["observations/images/wrist"][:]]
        for name in prepared.splits:
            split = prepared.split(name)
            for start, stop in zip(split.episode_start[:-1], split.episode_start[1:], strict=True):
                if stop - start != len(native):
                    continue
                found += 1
                np.testing.assert_array_equal(split.proprio[start:stop], adapter.proprio(state.astype(np.float32)))
                wanted = adapter.to_canonical(native, proprio_native=state.astype(np.float32))
                np.testing.assert_array_equal(split.action[start:stop, :7], wanted[:, :7])
                index = split.image("wrist")
                data = [split.shards[i].read_bytes() for i in range(len(split.shards))]
                places = zip(index.shard[start:stop], index.offset[start:stop], index.length[start:stop], strict=True)
                assert [data[shard][at : at + length] for shard, at, length in places] == shown, "byte for byte"
    assert found == 2


def test_what_is_discarded_leaves_nothing_and_numbers_go_on(tmp_path: Path):
    script = Script((4, 5, 6, 1), (True, False, True))
    done = record(Shown(), tmp_path, script, robot=ROBOT, clock=Steps(late=(2, 3)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episode_000000.hdf5", "episode_000001.hdf5"]
    assert (len(done.files), done.discarded) == (2, 2), "of the last nothing is left to ask about"
    assert script.summaries[0].startswith("3 steps, 0.3 s, 'pour the water'; 2 states came late")
    assert "late" not in script.summaries[1]
    record(Shown(), tmp_path, Script((4,)), robot=ROBOT, clock=Steps())
    assert next_number(tmp_path) == 3


def test_a_driver_that_fails_keeps_what_was_kept(tmp_path: Path):
    driver = Shown(fails_at=10)
    with pytest.raises(WorldError, match="the arm is gone"):
        record(driver, tmp_path, Script((6, 6)), robot=ROBOT, clock=Steps())
    assert [path.name for path in tmp_path.iterdir()] == ["episode_000000.hdf5"]
    assert driver.is_closed


def test_a_camera_without_a_source_is_named(tmp_path: Path):
    class Blind(Shown):
        def read(self) -> RobotState:
            state = super().read()
            return RobotState(images={"primary": state.images["primary"]}, proprio=state.proprio, stamp_ns=state.stamp_ns)

    with pytest.raises(UserError, match=r"no picture of wrist, a camera of 'lab_arm'; name its source: --camera wrist=v4l2"):
        record(Blind(), tmp_path, Script((4,)), robot=ROBOT, clock=Steps())


@pytest.mark.parametrize("hidden", [False, True])
def test_the_expert_of_the_simulation_is_recorded(tmp_path: Path, hidden: bool):
    """With its own commands, which do the task once more; hidden, as if led by hand, with the motion between the states."""
    arm, driver = SIM_ARMS["sim_panda"], SimDriver(SIM_ARMS["sim_panda"], task="lift", image_size=32)
    expert = SimExpert(driver, task="lift", count=1, seed=4, hides_commands=hidden)
    done = record(driver, tmp_path, expert, robot=arm, mover=expert, clock=Steps())
    with h5py.File(done.files[0]) as file:
        native, state = file["action"][:], file["observations/state"][:]
        assert "cube" in file.attrs["language_instruction"]
    canonical = Adapter(arm).to_canonical(native, proprio_native=state)
    assert canonical[[0, -1], 6].tolist() == [1, 0], "it ends holding the cube"
    if hidden:
        np.testing.assert_allclose(canonical[:-1, :3], np.diff(state[:, :3], axis=0), atol=1e-5)
        return
    again = SimDriver(SIM_ARMS["sim_panda"], image_size=32)
    again.connect()
    again.reset(task="lift", seed=scene_seed(4, done.discarded))
    for command in native:
        again.command(command)
    assert again.env.success
    again.close()


@contextlib.contextmanager
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield writing
    with contextlib.suppress(OSError):
        os.close(writing)


def test_a_person_starts_ends_and_judges(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    with at_terminal(monkeypatch) as keys:
        person = Person("")
        os.write(keys, b"\nstack\n")
        assert person.begin(3) == "stack"
        assert "write what the robot is to do" in capsys.readouterr().out
    with at_terminal(monkeypatch) as keys:
        assert not person.is_over(1)
        os.write(keys, b"\n")
        assert person.is_over(2)
        assert not person.is_over(3)
        os.write(keys, b"yes\nk\n")
        assert person.keep("9 steps")
    with at_terminal(monkeypatch) as keys:
        os.write(keys, b"\n")
        assert person.begin(4) == "stack", "Enter repeats it"
        os.write(keys, b"q\n")
        assert person.begin(5) is None
        os.write(keys, b"d\n")
        assert not person.keep("9 steps")
        os.close(keys)
        assert person.begin(6) is None, "the end of the input ends the recording"
        assert not person.keep("9 steps")
