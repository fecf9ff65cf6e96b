"""Does it listen? The same scenes with other words: what changes in the actions, and in success at what was wanted at first.

    plain evaluation --instructions of the suite--> changes: swap, negate, paraphrase, blank
         scenes again --Listener: each state asked with every wording--> actions.jsonl    change in actions, state by state
                      `-Reworded: played with the changed words--------> episodes.jsonl   change in success, scene by scene

A policy that follows language acts otherwise when told otherwise (swap, negate, blank), and the same when told the same in
other words (paraphrase). One that goes by the picture alone does not change at all. "Success" is at the first instruction
throughout: it ought to fall with swap, negate and blank, and to stay with paraphrase.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rtx.embodiment import field_slices
from rtx.eval.play import STANDARD, MakeEnvironment, Settings
from rtx.eval.results import Evaluation
from rtx.eval.suite import Suite
from rtx.files import disk_errors
from rtx.spec import ActionChunk, Contract, Observation

if TYPE_CHECKING:
    from rtx.eval.rollout import Policy

Change = Callable[[str, Sequence[str]], str]
PLAIN = "as given"
_OTHER_WORDS = {
    "reach": "touch", "push": "shove", "lift": "pick up", "pick up": "grab", "pick": "grab", "put": "place", "place": "put",
    "open": "pull open", "close": "shut", "stack": "set", "move to": "go over to", "go to": "move over to", "move": "bring",
    "cube": "block", "block": "cube", "to the left": "leftwards", "to the right": "rightwards", "away": "farther off",
}  # fmt: skip


def swapped(instruction: str, others: Sequence[str]) -> str:
    """Another instruction of the suite, the one most like it: as a rule the same task with another thing or direction."""
    rest = [other for other in others if other != instruction]
    return max(
        rest, key=lambda other: (difflib.SequenceMatcher(None, instruction, other).ratio(), other), default="do something else"
    )


def negated(instruction: str, others: Sequence[str]) -> str:
    return f"do not {instruction}"


def paraphrased(instruction: str, others: Sequence[str]) -> str:
    """The same in other words: each of a short list replaced once, the longest first; `please` before it if there is none."""
    known = sorted(_OTHER_WORDS, key=len, reverse=True)
    found = re.sub("|".join(rf"\b{words}\b" for words in known), lambda hit: _OTHER_WORDS[hit[0]], instruction)
    return found if found != instruction else f"please {instruction}"


def blanked(instruction: str, others: Sequence[str]) -> str:
    """Words that say nothing: policies refuse an instruction without any."""
    return "do something"


CHANGES: Mapping[str, Change] = {"swap": swapped, "negate": negated, "paraphrase": paraphrased, "blank": blanked}


def wordings(instructions: Sequence[str]) -> dict[str, dict[str, str]]:
    """By change: what becomes of each instruction of a suite."""
    told = sorted(set(instructions))
    return {name: {one: change(one, told) for one in told} for name, change in CHANGES.items()}


class Reworded:
    """The same policy, told something else."""

    def __init__(self, policy: Policy, words: Mapping[str, str], change: str) -> None:
        self._policy, self._words = policy, words
        self.contract: Contract = policy.contract
        digest = hashlib.sha256(json.dumps(dict(words), sort_keys=True).encode()).hexdigest()[:12]
        self.fingerprint = f"{policy.fingerprint}-{change}-{digest}"

    def act_batch(self, observations: Sequence[Observation], robots: Sequence[str]) -> list[ActionChunk]:
        told = [replace(seen, instruction=self._words.get(seen.instruction, seen.instruction)) for seen in observations]
        return self._policy.act_batch(told, robots)


class Listener:
    """Acts as the policy does, and writes down at every state how its actions would differ were it told something else.

    One JSON line a state, on disk before the episode it belongs to: a killed run meets the same states again and each counts
    once.
    """

    def __init__(self, policy: Policy, changed: Mapping[str, Reworded], path: Path) -> None:
        self._policy, self._changed, self._path = policy, changed, path
        self.contract: Contract = policy.contract
        self.fingerprint = f"{policy.fingerprint}-heard-" + hashlib.sha256(self._about().encode()).hexdigest()[:12]
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            kept = path.read_bytes()
            path.write_bytes(kept[: kept.rfind(b"\n") + 1])

    def _about(self) -> str:
        return " ".join(one.fingerprint for one in self._changed.values())

    def act_batch(self, observations: Sequence[Observation], robots: Sequence[str]) -> list[ActionChunk]:
        plain = self._policy.act_batch(observations, robots)
        others = {name: policy.act_batch(observations, robots) for name, policy in self._changed.items()}
        lines = []
        for i, (seen, robot) in enumerate(zip(observations, robots, strict=True)):
            gaps = {name: _gap(chunks[i], plain[i]) for name, chunks in others.items()}
            lines.append(json.dumps({"by": self.fingerprint, "state": _digest(seen, robot), "robot": robot, "gaps": gaps}))
        with disk_errors(self._path), open(self._path, "a") as file:
            file.write("".join(line + "\n" for line in dict.fromkeys(lines)))
        return plain

    def heard(self) -> list[dict]:
        """Every state once."""
        rows = [json.loads(line) for line in self._path.read_text().splitlines()]
        return list({row["state"]: row for row in rows if row["by"] == self.fingerprint}.values())


def _gap(chunk: ActionChunk, plain: ActionChunk) -> list[float]:
    """By dimension, the mean distance over the chunk; canonical units."""
    return [round(float(gap), 7) for gap in np.abs(chunk.actions - plain.actions).mean(0)]


def _digest(seen: Observation, robot: str) -> str:
    hashed = hashlib.sha256(f"{robot}\n{seen.instruction}\n{seen.stamp_ns}\n".encode())
    for array in (seen.proprio, *(seen.images[role] for role in sorted(seen.images))):
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()[:24]


@dataclass(frozen=True, kw_only=True)
class Listening:
    """What came of it. `actions[change]` maps a field's name and unit to the mean change; `shares[change]` is the mean change
    over dimensions, in standard deviations of the actions that it was trained on (None where those have none)."""

    evaluation: Evaluation
    wordings: Mapping[str, Mapping[str, str]]
    states: int
    actions: Mapping[str, Mapping[str, float]]
    shares: Mapping[str, float | None]


def listen(
    policy: Policy,
    suite: Suite,
    instructions: Sequence[str],
    out: Path,
    *,
    num_workers: int = 2,
    settings: Settings = STANDARD,
    make_environment: MakeEnvironment | None = None,
) -> Listening:
    """Plays the suite five times into `out`: as given and with each change. `instructions`: all that the suite gives.

    May be killed at any time and called again.
    """
    from rtx.eval.evaluate import evaluate

    words = wordings(instructions)
    changed = {name: Reworded(policy, words[name], name) for name in CHANGES}
    listener = Listener(policy, changed, out / "actions.jsonl")
    evaluation = evaluate(
        {PLAIN: listener, **changed}, suite, out, num_workers=num_workers, video_per_cell=0, settings=settings,
        make_environment=make_environment,
    )  # fmt: skip
    heard = listener.heard()
    return Listening(
        evaluation=evaluation,
        wordings=words,
        states=len(heard),
        actions={name: _by_field(heard, name, policy.contract) for name in CHANGES},
        shares={name: _share(heard, name, policy.contract) for name in CHANGES},
    )


def _by_field(heard: Sequence[dict], change: str, contract: Contract) -> dict[str, float]:
    """Mean over states of the length of each field's change."""
    found: dict[str, list[float]] = {}
    for row in heard:
        fields = contract.layouts[row["robot"]].action.fields
        at, gap = field_slices(fields), np.array(row["gaps"][change])
        for field in fields:
            if field.kind != "terminate":
                unit = "" if field.unit == "1" else f" ({field.unit})"
                found.setdefault(field.name + unit, []).append(float(np.linalg.norm(gap[at[field.name]])))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _share(heard: Sequence[dict], change: str, contract: Contract) -> float | None:
    shares = []
    for row in heard:
        std = np.array(contract.statistics[row["robot"]].action.std)
        known = [
            i for i, name in enumerate(contract.layouts[row["robot"]].action.dim_names) if std[i] > 1e-9 and name != "terminate"
        ]
        if known:
            shares.append(float(np.mean(np.array(row["gaps"][change])[known] / std[known])))
    return float(np.mean(shares)) if shares else None
