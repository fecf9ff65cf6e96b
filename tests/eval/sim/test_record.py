"""Recording for real at small size: the data do not depend on workers or kills, and mean what the expert commanded."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rtx.data.prepare import prepare
from rtx.data.simulated import SIMULATED
from rtx.errors import UserError
from rtx.eval.sim import demonstration
from rtx.eval.sim.crew import Agenda, StagedJob
from rtx.eval.sim.demonstration import HOLD_STEPS, Demonstration, Job
from rtx.eval.sim.record import VERSION, Recipe, record_sim, recorded_set
from rtx.images import decode
from rtx.robots.adapter import Adapter
from rtx.robots.sim_arms import SIM_ARMS

_SCRIPT = Path(__file__).with_name("record_in_process.py")
_ROOT = Path(__file__).resolve().parents[3]
_ARMS = tuple(SIM_ARMS)
_TWO = ("sim_panda", "sim_kinova3")
_WHAT = {"arms": _ARMS, "episodes_per_arm": 3, "seed": 5, "image_size": 64}


class Recording:
    """`record_sim` in a process; staged files are linked into `keep` as they appear, since it removes them in the end."""

    def __init__(self, out: Path, keep: Path, *, arms: tuple[str, ...], num_workers: int) -> None:
        self._staging, self._keep = out / ".recording", keep
        keep.mkdir()
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, str(_SCRIPT), str(out), json.dumps({**_WHAT, "arms": arms, "num_workers": num_workers})]
        with open(keep / "out", "w") as stdout, open(keep / "log", "w") as stderr:
            self.process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env={**os.environ, "PYTHONPATH": path})

    def wait(self, enough: Callable[["Recording"], bool] = lambda recording: False) -> None:
        """Until `enough` or the end."""
        while self.process.poll() is None and not enough(self):
            for file in self._staging.glob("*/*.npz"):
                if not (link := self._keep / f"{file.parent.name}-{file.name}").exists():
                    os.link(file, link)
            time.sleep(0.1)

    def finish(self) -> list[str]:
        self.wait()
        assert self.process.returncode == 0, (self._keep / "log").read_text()
        return json.loads((self._keep / "out").read_text())

    @property
    def kept(self) -> list[Path]:
        return sorted(self._keep.glob("*.npz"))

    def children(self) -> list[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _records(out: Path) -> dict[str, str]:
    files = [file for arm in _TWO for file in (out / arm / VERSION).glob("*.tfrecord*")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recording]:
    """Every arm, uninterrupted, by two workers."""
    folder = tmp_path_factory.mktemp("recorded")
    recording = Recording(folder / "out", folder / "keep", arms=_ARMS, num_workers=2)
    assert recording.finish() == [str(folder / "out" / arm / VERSION) for arm in _ARMS]
    return folder / "out", recording


def test_killed_and_run_again_by_fewer_workers_gives_the_same_bytes(recorded: tuple[Path, Recording], tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = Recording(out, tmp_path / "first", arms=_TWO, num_workers=2)
    first.wait(lambda recording: len(recording.kept) >= 2)
    children = first.children()
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    assert len(children) >= 2
    for _ in range(100):
        if not any(map(_is_alive, children)):
            break
        time.sleep(0.1)
    assert not any(map(_is_alive, children)), "simulators outlived their parent"
    assert not any((out / arm).exists() for arm in _TWO)
    half = first.kept[0].read_bytes()[:-100]
    staged = next((out / ".recording").glob("*/*.npz")).parent
    (staged / ".000002_lift.npz.1.part").write_bytes(half)  # what a killed writer of a file leaves

    second = Recording(out, tmp_path / "second", arms=_TWO, num_workers=1)
    second.finish()
    for file in first.kept:
        assert file.stat().st_ino == (tmp_path / "second" / file.name).stat().st_ino, f"{file.name} was simulated again"
    assert _records(out) == _records(recorded[0])
    assert sorted(p.name for p in out.iterdir()) == sorted(_TWO), "staging stayed behind"


def test_finished_sets_are_left_alone_and_other_recipes_refused(recorded: tuple[Path, Recording]) -> None:
    out, _ = recorded
    start = time.monotonic()
    assert record_sim(out, **_WHAT) == [out / arm / VERSION for arm in _ARMS]
    assert time.monotonic() - start < 5
    with pytest.raises(UserError, match=r"num_episodes: has 3, asked 4.*delete it or choose another folder"):
        record_sim(out, **{**_WHAT, "episodes_per_arm": 4})
    summary = recorded_set(out / _ARMS[0] / VERSION)
    assert summary.num_episodes == 3
    assert summary.num_failed >= 0
    assert summary.num_bytes > 10_000


@pytest.mark.parametrize("arm", _ARMS)
def test_the_reader_gets_the_experts_actions_and_the_robots_state(
    arm: str, recorded: tuple[Path, Recording], tmp_path: Path
) -> None:
    """Written through one set of conversions, read through another."""
    out, recording = recorded
    staged = [demonstration.load(file) for file in recording.kept if file.name.startswith(arm)]
    prepared = prepare(SIMULATED[arm], out / arm / VERSION, tmp_path, num_workers=1)
    seen = 0
    for split, count in (("train", 2), ("val", 1)):
        part = prepared.split(split)
        assert part.num_episodes == count
        for start, end in zip(part.episode_start[:-1], part.episode_start[1:], strict=True):
            rows = slice(int(start), int(end))
            original = _same_actions(staged, part.action[rows])
            np.testing.assert_allclose(part.proprio[rows], Adapter(SIM_ARMS[arm]).proprio(original.proprio), atol=1e-5)
            assert prepared.languages[part.language_id[start, 0]] == original.instruction
            seen += 1
    assert seen == len(staged) == 3


def _same_actions(staged: list[Demonstration], action: np.ndarray) -> Demonstration:
    """The demonstration whose canonical actions these are, within float32 of the native form."""
    found = [d for d in staged if len(d) == len(action) and np.allclose(d.canonical, action, atol=1e-5)]
    assert len(found) == 1
    return found[0]


def test_demonstrations_end_standing_still(recorded: tuple[Path, Recording]) -> None:
    for file in recorded[1].kept:
        demo = demonstration.load(file)
        assert not demo.canonical[-HOLD_STEPS:, :6].any()
        assert (demo.canonical[-HOLD_STEPS:, 6] == demo.canonical[-HOLD_STEPS - 1, 6]).all()
        assert demo.canonical[:, 7].tolist() == [0.0] * (len(demo) - 1) + [1.0]
        for role in ("primary", "wrist"):
            pictures = [decode(data) for data in demo.images[role]]
            assert len(pictures) == len(demo)
            assert pictures[0].shape == (64, 64, 3)
            assert max(picture.std() for picture in pictures) > 10, f"{role}: nothing to see"


def test_tasks_take_turns_and_more_episodes_extend_a_set() -> None:
    small, large = (Recipe(arm="sim_panda", tasks=("a", "b"), num_episodes=n, seed=0, image_size=64) for n in (5, 40))
    assert [job.task for job in small.jobs()] == ["a", "b", "a", "b", "a"]
    assert large.jobs()[:5] == small.jobs()
    assert (small.num_val, large.num_val) == (1, 2)
    assert small.fingerprint == large.fingerprint


@pytest.mark.parametrize("num_workers", [1, 2, 3, 5])
def test_agenda_hands_out_each_job_once_and_changes_arms_rarely(num_workers: int) -> None:
    counts = {"a": 10, "b": 7, "c": 12, "d": 3}
    jobs = [Job(arm=arm, task="reach", index=i, seed=0) for arm, count in counts.items() for i in range(count)]
    agenda = Agenda([StagedJob(job=job, path=Path("x")) for job in jobs])
    arms: list[str | None] = [None] * num_workers
    done: list[Job] = []
    loads = 0
    rng = np.random.default_rng(num_workers)
    working = set(range(num_workers))
    while working:
        worker = int(rng.choice(sorted(working)))
        staged = agenda.next(arms[worker], busy=[arms[i] for i in working if i != worker])
        if staged is None:
            working.remove(worker)
            continue
        loads += staged.job.arm != arms[worker]
        arms[worker] = staged.job.arm
        done.append(staged.job)
    assert sorted(done, key=repr) == sorted(jobs, key=repr)
    assert loads <= len(counts) + num_workers - 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"arms": ("sim_panda", "sim_sawyr")}, "did you mean 'sim_sawyer'"),
        ({"tasks": ("reach", "pusch")}, "did you mean 'push'"),
        ({"tasks": ()}, "tasks are"),
        ({"episodes_per_arm": 1}, "at least 2"),
        ({"episodes_per_arm": {"sim_panda": 4}}, "sim_sawyer: 0 episodes"),
        ({"arms": ("sim_panda", "sim_panda")}, "distinct"),
        ({"num_workers": 0}, "num_workers 0"),
    ],
)
def test_wrong_requests_get_a_sentence_before_anything_starts(tmp_path: Path, change: dict, word: str) -> None:
    with pytest.raises(UserError, match=word):
        record_sim(tmp_path, **{**_WHAT, **change})
    assert list(tmp_path.iterdir()) == []
