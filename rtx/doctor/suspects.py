"""What can be wrong between a robot and a policy, each as its own undoing: what the policy would be shown without the fault,
and how its answer would stand in a log that was made with the fault.

    recorded frame t --(roles, zoom, redraw, lags, state, words)--> observation --policy--> actions --answer--> as logged

If the policy agrees clearly better with the log once a fault is undone, that fault is there. The logged actions are never
touched, so every suspect is measured against the same numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from rtx.doctor.turned import Actions, States, by_yaw, frames_known, into_tool, out_of_tool, yawed_state
from rtx.embodiment import RELATIVE_KINDS, ActionSpace, Layout, field_slices
from rtx.spec import Contract, Normalizer

Answer = Callable[[Float[np.ndarray, "n k a"], States], Actions]  # answers, recorded state -> as the log would have them
ZOOMS = (0.85, 0.7, 0.55)
LATENCIES_S = (0.1, 0.2, 0.3, 0.45, 0.6)


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """One possible fault. `aspect` is what it is about, `finding` what would be wrong, `change` what to do, in plain words.

    `zoom` below 1: the recorded picture is only the middle of what it should show; above 1: it shows more. Lags are frames:
    what is recorded at t was seen that much earlier. `shown` names what the policy sees: suspects that share it share answers.
    """

    aspect: str
    finding: str
    change: str
    shown: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)  # role -> recorded role that really shows it
    redraw: Mapping[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    zoom: float = 1.0
    picture_lag: int = 0
    state_lag: int = 0
    state: Callable[[States], States] | None = None
    words: Callable[[str], str] | None = None
    answer: Answer | None = None

    @property
    def of_pictures(self) -> bool:
        """Whether it is about single pictures, so that training pictures can tell too."""
        return bool(self.roles or self.redraw) or self.zoom != 1.0


def first(answers: Float[np.ndarray, "n k a"], _: States) -> Actions:
    """The action that belongs to the frame itself."""
    return answers[:, 0]


NOTHING = Suspect(aspect="", finding="", change="")


def suspects(contract: Contract, robot: str, *, own: Mapping[str, Normalizer]) -> list[Suspect]:
    """Everything worth asking about. `own`: normalizers "action" and "proprio" by the recording's own statistics."""
    layout, embodiment = contract.layouts[robot], contract.embodiments[robot]
    roles = tuple(role for role in contract.roles if role in embodiment.roles)
    return [
        *_cameras(roles), *_colours(roles), *_crops(), *_mountings(roles), *_grippers(layout),
        *_frames(layout, embodiment.action), *_rates(contract, layout), *_latencies(embodiment.control_hz),
        *_statistics(contract, robot, own), _words(),
    ]  # fmt: skip


def _cameras(roles: Sequence[str]) -> list[Suspect]:
    return [
        Suspect(
            aspect="camera order", finding=f"the cameras {a!r} and {b!r} are exchanged",
            change=f"exchange the two streams where the driver names them: what it calls {a!r} is {b!r}",
            shown=f"swap {a} {b}", roles={a: b, b: a},
        )
        for a, b in itertools.combinations(roles, 2)
    ]  # fmt: skip


def _colours(roles: Sequence[str]) -> list[Suspect]:
    groups = [tuple(roles)] + ([(role,) for role in roles] if len(roles) > 1 else [])
    return [
        Suspect(
            aspect="colour order", finding=f"red and blue are exchanged in the pictures of {_names(group)} (BGR, not RGB)",
            change=f'turn the channels round in the driver, or say channel_order="bgr" for {_names(group)} in the record',
            shown=f"bgr {group}", redraw=dict.fromkeys(group, _bgr),
        )
        for group in groups
    ]  # fmt: skip


