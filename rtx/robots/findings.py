"""What `rtx robots check` finds, and how it is told: the place in the record, the line of the file, what to do."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rtx.tables import text_table

Level = Literal["problem", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem must be mended before the arm moves; a note says what was assumed, or could not be looked at."""

    level: Level
    where: str  # path in the record: "limits.max_step_m", "action.gripper", "cameras.primary"
    text: str


def problem(where: str, text: str) -> Finding:
    return Finding(level="problem", where=where, text=text)


def note(where: str, text: str) -> Finding:
    return Finding(level="note", where=where, text=text)


@dataclass(frozen=True, kw_only=True)
class Move:
    """One motion of the dry run: from home, so many steps in one direction. Distances in m, or rad for turns."""

    name: str
    unit: str
    wanted: float
    reached: float
    off: float  # how far the gripper point ended from where it should be; turns: about which angle
    joint_speed: float  # fastest joint on the way, rad/s
    said: str  # "ok", or why it fell short


@dataclass(frozen=True, kw_only=True)
class Report:
    """Of one robot. `looked_at`: what was checked, in words; `moves`: the dry run, empty without kinematics."""

    name: str
    looked_at: tuple[str, ...]
    findings: tuple[Finding, ...]
    moves: tuple[Move, ...] = ()
    file: Path | None = None

    @property
    def problems(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "problem")

    def text(self) -> str:
        lines = [f"{self.name}: looked at {', '.join(self.looked_at)}"]
        if self.moves:
            lines += ["", "dry run from home, in simulation", _indented(_move_table(self.moves))]
        for level, head in (("problem", "to mend"), ("note", "to know")):
            found = [finding for finding in self.findings if finding.level == level]
            if found:
                lines += ["", head, *(f"  {self._place(f)}: {f.text}" for f in found)]
        return "\n".join([*lines, "", "problems: " + (str(len(self.problems)) if self.problems else "none")])

    def _place(self, finding: Finding) -> str:
        line = line_of(self.file, finding.where) if self.file else None
        return f"{finding.where} (line {line})" if line else finding.where


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _move_table(moves: Sequence[Move]) -> str:
    rows = [
        (m.name, f"{m.wanted:.3f} {m.unit}", f"{m.reached:.3f} {m.unit}", f"{m.off:.4f}", f"{m.joint_speed:.2f}", m.said)
        for m in moves
    ]
    return text_table(("motion", "wanted", "reached", "off", "joint rad/s", "result"), rows)


def line_of(path: Path, where: str) -> int | None:
    """Where a user's file says what `where` names: the keyword it ends with, or the field or camera of that name."""
    names = where.split(".")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name in reversed(names):
        lines = [node.value.lineno for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == name]
        lines += [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value == name and name]
        if lines:
            return min(lines)
    return None
