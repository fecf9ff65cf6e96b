"""The contract read back from JSON: inverses of `rtx.spec.to_json`, as manifests and checkpoints need them.

The constructors check what they are given, so what breaks a rule raises UserError here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtx.spec import (
    ActionField,
    ActionSpace,
    Camera,
    Contract,
    Embodiment,
    Field,
    FieldStatistics,
    Layout,
    Limits,
    Statistics,
)


def action_space_from_json(data: Mapping[str, Any]) -> ActionSpace:
    return ActionSpace(
        fields=tuple(ActionField(**{**f, "low": float(f["low"]), "high": float(f["high"])}) for f in data["fields"])
    )


def _with_tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def embodiment_from_json(data: Mapping[str, Any]) -> Embodiment:
    cameras = tuple(Camera(**{**c, "resolution": tuple(c["resolution"])}) for c in data["cameras"])
    limits = Limits(**_with_tuples(data["limits"]))
    return Embodiment(
        name=data["name"],
        morphology=data["morphology"],
        cameras=cameras,
        proprio=tuple(Field(**f) for f in data["proprio"]),
        action=action_space_from_json(data["action"]),
        control_hz=data["control_hz"],
        limits=limits,
    )


def layout_from_json(data: Mapping[str, Any]) -> Layout:
    return Layout(
        action=action_space_from_json(data["action"]),
        proprio=tuple(Field(**f) for f in data["proprio"]),
        action_mask=tuple(data["action_mask"]),
        proprio_mask=tuple(data["proprio_mask"]),
    )


def statistics_from_json(data: Mapping[str, Any]) -> Statistics:
    return Statistics(
        action=FieldStatistics(**_with_tuples(data["action"])),
        proprio=FieldStatistics(**_with_tuples(data["proprio"])),
        num_episodes=data["num_episodes"],
        source=data["source"],
    )


def contract_from_json(data: Mapping[str, Any]) -> Contract:
    """Inverse of `to_json` for a `Contract`. Raises UserError (from the constructors) where the data breaks a rule."""
    return Contract(
        roles=tuple(data["roles"]),
        image_size=(data["image_size"][0], data["image_size"][1]),
        history=data["history"],
        chunk=data["chunk"],
        fit=data["fit"],
        embodiments={k: embodiment_from_json(v) for k, v in data["embodiments"].items()},
        layouts={k: layout_from_json(v) for k, v in data["layouts"].items()},
        statistics={k: statistics_from_json(v) for k, v in data["statistics"].items()},
    )
