"""Whatever is sent: an answer with a code, no traceback, no death, no growth. A million: `python -m tests.serve.fuzz`."""

import os

import pytest

from tests.serve import fuzz
from tests.small_policy import echo_policy


def test_bent_frames_are_answered_with_codes_of_the_protocol():
    found = fuzz.run_in_process(4000, seed=1)
    assert found["bad_message"] > 1000
    assert found["bad_observation"] > 100
    assert found["ok"] > 50, "frames this good go past every check"
    assert found["kib_late"] < found["kib_early"] + 20_000


def test_bent_frames_through_a_socket_leave_the_server_alive_and_small():
    found = fuzz.run_through_a_socket(1000, seed=2)
    assert found["closed"] <= 1
    assert found["bad_message"] > 200
    assert found["kib_late"] < found["kib_early"] + 20_000


@pytest.mark.slow
def test_a_million_frames():
    found = fuzz.run_in_process(1_000_000, seed=3)
    assert found["kib_late"] < found["kib_early"] + 20_000
    sent = fuzz.run_through_a_socket(50_000, seed=4)
    assert sent["kib_late"] < sent["kib_early"] + 20_000


def test_a_small_frame_cannot_take_much_memory():
    """Each byte of these could name a list of thousands, or be a list."""
    policy, empty = echo_policy(), b"\x90" * (1 << 20)
    for data in (b"\xdd\x01\xff\xff\xff" * 5000, b"\xdc\x0f\xff" * 5000, empty, b"\xdc\x0f\xff" + empty):
        before = fuzz.memory_kib(os.getpid())
        assert fuzz.answered(policy, data) == "bad_message"
        assert fuzz.memory_kib(os.getpid()) < before + 60_000
