"""A policy behind a real server, as an evaluation asks it: the same answers, and patience with a server that restarts."""

import threading

import numpy as np
import pytest

from rtx.errors import UserError, WorldError
from rtx.eval.served import ServedPolicy
from tests.serve.conftest import serving
from tests.small_policy import echo_policy, observation


@pytest.fixture(scope="module")
def policy():
    return echo_policy()


def served_by(server, policy):
    return ServedPolicy(server.url, contract=policy.contract, checkpoint=policy.fingerprint)


def test_the_answers_of_the_policy_itself_in_the_robots_time(policy):
    with serving(policy) as server:
        served = served_by(server, policy)
        for robot, stamp in (("sim_panda", 0), ("sim_iiwa", 10**15)):
            seen = observation(robot=robot, state=0.3)
            seen = type(seen)(**{**vars(seen), "stamp_ns": stamp})
            (answer,), expected = served.act_batch([seen], [robot]), policy.act(seen, robot=robot)
            np.testing.assert_array_equal(answer.actions, expected.actions)
            assert (answer.names, answer.stamp_ns) == (expected.names, stamp)
            assert answer.valid_until_ns == expected.valid_until_ns
        served.close()


def test_a_restart_costs_nothing_but_time(policy):
    with serving(policy) as server:
        served, port = served_by(server, policy), server.port
    answers = []
    asking = threading.Thread(target=lambda: answers.extend(served.act_batch([observation()], ["sim_panda"])))
    asking.start()
    with serving(policy, port=port):
        asking.join(60)
    served.close()
    np.testing.assert_array_equal(answers[0].actions, policy.act(observation(), robot="sim_panda").actions)


def test_a_server_that_stays_away_ends_the_evaluation(policy, monkeypatch):
    monkeypatch.setattr("rtx.eval.served._TOGETHER_S", 0.0)
    with serving(policy) as server:
        served = served_by(server, policy)
    with pytest.raises(WorldError, match=r"disconnected.*finished episodes are kept"):
        served.act_batch([observation()], ["sim_panda"])
    served.close()


def test_what_the_server_refuses_ends_it_too(policy):
    with serving(policy) as server:
        served = served_by(server, policy)
        with pytest.raises(WorldError, match=r"refuses a simulated frame: bad_observation: .*sim_ur5e"):
            served.act_batch([observation()], ["sim_ur5e"])
        served.close()


def test_nobody_there_and_another_policy(policy):
    with serving(policy) as server:
        with pytest.raises(UserError, match="checkpoint_fingerprint: this robot expects another"):
            ServedPolicy(server.url, contract=policy.contract, checkpoint="another")
        gone = server.url
    with pytest.raises(WorldError, match="is `rtx serve` running"):
        ServedPolicy(gone, contract=policy.contract, checkpoint=policy.fingerprint)
    with pytest.raises(UserError, match="no address of a policy server"):
        ServedPolicy("http://x", contract=policy.contract, checkpoint="another")
