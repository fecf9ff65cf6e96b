"""Two evaluations side by side: `rtx eval compare A B`. Paired where they met the same scenes, else as two lots.

A/results.json, B/results.json --by scene and seed--> pairs --> verdicts: all, by robot, task, split (Holm)
                                                        |-----> times and distances, bootstrapped over pairs
                                                        `-----> episodes that only one solved, with films --> page, text
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import get_args

from rtx.errors import UserError, unknown_name
from rtx.eval.outcome import Outcome
from rtx.eval.report.films import film_cards
from rtx.eval.report.rate_tables import NOTE, TITLES, comparison_rows, in_words, verdict
from rtx.eval.results import Evaluation, Group, load_evaluation, short_rate
from rtx.eval.statistics.across import corrected
from rtx.eval.statistics.comparison import Comparison, compare, compare_unpaired
from rtx.eval.statistics.differences import bootstrap_difference
from rtx.eval.statistics.rates import Rate
from rtx.files import atomic
from rtx.page import count, page, terms
from rtx.tables import html_table, text_table

_MOST_LISTED = 200


@dataclass(frozen=True)
class Side:
    """One policy of one evaluation."""

    label: str
    evaluation: Evaluation
    policy: str

    @cached_property
    def played(self) -> dict[tuple[str, int], Outcome]:
        """By scene and seed: the same key is the same episode in any evaluation."""
        return {(outcome.episode, outcome.seed): outcome for outcome in self.evaluation.select(self.policy)}


@dataclass(frozen=True)
class SideBySide:
    first: Side
    second: Side

    @cached_property
    def pairs(self) -> list[tuple[Outcome, Outcome]]:
        """Episodes that both played, in the first's order."""
        return [(one, self.second.played[key]) for key, one in self.first.played.items() if key in self.second.played]

    @property
    def sequential(self) -> bool:
        """Whether one of them was free to stop by what it saw."""
        return any(side.evaluation.planned is not None for side in (self.first, self.second))

    def compare(self, keep: Callable[[Outcome], bool] = lambda _: True) -> Comparison:
        """On the pairs, or on everything that both played of what is kept if there is no pair at all."""
        if self.pairs:
            kept = [(one, other) for one, other in self.pairs if keep(one)]
            return compare(
                {one.episode: one.success for one, _ in kept}, {one.episode: other.success for one, other in kept},
                sequential=self.sequential,
            )  # fmt: skip
        lots = [[outcome.success for outcome in side.played.values() if keep(outcome)] for side in (self.first, self.second)]
        return compare_unpaired(*(Rate(sum(lot), len(lot)) for lot in lots))

    def compare_each(self, by: Group) -> dict[str, Comparison]:
        groups = dict.fromkeys(getattr(outcome, by) for side in (self.first, self.second) for outcome in side.played.values())

        def row(group: str) -> Comparison:
            return self.compare(lambda outcome: getattr(outcome, by) == group)

        rows = {group: row(group) for group in groups if group}
        return corrected({group: row for group, row in rows.items() if row.first.trials and row.second.trials})

    def differing(self) -> list[tuple[Outcome, Outcome]]:
        """Pairs that only one solved, those first that only the second did."""
        return sorted((pair for pair in self.pairs if pair[0].success != pair[1].success), key=lambda pair: pair[0].success)

    def played_differently(self) -> list[str]:
        """What else differs between the two but the policies; nothing, if the comparison is a clean one."""
        one, other = (side.evaluation for side in (self.first, self.second))
        fields = {
            "suite": (one.suite.name, other.suite.name),
            "actions executed of a chunk": (one.settings.replan, other.settings.replan),
            "safety filter": (one.settings.safety, other.settings.safety),
            "seconds of an episode": (one.suite.max_seconds, other.suite.max_seconds),
        }
        return [f"{name}: {a} against {b}" for name, (a, b) in fields.items() if a != b]


def side(given: str) -> Side:
    """`DIR` or `DIR:POLICY`, DIR holding results.json or being a run with one evaluation. Raises UserError for others."""
    folder, policy = Path(given), ""
    if not folder.exists() and ":" in given:
        name, _, policy = given.rpartition(":")
        folder = Path(name)
    if not (folder / "results.json").exists():
        found = sorted(path.parent for path in folder.glob("eval*/results.json"))
        if len(found) != 1:
            inside = f"; it holds {', '.join(map(str, found))}" if found else ""
            raise UserError(f"{folder} holds no results.json of an evaluation{inside}. Name the folder that rtx eval wrote")
        folder = found[0]
    evaluation = load_evaluation(folder)
    if policy and policy not in evaluation.policies:
        raise unknown_name("policy", policy, evaluation.policies)
    return Side(given, evaluation, policy or evaluation.main)


def compare_folders(first: str, second: str, out: Path | None = None) -> str:
    """Writes the page (default: `compare.html` in the first's folder) and returns what to print."""
    both = SideBySide(side(first), side(second))
    if first == second:
        raise UserError(f"{first} is compared with itself; to compare policies of one evaluation, say DIR:POLICY")
    path = out or both.first.evaluation.out / "compare.html"
    with atomic(path) as file:
        file.write(compare_page(both).encode())
    return f"{as_text(both)}\nPage: {path.resolve()}"


