"""The examination: checks, then a replay of the recording through the served path, then each suspect in turn.

    recording --checks--> findings                     served policy --replay--> answers against the log, per dimension
                                                            |
              every suspect: a third of the frames  --screen--> those that help --all frames, paired test--> the one that
                                                                                 training pictures, if any--> explains most

A suspect is believed if undoing it takes away at least a tenth of the error and chance would do so less than once in a hundred
examinations (Bonferroni over all suspects), or if it brings the pictures at least halfway back to those of training and the
answers do not contradict.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from rtx.doctor import checks
from rtx.doctor.agreement import Verdict, compare, errors, groups, spread
from rtx.doctor.checks import Finding, Range
from rtx.doctor.pictures import Distance, Gallery
from rtx.doctor.recording import Recorded
from rtx.doctor.replay import Asker, Moment, moments, observation, within
from rtx.doctor.suspects import NOTHING, Suspect, first, suspects
from rtx.errors import UserError, unknown_name
from rtx.spec import Contract, FieldStatistics, Normalizer, Observation, action_normalizer, proprio_normalizer

log = logging.getLogger(__name__)

ALPHA = 0.01  # of naming a fault on a right set-up, over all suspects together
LEAST_GAIN = 0.1  # of the error; less is no difference that matters
_PICTURE_GAIN = 0.5  # of the distance to training's pictures
_CONTRADICTION = -0.1  # what the answers may lose where the pictures speak for a suspect
_OWN = 0.01  # spreads: nobody but the policy itself agrees so well with it
_USELESS = 0.05  # share of the mean action's error that a policy must take away to agree at all
_BEFORE_SUSPECTS = ("cameras", "resolution", "rate", "units")  # seen directly, and making the answers meaningless


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """How one dimension of the action agrees with the log."""

    name: str
    unit: str
    error: float  # mean absolute, in `unit`
    spread: float  # of the log, in `unit`
    correlation: float  # NaN where either never changes
    counts: bool  # towards the mean error: terminate and unknown ones do not


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of one suspect. `verdict` is of all frames, or of a third of them where that was enough to drop it."""

    suspect: Suspect
    verdict: Verdict | None  # None: too few frames
    pictures: Distance | None
    screened_out: bool
    believed: bool

    @property
    def weight(self) -> float:
        """What it explains: of the answers' error, and of the pictures' distance where they were asked."""
        gain = max(self.verdict.gain, 0.0) if self.verdict else 0.0
        return gain + (1 - self.pictures.after / self.pictures.before if self.pictures else 0.0)


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Answers to recorded frames beside what was sent then."""

    moments: tuple[Moment, ...]
    answers: Float[np.ndarray, "n a"]
    logged: Float[np.ndarray, "n a"]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All that was found. `findings` in the order in which to mend them; none: the set-up is sound."""

    robot: str
    policy: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    trials: tuple[Trial, ...]
    ranges: Mapping[str, tuple[Range, ...]]  # "action", "state"
    replay: Replay | None  # None: nothing could be asked
    round_trip_ms: tuple[float, float] | None  # p50, p95
    gallery: Gallery | None
    num_episodes: int

    @property
    def is_sound(self) -> bool:
        return not self.findings


