"""What is around the examination: RLDS on disk, the real server and real clients over the socket, text, page, wrong input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtx.cli import main
from rtx.data import catalogue
from rtx.doctor.examine import examine
from rtx.doctor.page import html, text
from rtx.doctor.recording import load_episodes
from rtx.doctor.replay import Served, observation, serving
from rtx.doctor.suspects import NOTHING
from rtx.errors import UserError
from rtx.serve.rlds import RobotSet, Step, open_folder
from rtx.serve.server import Options
from tests.browser import check_page
from tests.checked_html import check, reaches
from tests.doctor.known_world import Known, contract, recording
from tests.doctor.planted import swapped
from tests.serve.conftest import serving as serve_in_thread
from tests.small_policy import echo_policy

ROBOT = "sim_panda"


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory) -> Path:
    """The known world's episodes as `rtx serve --record` writes them."""
    folder = tmp_path_factory.mktemp("served")
    open_folder(folder)
    robot_set = RobotSet(folder, contract(), ROBOT)
    for episode in recording(num_episodes=3):
        steps = [
            Step(
                images={role: encoded[t] for role, encoded in episode.encoded.items()}, state=episode.proprio[t],
                chunk=np.repeat(episode.action[t][None], 3, 0), instruction=episode.instructions[t],
                stamp_ns=1 + t * 200_000_000,
            )
            for t in range(len(episode))
        ]  # fmt: skip
        robot_set.write(
            steps, dict.fromkeys(("robot", "policy", "checkpoint", "episode", "started", "cut"), "") | {"control_hz": 5.0}
        )
    return folder


def test_what_a_server_recorded_is_read_as_it_was(folder):
    record = catalogue.find("served_sim_panda", folder / "records.py")
    loaded, made = load_episodes(folder, record, most=10), recording(num_episodes=3)
    assert len(loaded) == 3
    assert loaded[0].is_served
    for ours, theirs in zip(loaded, made, strict=True):
        np.testing.assert_array_equal(ours.action, theirs.action)
        np.testing.assert_array_equal(ours.proprio, theirs.proprio)
        np.testing.assert_array_equal(ours.picture("wrist", 2), theirs.picture("wrist", 2))
        np.testing.assert_array_equal(np.diff(ours.stamp_ns), 200_000_000)
        assert ours.instructions == theirs.instructions


def test_a_folder_without_episodes_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_episodes(tmp_path / "nowhere", catalogue.find("sim_panda"), most=1)


def test_the_served_path_answers_as_the_policy_does():
    policy = echo_policy()
    episode = recording(num_episodes=1)[0]
    seen = [observation(episode, t, NOTHING, policy.contract, ROBOT) for t in range(len(episode))]
    with serving(policy) as url:
        served = Served(url, ROBOT, policy.contract)
        answers, waits = served.ask(seen), served.round_trips_ms(seen[:3])
        assert served.fingerprint == policy.contract.fingerprint()
        served.close()
    here = np.stack([chunk.actions for chunk in policy.act_batch(seen, [ROBOT] * len(seen))])
    np.testing.assert_allclose(answers, here, atol=1e-5)
    assert waits.shape == (3,)
    assert np.all(waits > 0)


def test_a_server_that_wants_a_token_is_asked_with_it():
    policy, token = echo_policy(), "a-token-of-the-doctors-own"
    with serve_in_thread(policy, options=Options(token=token)) as server:
        served = Served(server.url, ROBOT, policy.contract, token=token)
        assert served.fingerprint == policy.contract.fingerprint()
        served.close()
        with pytest.raises(UserError, match="token"):
            Served(server.url, ROBOT, policy.contract)


def test_page_and_text_say_the_same_and_need_nothing_else(tmp_path):
    diagnosis = examine([swapped(episode) for episode in recording()], contract(), ROBOT, Known(), policy="<known>",
                        trained=recording(9))  # fmt: skip
    page, said = html(diagnosis), text(diagnosis)
    assert [problem for problem in reaches(page) if not problem.startswith("img")] == []
    words = " ".join(check(page.replace("<img ", "<br ")).text)
    first = diagnosis.findings[0]
    for part in (first.finding, first.change, "<known>", "delta_pos.0"):
        assert part in words
    assert f"found: camera order: {first.finding}" in said
    assert "change: exchange the two streams" in said
    (tmp_path / "page.html").write_text(page)
    assert check_page(tmp_path / "page.html") == []


def test_wrong_input_is_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["doctor", str(tmp_path / "nowhere"), "--robot", ROBOT, "--data", str(tmp_path)])
    assert exit_.value.code == 2
    assert "no such folder" in capsys.readouterr().err
