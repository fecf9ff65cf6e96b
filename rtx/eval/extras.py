"""What `rtx eval` measures besides success, if asked to: language following and questions. Sections of the report and lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rtx.eval import questions
from rtx.eval.language import listen
from rtx.eval.play import MakeEnvironment
from rtx.eval.report import language as language_report
from rtx.eval.results import Evaluation
from rtx.files import write_json

if TYPE_CHECKING:
    from rtx.eval.rollout import Policy

_MOST_QUESTIONS = 500


@dataclass
class Extras:
    sections: list[str] = field(default_factory=list)  # HTML
    texts: list[str] = field(default_factory=list)

    def add_language(
        self, policy: Policy, evaluation: Evaluation, *, num_workers: int, make_environment: MakeEnvironment | None
    ) -> None:
        """Plays the suite of a finished evaluation with other words, in its folder `language`; writes `language.json`."""
        instructions = [outcome.instruction for outcome in evaluation.outcomes]
        found = listen(
            policy, evaluation.suite, instructions, evaluation.out / "language", num_workers=num_workers,
            settings=evaluation.settings, make_environment=make_environment,
        )  # fmt: skip
        write_json(evaluation.out / "language.json", language_report.to_json(found))
        self.sections.append(language_report.section(found))
        self.texts.append(language_report.as_text(found))

    def add_questions(self, answering: Sequence[questions.Answers], path: Path, out: Path) -> None:
        """Asks the first, and the second as what to compare it with; answers go to `questions.json`, `questions_other.json`."""
        asked = questions.read_questions(path, _MOST_QUESTIONS)
        files = [out / "questions.json", out / "questions_other.json"]
        now, *others = (questions.ask_all(one, asked, file) for one, file in zip(answering, files, strict=False))
        before = others[0] if others else None
        self.sections.append(questions.section(now, before))
        self.texts.append(questions.as_text(now, before))