def _crops() -> list[Suspect]:
    tight = [
        Suspect(
            aspect="crop", finding=f"the pictures show only about the middle {zoom:.0%} of what the policy was trained on",
            change="feed the whole picture: take the crop (or digital zoom) out of the driver, the policy resizes by itself",
            shown=f"zoom {zoom}", zoom=zoom,
        )
        for zoom in ZOOMS
    ]  # fmt: skip
    wide = [
        Suspect(
            aspect="crop", finding=f"the pictures show more than in training, which was about their middle {zoom:.0%}",
            change=f"crop the middle {zoom:.0%} of each side in the driver, take black bars off, or set the lens back",
            shown=f"zoom {1 / zoom:.2f}", zoom=1 / zoom,
        )
        for zoom in ZOOMS
    ]  # fmt: skip
    return tight + wide


def _mountings(roles: Sequence[str]) -> list[Suspect]:
    kinds = (
        ("upside down", lambda picture: picture[::-1, ::-1], "turn the picture by 180 degrees"),
        ("mirrored", lambda picture: picture[:, ::-1], "switch the camera's mirroring off"),
    )
    return [
        Suspect(
            aspect="camera mounting", finding=f"the pictures of {role!r} are {kind}", change=f"{change} in the driver",
            shown=f"{kind} {role}", redraw={role: turn},
        )
        for role in roles
        for kind, turn, change in kinds
    ]  # fmt: skip


def _grippers(layout: Layout) -> list[Suspect]:
    commanded, measured = _gripper(layout.action.slices), _gripper(field_slices(layout.proprio))
    known = commanded is not None and all(layout.action_mask[i] for i in range(commanded.start, commanded.stop))
    sensed = measured is not None and all(layout.proprio_mask[i] for i in range(measured.start, measured.stop))
    turned_command: Answer | None = None
    if known:
        assert commanded is not None

        def turned_command(answers: np.ndarray, _: States, at: slice = commanded) -> Actions:
            return _turned(answers[:, 0], at)

    def turned_state(state: States) -> States:
        assert measured is not None
        return _turned(state, measured)

    sense = "look at `closed` and `opened` of the gripper in the robot's file, and exchange the two"
    found = []
    if known:
        found.append(
            Suspect(
                aspect="gripper sense", finding="the gripper's command is turned round: open is logged as closed",
                change=f"{sense} in the action", answer=turned_command,
            )
        )  # fmt: skip
    if sensed:
        found.append(
            Suspect(
                aspect="gripper sense", finding="the gripper's measured state is turned round: open is reported as closed",
                change=f"{sense} in the state (proprio)", shown="gripper", state=turned_state,
            )
        )  # fmt: skip
    if known and sensed:
        found.append(
            Suspect(
                aspect="gripper sense", finding="the gripper is turned round, in command and state: open is taken for closed",
                change=f"{sense}, in the action and in the state", shown="gripper", state=turned_state, answer=turned_command,
            )
        )  # fmt: skip
    return found


def _frames(layout: Layout, native: ActionSpace) -> list[Suspect]:
    if not frames_known(layout):
        return []
    in_tool = any(f.kind == "delta_pos" and f.frame == "tool" for f in native.fields)
    return [_other_frame(layout, in_tool), *(_yawed(layout, degrees) for degrees in (90, 180, -90))]


def _other_frame(layout: Layout, in_tool: bool) -> Suspect:
    """For a hand that points straight down the two ways round look alike, so the file says which one it must be."""
    said, meant = ("tool", "base") if in_tool else ("base", "tool")
    turn = out_of_tool if in_tool else into_tool
    return Suspect(
        aspect="frame",
        finding=f"the commands are in the {meant}'s frame, the robot's file takes them for the {said}'s",
        change=f'say frame="{meant}" for position and rotation of the action in the robot\'s file (or send {said}-frame ones)',
        answer=lambda answers, state: turn(layout, answers[:, 0], state),
    )


def _yawed(layout: Layout, degrees: int) -> Suspect:
    turn = math.radians(degrees)
    return Suspect(
        aspect="frame", finding=f"the base frame is turned by {degrees} degrees about the vertical",
        change=f"turn poses and commands by {-degrees} degrees about z in the driver, so that x points as in training",
        shown=f"yaw {degrees}", state=lambda state: yawed_state(layout, state, -turn),
        answer=lambda answers, _: by_yaw(layout, answers[:, 0], turn),
    )  # fmt: skip


