"""The guard in its own process: the loop hangs, dies, or somebody else stops the robot; the driver tells what it was told."""

import functools
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rtx.control.host import start_guard, stop_robot
from rtx.control.judge import Command
from rtx.errors import UserError, WorldError
from rtx.robots.sim_arms import SIM_ARMS
from tests.control import host_in_process

ROOT = Path(__file__).resolve().parents[2]


def told(folder):
    lines = (folder / "told.jsonl").read_text().splitlines() if (folder / "told.jsonl").exists() else []
    return [json.loads(line) for line in lines]


def until(folder, pid, wanted, *, timeout_s=60.0):
    """What the driver was told, once `wanted(list)`: waits for the guard's own process to end, or for its file to grow."""
    ended = os.pidfd_open(pid)
    try:
        for _ in range(int(timeout_s / 0.05)):
            gone = bool(select.select([ended], [], [], 0.05)[0])
            entries = told(folder)
            if wanted(entries):
                return entries
            assert not gone, f"the guard ended: {[e['what'] for e in entries]}"
    finally:
        os.close(ended)
    raise AssertionError(f"it never came: {[e['what'] for e in told(folder)]}")


def words(entries):
    return [entry["what"] for entry in entries]


@pytest.fixture(name="loop")
def _loop(tmp_path):
    """Starts the loop's program; gives its process and the guard's number once five commands were executed."""
    started = []

    def start(end):
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.control.host_in_process", str(tmp_path), end], cwd=ROOT, stdout=subprocess.PIPE
        )
        started.append(program)
        said = json.loads(program.stdout.readline())
        started.append(said["guard"])
        assert said["executed"] >= 4
        return program, said["guard"]

    yield start
    for program in started:
        if isinstance(program, int):
            with_suppressed_kill(program)
        else:
            program.kill()
            program.wait()
            program.stdout.close()


def with_suppressed_kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_loop_that_hangs_is_held_then_stopped(loop, tmp_path):
    program, guard = loop("hang")
    os.kill(program.pid, signal.SIGSTOP)  # not even its threads run
    try:
        entries = until(tmp_path, guard, lambda entries: "soft_stop" in words(entries))
        last = max(i for i, word in enumerate(words(entries)) if word == "command")
        assert words(entries)[last + 1 :].count("hold") >= 3
        log = [json.loads(line) for line in (tmp_path / "guard.jsonl").read_text().splitlines()]
        silence = [float(entry["text"].split()[-2]) for entry in log if entry["what"] == "hold"]
        assert min(silence) >= 0.4  # two periods at 5 Hz, not before
        assert not [problem for entry in entries for problem in entry["problems"]]
    finally:
        os.kill(program.pid, signal.SIGCONT)


def test_a_loop_that_is_killed_leaves_a_robot_that_stands_still_and_is_let_go(loop, tmp_path):
    program, guard = loop("die")
    program.wait(20)
    entries = until(tmp_path, guard, lambda entries: "close" in words(entries))
    after = words(entries)[max(i for i, word in enumerate(words(entries)) if word == "command") + 1 :]
    assert "soft_stop" in after
    log = [json.loads(line) for line in (tmp_path / "guard.jsonl").read_text().splitlines()]
    assert [entry["text"] for entry in log if entry["what"] == "stop"] == ["the loop is gone"]


@pytest.mark.parametrize("way", ["fifo", "signal", "terminate"])
def test_another_process_stops_the_robot(loop, tmp_path, way):
    _, guard = loop("hang")
    before = words(told(tmp_path)).count("command")
    if way == "fifo":
        stop_robot(tmp_path / "e-stop")
    else:
        os.kill(guard, signal.SIGUSR1 if way == "signal" else signal.SIGTERM)
    entries = until(tmp_path, guard, lambda entries: "soft_stop" in words(entries))
    assert words(entries).count("command") <= before + 1
    log = [json.loads(line) for line in (tmp_path / "guard.jsonl").read_text().splitlines()]
    assert [entry["what"] for entry in log][-1] == ("closed" if way == "terminate" else "e_stop")


@pytest.mark.parametrize("place", ["process", "thread"])
def test_orders_and_answers_go_through_the_pipe(tmp_path, place):
    with start_guard(host_in_process.setup(tmp_path), place=place) as robot:
        assert robot.status().mode == "stopped"
        robot.arm()
        state = robot.read()
        assert state.proprio.shape == (8,)
        robot.submit(Command(number=1, values=np.zeros(3), stamp_ns=state.stamp_ns, valid_until_ns=state.stamp_ns + 10**9))
        entries = words(told(tmp_path))
        assert "hold" in entries
        assert "command" not in entries
        robot.e_stop("a test")
        assert (robot.status().mode, robot.status().reason) == ("stopped", "e-stop: a test")
    assert "close" in words(told(tmp_path))
    with pytest.raises(WorldError, match="the guard is gone"):
        robot.read()
    with pytest.raises(WorldError, match="no guard listens"):
        stop_robot(tmp_path / "e-stop")


def test_a_driver_that_cannot_be_made_is_said_here(tmp_path):
    import dataclasses

    broken = dataclasses.replace(host_in_process.setup(tmp_path), driver=functools.partial(_no_driver, "sim_panda"))
    with pytest.raises(UserError, match="no such driver for sim_panda"):
        start_guard(broken, place="thread")
    assert SIM_ARMS["sim_panda"].name == "sim_panda"


def _no_driver(name):
    raise UserError(f"no such driver for {name}")