def as_text(both: SideBySide) -> str:
    """A line over all, a table, and what was not compared."""
    whole = both.compare()
    rows = [
        [in_words(name), short_rate(row.first), short_rate(row.second), row.gap_text, row.verdict]
        for by in get_args(Group)
        for name, row in both.compare_each(by).items()
    ]
    rows.append(["all", short_rate(whole.first), short_rate(whole.second), whole.gap_text, whole.verdict])
    lines = [
        text_table(["", both.first.label, both.second.label, "difference", "verdict of the first"], rows),
        "",
        f"{both.first.label} against {both.second.label}: {whole.verdict} ({whole.reason}).",
        _scope(both),
    ]
    lines += [f"Not the same: {text}." for text in both.played_differently()]
    return "\n".join(lines)


def _scope(both: SideBySide) -> str:
    left = [len(side.played) - len(both.pairs) for side in (both.first, both.second)]
    if not both.pairs:
        return f"No episode is shared: two lots of {left[0]} and {left[1]}, by Fisher's exact test."
    test = "a test for any time, as an evaluation was free to stop early" if both.sequential else "the exact McNemar test"
    rest = f"; {left[0]} and {left[1]} more have no partner and were left out" if any(left) else ""
    return f"{count(len(both.pairs), 'episode')} played by both, by {test}{rest}."


def compare_page(both: SideBySide) -> str:
    """The page: one file, nothing fetched."""
    labels = [both.first.label, both.second.label]
    whole = both.compare()
    head = (
        f"<h1>{escape(labels[0])} against {escape(labels[1])}</h1><p class='dim'>{escape(_scope(both))}</p>"
        f"<p><b>{verdict(whole)}</b> <span class='dim'>({escape(whole.reason)})</span></p>"
    )
    differently = "".join(f"<p class='worse'>Not the same: {escape(text)}.</p>" for text in both.played_differently())
    columns = [*labels, "difference", "p"]
    tables = "".join(_table(by, columns, rows, whole) for by in TITLES if (rows := both.compare_each(by)))
    note = f"<p class='note'>{NOTE}</p>"
    policies = {
        label: f"{side.policy} {side.evaluation.policies[side.policy]}, {side.evaluation.out}"
        for label, side in zip(labels, (both.first, both.second), strict=True)
    }
    made = f"<h2>How it was made</h2>{terms(policies)}"
    return page(f"{labels[0]} against {labels[1]}", [head, differently, tables, note, _measures(both), _episodes(both), made])


def _table(by: Group, columns: Sequence[str], rows: Mapping[str, Comparison], whole: Comparison) -> str:
    last = comparison_rows({"all": whole})[0]
    return f"<h2>By {TITLES[by]}</h2>{html_table([TITLES[by], *columns], comparison_rows(rows), last=last)}"


MEASURES: Mapping[str, Callable[[Outcome, Outcome], tuple[float, float] | None]] = {
    "seconds, where both solved it": lambda one, other: (one.seconds, other.seconds) if one.success and other.success else None,
    "cm left to go, where neither did": lambda one, other: (
        (100 * one.final_distance_m, 100 * other.final_distance_m)
        if not one.success and not other.success and one.final_distance_m is not None and other.final_distance_m is not None
        else None
    ),
}
"""By what it is called: of a pair, both values, or None where they cannot be compared."""


def _measures(both: SideBySide) -> str:
    rows = []
    for name, measure in MEASURES.items():
        values = [found for pair in both.pairs if (found := measure(*pair)) is not None]
        if not values:
            continue
        first, second = ([float(pair[i]) for pair in values] for i in (0, 1))
        interval = bootstrap_difference(first, second)
        gap = (sum(first) - sum(second)) / len(values)
        span = f"{gap:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})" if interval else f"{gap:+.2f} (too few pairs)"
        rows.append([name, f"{len(values)}", *(f"{sum(lot) / len(lot):.2f}" for lot in (first, second)), span])
    if not rows:
        return ""
    table = html_table(["mean", "pairs", both.first.label, both.second.label, "difference"], rows)
    return f"<h2>More than success</h2>{table}<p class='note'>Intervals, 95 %, by bootstrap-t over the pairs.</p>"


def _episodes(both: SideBySide) -> str:
    """Those that only one solved: as a list, and as films where there are any."""
    pairs = both.differing()
    if not pairs:
        return ""
    rows = [
        [
            one.arm, one.task, in_words(one.split), f"{one.index}", one.instruction,
            *("solved" if outcome.success else "not solved" for outcome in (one, other)),
        ]
        for one, other in pairs[:_MOST_LISTED]
    ]  # fmt: skip
    rest = f" The first {_MOST_LISTED} of {len(pairs)}." if len(pairs) > _MOST_LISTED else ""
    table = html_table(["robot", "task", "split", "number", "instruction", both.first.label, both.second.label], rows)
    films = [
        (outcome, path)
        for pair in pairs
        for side, outcome in zip((both.first, both.second), pair, strict=True)
        if outcome.video and (path := side.evaluation.videos / outcome.video).exists()
    ]
    cards, left = film_cards(films)
    shown = f"<p class='note'>Recorded ones of them.{left}</p><div class='videos'>{''.join(cards)}</div>" if cards else ""
    return (
        "<h2>Episodes that only one solved</h2>"
        f"<p class='note'>Those first that only {escape(both.second.label)} did.{rest}</p>{table}{shown}"
    )