def examine(
    episodes: Sequence[Recorded],
    contract: Contract,
    robot: str,
    asker: Asker,
    *,
    policy: str = "",
    round_trips: Callable[[list[Observation]], Float[np.ndarray, " n"]] | None = None,
    doubts: Callable[[str], Sequence[str]] = lambda text: (),
    trained: Sequence[Recorded] = (),
    most_frames: int = 400,
) -> Diagnosis:
    """Examines a recording of `robot` (a name of the contract) against a policy.

    `round_trips`: measures the wait for some observations, ms. `doubts`: what a tokenizer says of an instruction. `trained`:
    episodes of the training data, to compare pictures with. Raises UserError for a robot the policy does not know or a
    recording of another layout.
    """
    if robot not in contract.embodiments:
        raise unknown_name("robot", robot, contract.embodiments, hint="A checkpoint moves only robots it was trained with")
    if episodes[0].layout != contract.layouts[robot]:
        raise UserError(f"the recording has other fields than {robot!r} in the checkpoint; is it of another kind of robot?")
    examination = _Examination(episodes, contract, robot, asker, most_frames)
    roles = [role for role in contract.roles if role in contract.embodiments[robot].roles]
    ranges = {
        "action": tuple(checks.action_ranges(episodes, contract, robot)),
        "state": tuple(checks.state_ranges(episodes, contract, robot)),
    }
    found = [*checks.check_cameras(episodes, contract, robot)]
    blank: dict[str, Any] = {"robot": robot, "policy": policy, "ranges": ranges, "num_episodes": len(episodes)}
    if any(role not in episodes[0].encoded for role in roles):
        return Diagnosis(
            findings=tuple(found), notes=(), dimensions=(), trials=(), replay=None, round_trip_ms=None, gallery=None, **blank
        )  # fmt: skip
    found += checks.check_resolution(episodes, contract, robot)
    found += checks.check_rate(episodes, contract, robot)
    found += [*checks.check_units(ranges["action"], "the action"), *checks.check_units(ranges["state"], "the state")]
    waits = None if round_trips is None else round_trips(examination.some(20))
    if waits is not None:
        found += checks.check_round_trip(waits, contract, robot)
    found += [*checks.check_gripper(episodes, contract, robot), *checks.check_motion(episodes, contract, robot)]
    texts = dict.fromkeys(text for episode in episodes for text in episode.instructions)
    found += checks.check_words(episodes, {text: list(doubts(text)) for text in texts})
    replay = examination.replay()
    gallery = Gallery(trained, episodes, roles) if trained else None
    trials = examination.trials(gallery)
    best = max((trial for trial in trials if trial.believed), key=lambda trial: trial.weight, default=None)
    if best is None:  # statistics, units and frames change the size of steps too, and say why
        found += checks.check_steps(replay.answers, replay.logged, examination.group, contract.layouts[robot])
    outside = [*checks.check_ranges(ranges["state"], "the state"), *checks.check_ranges(ranges["action"], "the action")]
    findings = _in_order(found, best, outside, examination.useless)
    return Diagnosis(
        findings=tuple(findings), notes=tuple(_notes(examination, trials, best, gallery, outside)),
        dimensions=examination.dimensions(replay), trials=tuple(trials), replay=replay, gallery=gallery,
        round_trip_ms=None if waits is None else (float(np.quantile(waits, 0.5)), float(np.quantile(waits, 0.95))), **blank,
    )  # fmt: skip


