"""Which keys of a data set hold what a robot's own file describes: declared, or found by name and width.

    my_robot.py        ROBOT = Embodiment(...)                 what the numbers mean
                       DATA = DataKeys(action=(...), ...)      where they lie, if names and widths do not tell

What stays undecided is an error that says which line to write; nothing is guessed where two keys would fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rtx.data.features import STEPS, FeatureSpec
from rtx.data.names import camera_roles, last_word
from rtx.data.pixels import pixel_format
from rtx.embodiment import Embodiment, Field
from rtx.errors import UserError, unknown_name

_STATES = ("state", "qpos", "proprio", "robot_state", "agent_pos", "low_dim")
_INSTRUCTIONS = ("language_instruction", "natural_language_instruction", "instruction", "task", "prompt")
_SLICE = re.compile(r"(?P<key>.+?)(?:\[(?P<first>\d*):(?P<last>\d*)\])?$")


@dataclass(frozen=True, kw_only=True)
class DataKeys:
    """Where a robot's numbers, pictures and words lie, by the names the data set itself has for its keys.

    `action`, `state`: keys whose numbers, side by side, are `Embodiment.action` and `.proprio`; "qpos[0:7]" takes part of one.
    `images`: camera role -> key. `instruction`: a key; of HDF5 and Zarr also "@name", an attribute. What is empty is found by
    name and width. `channel_order` of the stored pictures; "" is that of the robot's cameras.
    """

    action: Sequence[str] = ()
    state: Sequence[str] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    instruction: str = ""
    channel_order: Literal["", "rgb", "bgr"] = ""

    def __post_init__(self) -> None:
        for name in ("action", "state"):
            if isinstance(getattr(self, name), str):
                raise UserError(f'DataKeys: {name} is a list of keys; write {name}=("{getattr(self, name)}",)')


@dataclass(frozen=True, kw_only=True)
class Part:
    """Numbers `first` to `last` (without it) of the `width` that `path`, under `steps/`, holds in each step."""

    path: str
    shape: tuple[int, ...]
    first: int
    last: int

    @property
    def width(self) -> int:
        return self.last - self.first


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where everything of the robot lies. `images`: role -> path; `instructions`: paths."""

    action: tuple[Part, ...]
    state: tuple[Part, ...]
    images: Mapping[str, str]
    instructions: tuple[str, ...]


def split_key(key: str) -> tuple[str, str, str]:
    """ "a/b[0:7]" -> ("a/b", "0", "7"); without a slice two empty texts."""
    match = _SLICE.match(key.lstrip("/"))
    assert match is not None, "anything but an empty key matches"
    return match["key"], match["first"] or "", match["last"] or ""


