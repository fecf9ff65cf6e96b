"""Does a new robot's data fit the checkpoint: same numbers in and out, same cameras? If not, which mode makes it fit.

union of its layouts == the checkpoint's      every mode
wider, or of another meaning                  new_head: head (and what else has another shape) from fresh parameters
cameras it lacks                              seen as missing, as in training
cameras that the checkpoint lacks             not used; new_head uses them
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rtx.data.prepared import PreparedSet
from rtx.embodiment import ActionSpace, Embodiment, dim_names, union_of
from rtx.errors import UserError
from rtx.finetune.base import Base
from rtx.models.rt1.config import RT1Config
from rtx.models.vla.config import VLAConfig
from rtx.spec import Contract

_SAID_BY_CHOICE = ("gripper", "terminate")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """`misfit`: why the checkpoint's head and inputs cannot do for this robot; "" where they can."""

    misfit: str
    unused_cameras: tuple[str, ...]
    lacking_cameras: tuple[str, ...]

    def lines(self) -> list[str]:
        """What a user should know about cameras."""
        found = []
        if self.unused_cameras:
            cameras = ", ".join(self.unused_cameras)
            found.append(f"cameras: {cameras} not used, for the checkpoint never saw such; --mode new_head uses them")
        if self.lacking_cameras:
            found.append(f"cameras: the robot has no {', '.join(self.lacking_cameras)}; the policy sees it as missing")
        return found


def fit_of(contract: Contract, prepared: PreparedSet) -> Fit:
    """Raises UserError where they have no camera in common."""
    roles = prepared.roles
    if not set(roles) & set(contract.roles):
        raise UserError(
            f"the checkpoint looks through {', '.join(contract.roles)}, the robot has {', '.join(roles) or 'no camera'}; give "
            "one of its cameras such a role, or take --mode new_head"
        )
    return Fit(
        misfit=_misfit(contract, prepared),
        unused_cameras=tuple(role for role in roles if role not in contract.roles),
        lacking_cameras=tuple(role for role in contract.roles if role not in roles),
    )


def _misfit(contract: Contract, prepared: PreparedSet) -> str:
    try:
        action, proprio = union_of((*contract.layouts.values(), prepared.layout))
    except UserError as error:
        return str(error)
    new = [name for name in action.dim_names if name not in contract.action.dim_names]
    felt = [name for name in dim_names(proprio) if name not in dim_names(contract.proprio)]
    parts = [f"it is commanded by {', '.join(new)}"] if new else []
    parts += [f"its state has {', '.join(felt)}"] if felt else []
    return f"{' and '.join(parts)}, which no robot of the checkpoint has" if parts else ""


def check_robot(robot: Embodiment, prepared: PreparedSet) -> None:
    """Raises UserError where the data are of a robot that is commanded, or measured, or filmed otherwise."""
    other = prepared.embodiment
    wrong = [
        f"{what}: the file has {_names(mine)}, the data {_names(theirs)}"
        for what, mine, theirs in (
            ("action", robot.action.fields, other.action.fields), ("state", robot.proprio, other.proprio),
        )
        if mine != theirs
    ]  # fmt: skip
    if set(prepared.roles) - set(robot.roles):
        wrong.append(f"cameras: the file has {', '.join(robot.roles)}, the data {', '.join(prepared.roles)}")
    if robot.control_hz != other.control_hz:
        wrong.append(f"rate: the file has {robot.control_hz:g} Hz, the data {other.control_hz:g} Hz")
    if wrong:
        raise UserError(
            f"the data at {prepared.path} are not of the robot {robot.name!r}:\n  " + "\n  ".join(wrong)
            + "\nMend the robot's file, or bring the data in with a record of what their numbers mean"
        )  # fmt: skip


def _names(fields: tuple[Any, ...]) -> str:
    return ", ".join(f"{field.name}[{field.width}] {field.unit}" for field in fields)


def remade(base: Base, action: ActionSpace, proprio_width: int) -> Any:
    """The model's config with a head for `action` and inputs for so many numbers of state. Raises UserError for a family
    whose head is made for one action space."""
    config = base.model.config
    if isinstance(config, RT1Config):
        chosen = tuple(
            i for i, name in enumerate(action.dim_names) if name.split(".")[0].removeprefix("left_") in _SAID_BY_CHOICE
        )
        return dataclasses.replace(config, action_dims=action.width, categorical_dims=chosen, proprio_dims=proprio_width)
    if isinstance(config, VLAConfig):
        head = "l1" if config.says_actions else config.head
        return dataclasses.replace(
            config, head=head, bins="uniform", bin_values=(), merges=(), action_dims=action.width, terminate=None
        )
    if action.width != config.action_dims:
        raise UserError(
            f"mode new_head: a {base.family} says {config.action_dims} numbers of its own order and no others; this robot has "
            f"{', '.join(action.dim_names)}. Fine-tune a checkpoint of another family"
        )
    return config
