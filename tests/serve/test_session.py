"""Sessions of models that remember nothing: the frames are kept and asked in full. (Those that do: test_released.py.)"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rtx.errors import UserError
from tests.small_policy import echo_policy, observation


def test_history_gathers_and_is_forgotten() -> None:
    """Echo tells the share of valid history (index 4, over -0.1..0.3) and the newest picture's level."""
    policy = echo_policy()
    session = policy.session("sim_panda")
    for _ in range(2):
        shares = [session.act(observation(level=51)).actions[0, 4] for _ in range(3)]
        np.testing.assert_allclose(shares, [0.1 + 0.2 * 0.5, 0.3, 0.3], atol=1e-6)
        session.reset()


def test_two_sessions_do_not_share_frames() -> None:
    policy = echo_policy()
    one, other = policy.session("sim_panda"), policy.session("sim_panda")
    one.act(observation())
    np.testing.assert_allclose(other.act(observation()).actions[0, 4], 0.1 + 0.2 * 0.5, atol=1e-6)


def test_episodes_that_go_on_together_are_those_that_go_on_alone() -> None:
    """Of two robots at different frames, beside a question that brings its history; a refused frame stops all of them."""
    policy = echo_policy()
    robots = ["sim_panda", "sim_iiwa", "sim_panda"]
    sessions = [policy.session(robots[0]), policy.session(robots[1]), None]
    alone = [policy.session(robots[0]), policy.session(robots[1])]
    for each in (sessions[0], alone[0]):
        assert each is not None
        each.act(observation(level=30))
    for level in (60, 90):
        seen = [observation(robot=robot, level=level + i, steps=2) for i, robot in enumerate(robots)]
        together = policy.act_batch(seen, robots, sessions)
        expected = [session.act(one) for session, one in zip(alone, seen, strict=False)]
        expected.append(policy.act(seen[2], robot=robots[2]))
        for got, wanted in zip(together, expected, strict=True):
            np.testing.assert_allclose(got.actions, wanted.actions, atol=1e-6)
        with pytest.raises(UserError, match="no words"):
            policy.act_batch([seen[0], dataclasses.replace(seen[1], instruction="?"), seen[2]], robots, sessions)


def test_what_does_not_fit_is_refused_and_not_remembered() -> None:
    policy = echo_policy()
    session = policy.session("sim_panda")
    session.act(observation())
    with pytest.raises(UserError, match=r"camera 'primary' gives \[12, 16, 3\], in this episode it was \[24, 32, 3\]"):
        session.act(observation(size=(12, 16)))
    with pytest.raises(UserError, match="no words"):
        session.act(dataclasses.replace(observation(), instruction="?"))
    np.testing.assert_allclose(session.act(observation()).actions[0, 4], 0.3, atol=1e-6)
    with pytest.raises(UserError, match="unknown robot 'sim_pand'"):
        policy.session("sim_pand")
