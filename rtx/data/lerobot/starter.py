"""What a LeRobot set tells of itself, as the facts of its starter record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rtx.data.lerobot.meta import LeRobotFeature, LeRobotSet
from rtx.data.names import camera_roles, identifier
from rtx.data.starter import Facts, Vector, numbered


def facts_of(found: LeRobotSet, *, name: str, paths: Mapping[str, tuple[str, ...]]) -> Facts:
    """`paths`: key -> path under `steps/` (`names.rlds_paths`)."""
    floats = [f for f in found.numbers if f.dtype.startswith("float") and len(f.shape) == 1]
    actions = [f for f in floats if paths[f.key][0] == "action"]
    states = [f for f in floats if paths[f.key][0] == "observation"]
    roles = camera_roles([f.key for f in found.pictures])
    left_out = [f.key for f in found.pictures if f.key not in roles.values()]
    left_out += [f"{f.key} (a depth map in a video)" for f in found.features if f.is_depth]
    sizes = {f.key: f.shape[:2] for f in found.pictures}
    return Facts(
        name=name,
        robot=found.robot,
        hz=found.fps,
        form=f"LeRobot {found.version}",
        action=_vectors(actions, paths),
        state=_vectors(states, paths),
        cameras=[(role, "/".join(paths[key]), sizes[key]) for role, key in roles.items()],
        notes=[f"not used, no camera role left or fit: {key}" for key in left_out],
    )


def _vectors(features: Sequence[LeRobotFeature], paths: Mapping[str, tuple[str, ...]]) -> list[Vector]:
    """Path and names of each, all names different: where two vectors share some, the vector's own name comes first."""
    dims = [_dims(f) for f in features]
    together = [name for names in dims for name in names]
    if len(set(together)) != len(together):
        dims = [tuple(f"{paths[f.key][-1]}_{name}" for name in names) for f, names in zip(features, dims, strict=True)]
    return [("/".join(paths[f.key]), names) for f, names in zip(features, dims, strict=True)]


def _dims(feature: LeRobotFeature) -> tuple[str, ...]:
    """One name per number: the set's own where it has one for each, else numbered."""
    names = tuple(identifier(name) for name in feature.names)
    if len(names) != feature.shape[0] or len(set(names)) != len(names):
        return numbered(feature.key.rpartition(".")[2], feature.shape[0])
    return names
