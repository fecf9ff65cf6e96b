"""Other words for the same scenes: a policy that listens and one that does not are told apart, also after a kill."""

import dataclasses
import json

import numpy as np
import pytest

from rtx.eval.language import CHANGES, PLAIN, Listener, Reworded, blanked, listen, negated, paraphrased, swapped, wordings
from rtx.eval.report.language import against_plain, as_text, section, to_json
from rtx.eval.suite import Suite, episodes
from rtx.spec import Contract, Observation
from tests.checked_html import check
from tests.eval.point_robot import ARMS, GoalPolicy, PointRobot, contract

SUITE = Suite(name="points", arms=ARMS[:1], tasks=("go",), episodes_per_cell=8, max_seconds=5.0)
TOLD = ["reach the red cube", "reach the blue cube", "push the red cube to the left", "wave"]


@pytest.mark.parametrize(
    ("change", "instruction", "wanted"),
    [
        (swapped, "reach the red cube", "reach the blue cube"),
        (negated, "reach the red cube", "do not reach the red cube"),
        (paraphrased, "push the red cube to the left", "shove the red block leftwards"),
        (paraphrased, "pick up the cube", "grab the block"),
        (paraphrased, "wave", "please wave"),
        (blanked, "reach the red cube", "do something"),
    ],
)
def test_changes_of_words(change, instruction, wanted):
    assert change(instruction, TOLD) == wanted


def test_a_suite_of_one_instruction_is_swapped_for_something_else():
    assert swapped("wave", ["wave"]) == "do something else"


def test_every_instruction_gets_each_change():
    found = wordings([*TOLD, *TOLD])
    assert set(found) == set(CHANGES)
    assert all(set(words) == set(TOLD) for words in found.values())
    assert all(words[one] != one for words in found.values() for one in TOLD)


def with_spread(std: float) -> Contract:
    """Actions spread by `std` in each dimension."""
    plain = contract()
    spread = {
        arm: dataclasses.replace(one, action=dataclasses.replace(one.action, std=(std,) * 8))
        for arm, one in plain.statistics.items()
    }
    return dataclasses.replace(plain, statistics=spread)


class Obedient(GoalPolicy):
    """Goes to the last three numbers it is told, not at all if told to do something or not to; `deaf`: always to the same."""

    def __init__(self, *, deaf: bool = False) -> None:
        super().__init__(with_spread(0.05))
        self.fingerprint += f"-deaf={deaf}"
        self._deaf, self._scenes = deaf, {}

    def act_batch(self, observations, robots):
        return [self._one(seen, robot) for seen, robot in zip(observations, robots, strict=True)]

    def _one(self, seen, robot):
        words = "go to 0.5 0.0 0.3" if self._deaf else seen.instruction
        self.speed = float(not words.startswith("do "))
        return self._act(
            dataclasses.replace(seen, instruction="go to " + " ".join(words.split()[-3:] if self.speed else "000")), robot
        )


def told() -> list[str]:
    robot, found = PointRobot(ARMS[0]), []
    for episode in episodes(SUITE):
        robot.reset(task="go", seed=episode.seed)
        found.append(robot.instruction)
    return found


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    return listen(Obedient(), SUITE, told(), tmp_path_factory.mktemp("heard"), num_workers=1, make_environment=PointRobot)


def test_a_policy_that_listens_acts_otherwise_when_told_otherwise(heard):
    rows = against_plain(heard)
    assert heard.evaluation.rate(PLAIN).value == 1.0
    assert {name: row.verdict for name, row in rows.items()} == {
        "swap": "worse", "negate": "worse", "paraphrase": "no difference shown", "blank": "worse",
    }  # fmt: skip
    assert heard.actions["paraphrase"]["delta_pos (m)"] == 0.0
    assert heard.actions["blank"]["delta_pos (m)"] > 0.02
    assert heard.shares["paraphrase"] == 0.0
    assert heard.shares["blank"] > 0.05
    assert heard.states == sum(outcome.policy_calls for outcome in heard.evaluation.select(PLAIN))


def test_one_that_does_not_listen_shows_zeros(tmp_path):
    few = dataclasses.replace(SUITE, episodes_per_cell=2)
    found = listen(Obedient(deaf=True), few, told(), tmp_path, num_workers=1, make_environment=PointRobot)
    assert all(value == 0.0 for of_change in found.actions.values() for value in of_change.values())
    assert {row.verdict for row in against_plain(found).values()} == {"no difference shown"}


def test_section_text_and_numbers(heard):
    text = " ".join(check(section(heard)).text)
    for words in ("change of delta_pos (m)", "do not go to", "do something", "worse", f"{heard.states} states"):
        assert words in text
    assert "paraphrase" in as_text(heard)
    assert json.loads(json.dumps(to_json(heard)))["blank"]["verdict"] == "worse"


def test_a_state_met_again_after_a_kill_counts_once(tmp_path):
    policy = Obedient()
    changed = {"blank": Reworded(policy, {}, "blank")}
    robot, seen = PointRobot(ARMS[0]), GoalPolicy(contract())
    listener = Listener(policy, changed, tmp_path / "actions.jsonl")
    robot.reset(task="go", seed=1)
    picture = np.zeros((1, 16, 16, 3), np.uint8)
    state = Observation(
        images=dict.fromkeys(seen.contract.roles, picture), image_mask=dict.fromkeys(seen.contract.roles, np.ones(1, bool)),
        proprio=np.zeros((1, 10), np.float32), instruction=robot.instruction, stamp_ns=0,
    )  # fmt: skip
    listener.act_batch([state], [ARMS[0]])
    with open(tmp_path / "actions.jsonl", "a") as file:
        file.write('{"by": "torn')
    again = Listener(policy, changed, tmp_path / "actions.jsonl")
    again.act_batch([state, state], [ARMS[0], ARMS[0]])
    assert len(again.heard()) == 1
