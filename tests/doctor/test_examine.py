"""Every wrong set-up is named, the right one is not blamed: on a policy whose answers are a known function of what it sees."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rtx.doctor.examine import examine
from rtx.errors import UserError
from tests.doctor import planted
from tests.doctor.known_world import Known, contract, recording, without_stamps

ROBOT = "sim_panda"


def examined(episodes, asker=None, promised=None, **options):
    return examine(episodes, promised or contract(), ROBOT, asker or Known(), **options)


@pytest.mark.parametrize("seed", range(2))
def test_the_right_set_up_is_sound(seed):
    diagnosis = examined(recording(seed))
    assert diagnosis.is_sound, diagnosis.findings
    assert all(d.error < 0.35 * d.spread for d in diagnosis.dimensions if d.spread > 0.01)


@pytest.mark.parametrize("aspect", planted.PLANTS)
def test_a_planted_fault_is_named(aspect):
    episodes = [planted.PLANTS[aspect](episode) for episode in without_stamps(recording())]
    first = examined(episodes).findings[0]
    assert first.aspect == aspect
    assert first.change
    assert "p = " in first.evidence


def test_wrong_statistics_are_named():
    """The checkpoint holds another robot's: the doctor says whose, for it is one of the checkpoint's."""
    other = contract().statistics["sim_sawyer"]
    wrong = planted.wrong_statistics(contract(), ROBOT, "sim_sawyer")
    right_elsewhere = dataclasses.replace(wrong, statistics={**wrong.statistics, "sim_sawyer": contract().statistics[ROBOT]})
    assert wrong.statistics[ROBOT] == other
    first = examined(recording(), Known(right_elsewhere), right_elsewhere).findings[0]
    assert first.aspect == "statistics"
    assert "those of 'sim_sawyer' do" in first.finding


def test_half_the_rate_is_read_off_the_stamps_where_there_are_any():
    first = examined([planted.half_rate(episode) for episode in recording()]).findings[0]
    assert first.aspect == "rate"
    assert "2.5 Hz" in first.finding
    assert "5 Hz" in first.finding


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (planted.gripper_command_inverted, "gripper's command is turned round"),
        (planted.gripper_inverted, "in command and state"),
        (
            lambda episode: planted.late(episode, 0.2, state=False),
            "the pictures are about 200 ms (1 frame) older than the state",
        ),
        (lambda episode: planted.late(episode, 0.4), "pictures and state are about 400 ms (2 frames) old"),
        (lambda episode: planted.cropped(episode, 0.55), "only about the middle 55%"),
    ],
)
def test_the_finding_says_which_kind_it_is(plant, words):
    assert words in examined([plant(episode) for episode in without_stamps(recording())]).findings[0].finding


def test_one_camera_of_two_is_told_from_both():
    def wrist_only(episode):
        return dataclasses.replace(episode, channel_order={"primary": "rgb", "wrist": "bgr"})

    first = examined([wrist_only(episode) for episode in recording()]).findings[0]
    assert first.finding == "red and blue are exchanged in the pictures of 'wrist' (BGR, not RGB)"


def test_training_pictures_find_a_crop_that_this_policy_does_not_mind():
    class Blind(Known):
        """Knows the way by heart: the episode's own goal is what is left of it."""

        def ask(self, observations):
            shown = [
                dataclasses.replace(seen, images={role: np.full_like(image, 80) for role, image in seen.images.items()})
                for seen in observations
            ]
            return super().ask(shown)

    cropped = [planted.cropped(framed(episode)) for episode in recording(1)]
    trained = [framed(episode) for episode in recording(2, num_episodes=24)]
    assert not [f for f in examined(cropped, Blind()).findings if f.aspect == "crop"]
    first = examined(cropped, Blind(), trained=trained).findings[0]
    assert first.aspect == "crop"
    assert "distance from training's" in first.evidence
    assert not [f for f in examined([framed(e) for e in recording(3)], Blind(), trained=trained).findings if f.aspect == "crop"]


def framed(episode):
    """The same with a dark table edge all round, as a camera that stands still would show."""
    from rtx.images import encode_png

    def drawn(role, t):
        picture = episode.picture(role, t).copy()
        picture[:3], picture[-3:], picture[:, :3], picture[:, -3:] = 10, 10, 30, 30
        return encode_png(picture)

    return dataclasses.replace(
        episode, encoded={role: tuple(drawn(role, t) for t in range(len(episode))) for role in episode.encoded}
    )


def test_a_policy_that_agrees_with_nothing_is_not_called_sound():
    class Lost(Known):
        def ask(self, observations):
            return np.random.default_rng(0).normal(0, 0.1, (len(observations), 3, 8)).astype(np.float32)

    diagnosis = examined(recording(), Lost())
    assert not diagnosis.is_sound


def test_a_log_of_the_policy_itself_is_said_to_prove_little():
    episodes = recording()
    asker = Known()

    def replayed(episode):
        from rtx.doctor.replay import observation
        from rtx.doctor.suspects import NOTHING

        seen = [observation(episode, t, NOTHING, contract(), ROBOT) for t in range(len(episode))]
        return dataclasses.replace(episode, action=asker.ask(seen)[:, 0])

    diagnosis = examined([replayed(planted.swapped(episode)) for episode in episodes], asker)
    assert any("this policy's own" in note for note in diagnosis.notes)


def test_most_suspects_cost_a_third_of_the_frames():
    asker = Known()
    diagnosis = examined(recording(), asker)
    frames = len(diagnosis.replay.moments)
    asked = len({trial.suspect.shown for trial in diagnosis.trials})
    assert asker.asked < frames + 0.5 * frames * asked


def test_what_cannot_be_examined_is_refused():
    with pytest.raises(UserError, match="unknown robot 'sim_pandas'"):
        examine(recording(num_episodes=2), contract(), "sim_pandas", Known())
    other = dataclasses.replace(contract().layouts[ROBOT], action_mask=(True,) * 7 + (False,))
    with pytest.raises(UserError, match="other fields"):
        examined([dataclasses.replace(recording(num_episodes=1)[0], layout=other)])


def test_a_missing_camera_is_found_before_anything_is_asked():
    one = [dataclasses.replace(e, encoded={"primary": e.encoded["primary"]}) for e in recording(num_episodes=2)]
    asker = Known()
    diagnosis = examined(one, asker)
    assert diagnosis.findings[0].finding == "the recording has no camera 'wrist'"
    assert asker.asked == 0
