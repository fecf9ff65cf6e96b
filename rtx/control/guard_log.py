"""What the guard refused, changed or decided, one JSON object a line; and the same verdicts computed again from it.

    {"what": "guard", embodiment, limits, layout, settings}                             first line of each start
    {"what": "refusal", command, newest, proprio, state_ns, now_ns, memory, judgement}  a command held, or made smaller
    {"what": "armed" | "hold" | "stop" | "e_stop" | "limits_off" | ..., now_ns, text}   what became of the robot

Numbers that JSON does not know are text: "nan", "inf", "-inf". A disk that is full loses lines, which are counted, and
never stops the guard.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from rtx.control.judge import Command, Converts, Judge, Judgement, Memory
from rtx.embodiment import Embodiment, Layout, Limits
from rtx.errors import UserError, WorldError
from rtx.spec import to_json
from rtx.typed_json import from_json

_LONGEST = 100  # numbers of a command that are kept: a wrong length is as wrong with more


class GuardLog:
    """Appends to a file; with no path it only counts. `lost`: lines that could not be written."""

    def __init__(self, path: Path | None = None) -> None:
        self.lost, self._file = 0, self._opened(path)

    def _opened(self, path: Path | None) -> TextIO | None:
        if path is None:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "a", encoding="utf-8")

    def write(self, what: str, **facts: Any) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps({"what": what, **{k: _plain(v) for k, v in facts.items()}}, allow_nan=False) + "\n")
            self._file.flush()  # a guard that is killed has said all it did
        except OSError:
            self.lost += 1

    def refusal(
        self, command: Command, judgement: Judgement, *, newest: int, proprio: np.ndarray, state_ns: int, now_ns: int,
        memory: Memory,
    ) -> None:  # fmt: skip
        """`memory`: the judge's before this verdict."""
        if self._file is None:
            return
        self.write(
            "refusal", command={**dataclasses.asdict(command), "values": _values(command.values)}, newest=newest,
            proprio=np.asarray(proprio), state_ns=state_ns, now_ns=now_ns, memory=memory, judgement=judgement,
        )  # fmt: skip

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True, kw_only=True)
class Replay:
    """`verdicts` computed again, and the lines (from 1) whose verdict came out otherwise: there should be none."""

    verdicts: int
    different: tuple[int, ...]


def replay(path: Path, adapter: Converts) -> Replay:
    """Computes each refusal of a log again, from what the log says of the robot, its limits and the moment.

    `adapter`: the robot's (`rtx.robots.adapter.make_adapter`). Raises UserError where there is no log, WorldError where a
    line is damaged (the last one may be cut off by a crash: it is left out).
    """
    judge: Judge | None = None
    verdicts, different = 0, []
    for number, entry in _lines(path):
        if entry["what"] == "guard":
            judge = judge_from_json(entry, adapter)
        if entry["what"] != "refusal":
            continue
        if judge is None:
            raise WorldError(f"{path}, line {number}: a refusal before the line that describes the guard")
        judge.memory = from_json(Memory, entry["memory"], f"line {number}")
        again = judge.judge(
            _command(entry["command"]), newest=entry["newest"], proprio=_array(entry["proprio"]), state_ns=entry["state_ns"],
            now_ns=entry["now_ns"],
        )  # fmt: skip
        verdicts += 1
        if _plain(again) != entry["judgement"]:
            different.append(number)
    return Replay(verdicts=verdicts, different=tuple(different))


def judge_from_json(entry: dict[str, Any], adapter: Converts) -> Judge:
    """The judge that a guard's first line describes."""
    return Judge(
        from_json(Embodiment, entry["embodiment"], "embodiment"), from_json(Limits, entry["limits"], "limits"), adapter,
        layout=from_json(Layout, entry["layout"], "layout"), max_age_s=entry["settings"]["max_age_s"],
        limited=not entry["settings"]["limits_off"],
    )  # fmt: skip


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.is_file():
        raise UserError(f"no such log: {path}")
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                return
            raise WorldError(f"{path}, line {number} is damaged: {error}") from error
        yield number, entry


def _values(values: Any) -> Any:
    """What came, as far as it can be written; `_command` makes something of the same verdict of it."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):
        return {"odd": repr(values)[:200]}
    if array.dtype.kind not in "fiub":
        return {"odd": f"{array.dtype}{list(array.shape)}"}
    if array.ndim != 1 or array.size > _LONGEST:
        return {"shape": list(array.shape)}
    return _plain(array.astype(np.float64))


def _command(data: dict[str, Any]) -> Command:
    values = data["values"]
    if isinstance(values, dict):
        found: Any = "odd" if "odd" in values else np.zeros(values["shape"])
    else:
        found = _array(values)
    return Command(number=data["number"], values=found, stamp_ns=data["stamp_ns"], valid_until_ns=data["valid_until_ns"])


def _array(values: list[Any]) -> np.ndarray:
    return np.array([float(x) for x in values], np.float64)


def _plain(value: Any) -> Any:
    """As JSON holds it."""
    return to_json(value.tolist() if isinstance(value, np.ndarray) else value)
