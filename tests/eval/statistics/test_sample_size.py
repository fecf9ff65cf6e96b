"""Episodes needed: the published closed form, and power that is had where those numbers are really played."""

import numpy as np
import pytest

from rtx.errors import UserError
from rtx.eval.statistics.comparison import Comparison
from rtx.eval.statistics.rates import Rate, mcnemar_exact
from rtx.eval.statistics.sample_size import Question, paired_episodes, paired_power, plan_text, unpaired_episodes

CASES = [Question(delta=0.3, rate=0.4), Question(delta=0.1, rate=0.8, family=4)]


def test_two_proportions_as_published():
    """Fleiss 1981, table A.3 without continuity correction: 0.5 against 0.55 and 0.6 against 0.8, power 0.8."""
    assert unpaired_episodes(Question(delta=0.05, rate=0.5)) == 1565
    assert unpaired_episodes(Question(delta=0.2, rate=0.6)) == 82


def played(question: Question, episodes: int, draws: int) -> list[Comparison]:
    first, second = ((question.discordance + sign * question.delta) / 2 for sign in (1, -1))
    both = question.rate - second
    counts = np.random.default_rng(0).multinomial(episodes, [first, second, both, 1 - first - second - both], draws)
    return [
        Comparison(
            first=Rate(b + k, episodes), second=Rate(c + k, episodes), only_first=b, only_second=c,
            p_value=mcnemar_exact(b, c), alpha=question.level,
        )
        for b, c, k, _ in counts.tolist()
    ]  # fmt: skip


@pytest.mark.parametrize("question", CASES)
def test_the_numbers_have_the_power_that_they_say(question):
    """Judged by the very comparison that an evaluation prints."""
    called = [one.verdict for one in played(question, paired_episodes(question), 2000)]
    assert abs(called.count("better") / 2000 - question.power) < 0.036  # four standard errors
    assert "worse" not in called


def test_one_episode_less_is_too_few_and_none_more_falls_below():
    for question in CASES:
        enough = paired_episodes(question)
        assert paired_power(question, enough - 1) < question.power
        assert all(paired_power(question, enough + more) >= question.power for more in range(12))


def test_more_comparisons_and_less_overlap_need_more():
    plain = Question(delta=0.1)
    for harder in (Question(delta=0.1, family=8), Question(delta=0.1, differ=0.5), Question(delta=0.1, power=0.9)):
        assert paired_episodes(harder) > paired_episodes(plain)
    assert paired_episodes(plain) < unpaired_episodes(plain)


def test_the_text_says_what_was_assumed():
    text = plan_text(Question(delta=0.05, rate=0.7, family=3))
    for words in (
        "5 points with 80 % chance",
        "70 % by one, 75 % by the other",
        "paired",
        "not paired",
        "divided by 3 comparisons",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"delta": 0.0}, "delta 0.0 must lie between 0 and 1"),
        ({"delta": 0.2, "rate": 0.9}, "make more than 1"),
        ({"delta": 0.2, "differ": 0.1}, "between 0.2 and 0.8"),
        ({"delta": 0.2, "family": 0}, "family 0"),
    ],
)
def test_questions_that_make_no_sense(wrong, words):
    with pytest.raises(UserError, match=words):
        Question(**wrong)