def _rates(contract: Contract, layout: Layout) -> list[Suspect]:
    relative = layout.action.per_dim(lambda f: f.kind in RELATIVE_KINDS).astype(bool)
    found = [
        Suspect(
            aspect="rate", finding="each step covers half a control period: the robot runs at about twice the policy's rate",
            change="run the control loop at the policy's rate; each action is a whole step of that rate",
            answer=lambda answers, _: np.where(relative, answers[:, 0] / 2, answers[:, 0]),
        )
    ]  # fmt: skip
    if contract.chunk > 1:
        found.append(
            Suspect(
                aspect="rate", finding="each step covers two control periods: the robot runs at about half the policy's rate",
                change="run the control loop at the policy's rate, or have the adapter convert it: two actions fit one step",
                answer=lambda answers, _: np.where(relative, answers[:, 0] + answers[:, 1], answers[:, 1]),
            )
        )  # fmt: skip
    return found


def _latencies(control_hz: float) -> list[Suspect]:
    lags = sorted({max(1, round(seconds * control_hz)) for seconds in LATENCIES_S})
    found = []
    for lag in lags:
        about = f"about {1000 * lag / control_hz:.0f} ms ({lag} frame{'s' if lag > 1 else ''})"
        found += [
            Suspect(
                aspect="latency", finding=f"pictures and state are {about} old when the action is taken",
                change="take the newest frame, stamp it when it is seen, and shorten the way: buffers, network, encoding",
                shown=f"late {lag}", picture_lag=lag, state_lag=lag,
            ),
            Suspect(
                aspect="latency", finding=f"the pictures are {about} older than the state",
                change="take the camera's newest frame (buffer of one) and pair it with the state of the same moment",
                shown=f"late pictures {lag}", picture_lag=lag,
            ),
        ]  # fmt: skip
    return found


def _statistics(contract: Contract, robot: str, own: Mapping[str, Normalizer]) -> list[Suspect]:
    layout, others = contract.layouts[robot], [name for name in contract.layouts if name != robot]
    found = [
        _renormalized(
            contract, robot, name, contract.action_normalizer(name), contract.proprio_normalizer(name),
            f"the statistics of {robot!r} in the checkpoint do not fit this robot; those of {name!r} do",
            f"ask as {name!r} if that is the robot, else put the right statistics into the checkpoint's contract",
        )
        for name in others
        if contract.layouts[name] == layout
    ]  # fmt: skip
    found.append(
        _renormalized(
            contract, robot, "own", own["action"], own["proprio"],
            f"the statistics of {robot!r} in the checkpoint do not fit this robot; those of the recording itself do",
            "compute the statistics of this robot's data (rtx data prepare, rtx data stats), fine-tune with them; check units",
        )
    )  # fmt: skip
    return found


def _renormalized(
    contract: Contract, robot: str, name: str, action: Normalizer, proprio: Normalizer, finding: str, change: str
) -> Suspect:
    mine, mine_state = contract.action_normalizer(robot), contract.proprio_normalizer(robot)
    return Suspect(
        aspect="statistics", finding=finding, change=change, shown=f"statistics {name}",
        state=lambda state: mine_state.inverse(proprio.forward(state)),
        answer=lambda answers, _: action.inverse(mine.forward(answers[:, 0])),
    )  # fmt: skip


def _words() -> Suspect:
    return Suspect(
        aspect="language", finding="capital letters and punctuation in the instructions mislead the policy",
        change="give instructions as in training: plain words in small letters, without a full stop",
        shown="plain words", words=lambda text: " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split()),
    )  # fmt: skip


def _bgr(picture: np.ndarray) -> np.ndarray:
    return picture[..., ::-1]


def _gripper(slices: Mapping[str, slice]) -> slice | None:
    return slices.get("gripper")


def _turned(vectors: Float[np.ndarray, "n d"], at: slice) -> Float[np.ndarray, "n d"]:
    turned = vectors.copy()
    turned[:, at] = 1 - turned[:, at]
    return turned


def _names(roles: Sequence[str]) -> str:
    return " and ".join(repr(role) for role in roles)