class _Examination:
    """One recording and one policy; answers are kept by what was shown, so that nothing is asked twice."""

    def __init__(self, episodes: Sequence[Recorded], contract: Contract, robot: str, asker: Asker, most: int) -> None:
        self._episodes, self._contract, self._robot, self._asker = episodes, contract, robot, asker
        self._moments = moments(episodes, most=most)
        self._answers: dict[tuple[str, Moment], np.ndarray] = {}
        self._logged = np.stack([episodes[m.episode].action[m.t] for m in self._moments])
        self._state = np.stack([episodes[m.episode].proprio[m.t] for m in self._moments])
        layout = contract.layouts[robot]
        kinds = layout.action.per_dim(lambda f: f.kind)
        self._counts = np.array(layout.action_mask) & (kinds != "terminate")
        self._scale = spread(self._logged, np.asarray(contract.statistics[robot].action.std))
        self.group = groups(np.array([m.episode for m in self._moments]))
        self._all = np.arange(len(self._moments))
        # every third episode, or of few episodes every third frame
        screen = np.array([m.episode for m in self._moments]) if len(episodes) >= 12 else self._all
        self._screen = np.flatnonzero(screen % 3 == 0)

    def some(self, count: int) -> list[Observation]:
        """Observations as recorded, evenly spaced."""
        chosen = np.linspace(0, len(self._moments) - 1, min(count, len(self._moments))).astype(int)
        return [self._observation(self._moments[i], NOTHING) for i in chosen]

    def replay(self) -> Replay:
        answers = first(self._asked(self._all, NOTHING), self._state)
        return Replay(moments=tuple(self._moments), answers=answers, logged=self._logged)

    @property
    def useless(self) -> bool:
        """Whether the answers are no nearer to the log than its own mean."""
        mean = np.broadcast_to(self._logged.mean(0), self._logged.shape)
        return bool(self._error(self._all, NOTHING).mean() > (1 - _USELESS) * self._of(mean, self._logged).mean())

    @property
    def is_own_log(self) -> bool:
        """Whether the answers are what was logged, to rounding."""
        return bool(self._error(self._all, NOTHING).mean() < _OWN)

    @property
    def num_groups(self) -> int:
        return len(np.unique(self.group))

    def trials(self, gallery: Gallery | None) -> list[Trial]:
        everyone = suspects(self._contract, self._robot, own=self._own())
        alone = [suspect for suspect in everyone if self._changes_anything(suspect)]
        found = []
        for number, suspect in enumerate(alone):
            found.append(self._trial(suspect, gallery, len(alone)))
            log.info("suspect %d of %d: %s", number + 1, len(alone), suspect.finding)
        return found

    def dimensions(self, replay: Replay) -> tuple[Dimension, ...]:
        action = self._contract.layouts[self._robot].action
        units = action.per_dim(lambda f: f.unit)
        return tuple(
            Dimension(
                name=name, unit=str(units[i]), error=float(np.mean(np.abs(replay.answers[:, i] - replay.logged[:, i]))),
                spread=float(replay.logged[:, i].std()), correlation=_correlation(replay.answers[:, i], replay.logged[:, i]),
                counts=bool(self._counts[i]),
            )
            for i, name in enumerate(action.dim_names)
        )  # fmt: skip

    def _trial(self, suspect: Suspect, gallery: Gallery | None, num_suspects: int) -> Trial:
        pictures = gallery.judge(suspect) if gallery else None
        likely = pictures is not None and pictures.after < (1 - _PICTURE_GAIN) * pictures.before
        screened = self._verdict(self._screen, suspect)
        if screened is None or (screened.gain < LEAST_GAIN / 2 and not likely):
            return Trial(suspect=suspect, verdict=screened, pictures=pictures, screened_out=True, believed=False)
        verdict = self._verdict(self._all, suspect)
        assert verdict is not None
        by_answers = verdict.gain >= LEAST_GAIN and verdict.p_value < ALPHA / num_suspects
        by_pictures = likely and verdict.gain > _CONTRADICTION
        return Trial(
            suspect=suspect, verdict=verdict, pictures=pictures, screened_out=False, believed=by_answers or by_pictures
        )

    def _verdict(self, rows: Int[np.ndarray, " n"], suspect: Suspect) -> Verdict | None:
        rows = rows[[within(self._episodes, self._moments[i], suspect) for i in rows]]
        if len(rows) < 8:
            return None
        return compare(self._error(rows, NOTHING), self._error(rows, suspect), self.group[rows])

    def _error(self, rows: Int[np.ndarray, " n"], suspect: Suspect) -> Float[np.ndarray, " n"]:
        answers = (suspect.answer or first)(self._asked(rows, suspect), self._state[rows])
        return self._of(answers, self._logged[rows])

    def _of(self, answers: np.ndarray, logged: np.ndarray) -> Float[np.ndarray, " n"]:
        return errors(answers, logged, self._scale)[:, self._counts].mean(1)

    def _asked(self, rows: Int[np.ndarray, " n"], suspect: Suspect) -> Float[np.ndarray, "n k a"]:
        wanted = [self._moments[i] for i in rows]
        new = [moment for moment in wanted if (suspect.shown, moment) not in self._answers]
        if new:
            answers = self._asker.ask([self._observation(moment, suspect) for moment in new])
            self._answers |= {(suspect.shown, moment): answer for moment, answer in zip(new, answers, strict=True)}
        return np.stack([self._answers[suspect.shown, moment] for moment in wanted])

    def _observation(self, moment: Moment, suspect: Suspect) -> Observation:
        return observation(self._episodes[moment.episode], moment.t, suspect, self._contract, self._robot)

    def _changes_anything(self, suspect: Suspect) -> bool:
        """Words that are plain already have nothing to undo."""
        words = suspect.words
        return words is None or any(words(text) != text for episode in self._episodes for text in episode.instructions)

    def _own(self) -> Mapping[str, Normalizer]:
        """Normalizers of this robot's layout by the statistics of the recording."""
        action = self._contract.layouts[self._robot].action
        return {
            "action": action_normalizer(action, _statistics([episode.action for episode in self._episodes])),
            "proprio": proprio_normalizer(_statistics([episode.proprio for episode in self._episodes])),
        }