def joined_paths(paths: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """An importer's paths as `find_keys` takes them."""
    return {key: "/".join(path) for key, path in paths.items()}


def find_keys(
    robot: Embodiment, features: Mapping[str, FeatureSpec], keys: DataKeys, *, where: str, paths: Mapping[str, str]
) -> Found:
    """`features`: of an RLDS set. `paths`: the source's own key -> path under `steps/`; of an RLDS set they are the same.

    Raises UserError with everything that cannot be decided, and the lines that decide it.
    """
    return _Search(robot, features, keys, where, paths).found()


class _Search:
    """One search: what is found, and what is wrong."""

    def __init__(
        self, robot: Embodiment, features: Mapping[str, FeatureSpec], keys: DataKeys, where: str, paths: Mapping[str, str]
    ) -> None:
        self.robot, self.keys, self.where, self.paths = robot, keys, where, paths
        self.source_keys = {path: key for key, path in paths.items()}
        steps = {s.path.removeprefix(f"{STEPS}/"): s for s in features.values() if s.in_steps}
        self.texts = [path for path, s in steps.items() if s.dtype == "string"]
        self.pictures = [path for path, s in steps.items() if (kind := pixel_format(s)) is not None and kind.is_colour]
        self.vectors = {
            path: s.size for path, s in steps.items() if s.kind == "tensor" and not s.is_ragged and len(s.shape) < 2
        }
        self.floats = [path for path in self.vectors if steps[path].dtype.startswith("float")]
        self.shapes = {path: tuple(int(n or 0) for n in steps[path].shape) for path in self.vectors}
        self.problems: list[str] = []

    def found(self) -> Found:
        actions = [path for path in self.vectors if path.split("/")[0] == "action"]
        states = [path for path in self.floats if path.split("/")[0] not in ("action", "timestamp", "reward", "discount")]
        action = self._vector("action", self.robot.action.fields, self.keys.action, actions, ("action",))
        state = self._vector("state", self.robot.proprio, self.keys.state, states, _STATES)
        images = self._declared_images() if self.keys.images else self._images()
        instructions = self._instructions()
        if self.problems:
            raise UserError(self._message(action, state, images))
        return Found(action=action, state=state, images=images, instructions=instructions)

    def _vector(
        self, what: str, fields: Sequence[Field], declared: Sequence[str], paths: Sequence[str], usual: Sequence[str]
    ) -> tuple[Part, ...]:
        wanted = sum(f.width for f in fields)
        if declared:
            parts = [part for key in declared if (part := self._declared(key)) is not None]
            if len(parts) == len(declared) and (got := sum(part.width for part in parts)) != wanted:
                told = " + ".join(f"{key} [{p.width}]" for key, p in zip(declared, parts, strict=True))
                self.problems.append(f"{what}: {told} are {got} numbers, {self._needs(what, fields)}")
            return tuple(parts)
        by_field = [next((p for p in paths if last_word(p) == f.name and self.vectors[p] == f.width), None) for f in fields]
        if all(by_field):
            return tuple(self._whole(path) for path in by_field if path)
        fits = [path for path in paths if self.vectors[path] == wanted]
        named = [path for name in usual for path in fits if last_word(path) == name]
        if named or len(fits) == 1:
            return (self._whole((named or fits)[0]),)
        there = ", ".join(f"{self._key(path)} [{self.vectors[path]}]" for path in paths) or "none"
        several = "several keys have this width" if fits else "no key fits"
        self.problems.append(f"{what}: {self._needs(what, fields)}; {several}: {there}")
        return ()

    def _needs(self, what: str, fields: Sequence[Field]) -> str:
        told = " + ".join(f"{f.name} [{f.width}]" for f in fields) or "none"
        return f"{self.robot.name!r} has {sum(f.width for f in fields)} in its {what} ({told})"

    def _whole(self, path: str) -> Part:
        return Part(path=path, shape=self.shapes[path], first=0, last=self.vectors[path])

    def _declared(self, key: str) -> Part | None:
        name, first, last = split_key(key)
        path = self._path(name, self.vectors, "key of numbers")
        if path is None:
            return None
        width = self.vectors[path]
        start, end = int(first or 0), int(last or width)
        if not 0 <= start < end <= width:
            self.problems.append(f"{key}: {name} has {width} numbers a step")
            return None
        return Part(path=path, shape=self.shapes[path], first=start, last=end)

    def _declared_images(self) -> dict[str, str]:
        found = {role: self._path(key, self.pictures, "camera key") for role, key in self.keys.images.items()}
        if set(found) != set(self.robot.roles):
            self.problems.append(f"DataKeys.images has {sorted(found)}, the robot has {sorted(self.robot.roles)}")
        return {role: path for role, path in found.items() if path is not None}

    def _images(self) -> dict[str, str]:
        """By the role's own name, or where only one camera of its kind (fixed, on the hand) is on either side."""
        found = {role: path for role in self.robot.roles if (path := self._of_name(role)) is not None}
        left = [path for path in self.pictures if path not in found.values()]
        guess = {path: role for role, path in camera_roles([self._key(path) for path in left]).items()}
        for role in [role for role in self.robot.roles if role not in found]:
            rivals = [r for r in self.robot.roles if r not in found and _kind(r) == _kind(role)]
            fits = [path for path in left if _kind(guess.get(self._key(path), "primary")) == _kind(role)]
            exact = [path for path in fits if role.startswith("wrist_") and guess.get(self._key(path)) == role]
            if len(exact) == 1 or (len(fits) == 1 and len(rivals) == 1):
                found[role] = (exact or fits)[0]
            else:
                there = ", ".join(map(self._key, self.pictures)) or "none"
                self.problems.append(f"camera {role!r}: not clear which of the pictures it is: {there}")
        return found

    def _of_name(self, role: str) -> str | None:
        names = {role, *(f"{a}_{role}" for a in ("cam", "camera", "image", "rgb")), *(f"{role}_{b}" for b in ("image", "rgb"))}
        hits = [path for path in self.pictures if last_word(self._key(path)) in names]
        return hits[0] if len(hits) == 1 else None

    def _instructions(self) -> tuple[str, ...]:
        declared = self.keys.instruction
        if declared and not declared.startswith("@") and declared in self.paths:
            return (self.paths[declared],)
        found = [path for name in _INSTRUCTIONS for path in self.texts if last_word(path) == name]
        if not found:
            self.problems.append(
                f"instruction: no text is called one; texts: {', '.join(map(self._key, self.texts)) or 'none'}"
            )
        return tuple(found[:1])

    def _path(self, key: str, choices: Sequence[str] | Mapping[str, int], kind: str) -> str | None:
        path = self.paths.get(key.lstrip("/"), key)
        if path in choices:
            return path
        self.problems.append(str(unknown_name(kind, key, [self._key(one) for one in choices])))
        return None

    def _key(self, path: str) -> str:
        return self.source_keys.get(path, path)

    def _message(self, action: Sequence[Part], state: Sequence[Part], images: Mapping[str, str]) -> str:
        roles = {role: self._key(images[role]) if role in images else "WHICH?" for role in self.robot.roles}
        line = f"DATA = DataKeys(action={self._written(action)}, state={self._written(state)}, images={roles})"
        pictures = ", ".join(map(self._key, self.pictures)) or "none"
        numbers = ", ".join(f"{self._key(path)} [{width}]" for path, width in self.vectors.items())
        return (
            f"{self.where} does not tell by itself what is what for the robot {self.robot.name!r}:\n  - "
            + "\n  - ".join(self.problems)
            + f"\nIt holds pictures {pictures}; numbers {numbers}.\nWrite into the robot's file, WHICH? filled in:\n"
            f"  from rtx.data.robot_keys import DataKeys\n  {line}\n"
            "A part of a key is 'key[0:7]'. Where more than places differ, write a DatasetRecord (docs/data.md)."
        )

    def _written(self, parts: Sequence[Part]) -> tuple[str, ...]:
        def one(part: Part) -> str:
            whole = part.width == self.vectors[part.path]
            return self._key(part.path) + ("" if whole else f"[{part.first}:{part.last}]")

        return tuple(map(one, parts)) or ("WHICH?",)


def _kind(role: str) -> str:
    return "wrist" if role.startswith("wrist") else "fixed"