def _in_order(found: Sequence[Finding], best: Trial | None, outside: Sequence[Finding], useless: bool) -> list[Finding]:
    """What is seen directly, the suspect that explains most, then what may be its echo only if nothing else was found."""
    direct = [finding for finding in found if finding.aspect in _BEFORE_SUSPECTS]
    later = [finding for finding in found if finding.aspect not in _BEFORE_SUSPECTS]
    if best is not None:
        named = [_finding(best)] if best.suspect.aspect not in {finding.aspect for finding in direct} else []
        return [*direct, *named, *(finding for finding in later if finding.aspect != best.suspect.aspect)]
    if not direct and not later and outside:
        return list(outside[:1])
    if not direct and not later and useless:
        return [
            Finding(
                aspect="agreement", evidence="error as large as that of the mean",
                finding="the policy agrees with this log no better than its mean action would, and no known fault explains it",
                change="check that this is the checkpoint for this robot and task; look at the page's pictures and curves",
            )
        ]  # fmt: skip
    return [*direct, *later]


def _finding(trial: Trial) -> Finding:
    said = []
    if trial.verdict is not None:
        v = trial.verdict
        said.append(f"undone, the answers' error goes from {v.before:.3f} to {v.after:.3f} spreads (p = {v.p_value:.1g})")
    if trial.pictures is not None:
        said.append(f"the pictures' distance from training's from {trial.pictures.before:.1f} to {trial.pictures.after:.1f}")
    suspect = trial.suspect
    return Finding(aspect=suspect.aspect, finding=suspect.finding, change=suspect.change, evidence="; ".join(said))


def _notes(
    examination: _Examination, trials: Sequence[Trial], best: Trial | None, gallery: Gallery | None, outside: Sequence[Finding]
) -> list[str]:
    notes = []
    if examination.is_own_log:
        notes.append(
            "the logged actions are this policy's own: they agree with it whatever it is shown, so that only pictures, ranges, "
            "rates and the log itself were judged; record demonstrations (or an operator) to judge the rest"
        )
    if examination.num_groups < 12:
        notes.append(
            f"only {examination.num_groups} groups of frames to compare, too few to prove small differences: record more"
        )
    if gallery is None:
        notes.append("no training pictures at hand: crop and colours were judged by the policy's answers alone")
    elif best is None and not gallery.is_usual:
        far = [role for role in gallery.roles if gallery.distance[role] > gallery.usual[role]]
        notes.append(
            f"the pictures of {', '.join(far)} differ from training's (another place, light or lens), by no known fault"
        )
    if best is not None:
        others = [t.suspect.finding for t in trials if t.believed and t.suspect.aspect != best.suspect.aspect]
        notes += [f"also helped, perhaps as an echo: {text}" for text in others]
        notes += [f"{finding.finding} ({finding.evidence})" for finding in outside[:3]]
    return notes


def _statistics(rows: Sequence[np.ndarray]) -> FieldStatistics:
    values = np.concatenate(rows).astype(np.float64)
    q01, q99 = np.quantile(values, (0.01, 0.99), axis=0)
    columns = (values.mean(0), values.std(0), values.min(0), values.max(0), q01, q99)
    mean, std, low, high, first_, last = (tuple(map(float, column)) for column in columns)
    return FieldStatistics(mean=mean, std=std, min=low, max=high, q01=first_, q99=last, count=len(values))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-9 and b.std() > 1e-9 else float("nan")
