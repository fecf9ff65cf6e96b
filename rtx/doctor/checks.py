"""What can be seen without asking the policy: shapes, sizes, rates, ranges, words, and whether the log agrees with itself.

A `Finding` is something to change; a `Note` is worth knowing. Both say what is meant in plain words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from rtx.doctor.recording import Recorded
from rtx.doctor.turned import by_yaw, frames_known, into_tool, out_of_tool
from rtx.embodiment import Layout, dim_names, field_slices
from rtx.spec import Contract, FieldStatistics

_RATE_OFF = 1.25  # times the contract's: less is jitter
_OUTSIDE = 0.5  # of the values beyond training's 1-99 %, of which 2 % are by definition
_UNITS = 15.0  # times training's spread: centimetres for metres, degrees for radians
_MIRRORED = -0.4  # correlation of the gripper's command with what it then measures
_SHORT, _LONG = 0.65, 1.15  # length of the log's steps in the answers': beyond, another rate
_ASTRAY, _FOLLOWS = 0.3, 0.7  # cosine of motion and command: no longer, and clearly


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is wrong. `aspect` as in `Suspect`; `evidence` is the figure it rests on."""

    aspect: str
    finding: str
    change: str
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Range:
    """One dimension of action or state against the statistics of the checkpoint."""

    name: str
    recorded: tuple[float, float]  # 1 and 99 %
    trained: tuple[float, float]
    outside: float  # share of the values beyond the latter


def check_cameras(episodes: Sequence[Recorded], contract: Contract, robot: str) -> list[Finding]:
    """Cameras the policy needs and the recording lacks, or that are black throughout."""
    needed = [role for role in contract.roles if role in contract.embodiments[robot].roles]
    have = set(episodes[0].encoded)
    if missing := [role for role in needed if role not in have]:
        return [
            Finding(
                aspect="cameras", finding=f"the recording has no camera {', '.join(map(repr, missing))}",
                change=f"connect it; the policy was trained with {', '.join(needed)}", evidence=f"recorded: {sorted(have)}",
            )
        ]  # fmt: skip
    lost = {role: np.mean([not data for episode in episodes for data in episode.encoded[role]]) for role in needed}
    return [
        Finding(
            aspect="cameras", finding=f"the camera {role!r} gave no picture in {share:.0%} of the frames",
            change="check its cable and driver; the policy sees black for each lost frame", evidence=f"{share:.0%} lost",
        )
        for role, share in lost.items()
        if share > 0.1
    ]  # fmt: skip


def check_resolution(episodes: Sequence[Recorded], contract: Contract, robot: str) -> list[Finding]:
    """Pictures of another shape than the robot's file says (they would be squeezed), or smaller than the policy sees."""
    found = []
    for camera in contract.embodiments[robot].cameras:
        if camera.role not in contract.roles or (picture := _some_picture(episodes, camera.role)) is None:
            continue
        (height, width), (h, w), size = picture.shape[:2], camera.resolution, contract.image_size
        where = f"the pictures of {camera.role!r} are {height} x {width}"
        if abs(height * w / (width * h) - 1) > 0.02:
            found.append(
                Finding(
                    aspect="resolution", finding=f"{where}, the policy was trained on {h} x {w}: another shape",
                    change=f"deliver {h} x {w}, or the same shape in another size",
                    evidence=f"{height} x {width}, not {h} x {w}",
                )
            )  # fmt: skip
        elif height < size[0] or width < size[1]:
            found.append(
                Finding(
                    aspect="resolution", finding=f"{where}, fewer than the {size[0]} x {size[1]} that the policy sees",
                    change=f"deliver {h} x {w}", evidence=f"{height} x {width} < {size[0]} x {size[1]}",
                )
            )  # fmt: skip
    return found


def check_rate(episodes: Sequence[Recorded], contract: Contract, robot: str) -> list[Finding]:
    """Stamps against the control rate the policy was trained at; recordings without stamps leave it to the suspects.

    Who plays chunks asks at a whole fraction of the rate, and what a server recorded has that rate: no finding.
    """
    wanted = contract.embodiments[robot].control_hz
    periods = [np.diff(episode.stamp_ns) for episode in episodes if episode.stamp_ns is not None and len(episode) > 1]
    if not periods:
        return []
    rate = 1e9 / float(np.median(np.concatenate(periods)))
    skipped = range(1, contract.chunk + 1) if episodes[0].is_served else (1,)
    if any(1 / _RATE_OFF < rate * n / wanted < _RATE_OFF for n in skipped):
        return []
    return [
        Finding(
            aspect="rate", finding=f"the robot runs at {rate:.3g} Hz, the policy was trained at {wanted:g} Hz",
            change=f"run the control loop at {wanted:g} Hz, or have the adapter convert the rate",
            evidence=f"median of the stamps {rate:.3g} Hz",
        )
    ]  # fmt: skip


def check_steps(
    answers: Float[np.ndarray, "n a"], logged: Float[np.ndarray, "n a"], group: Int[np.ndarray, " n"], layout: Layout
) -> list[Finding]:
    """The size of the log's steps against the answers'. Answers of a policy that fits are right in the mean, so their slope is
    about 1; a loop of half the rate logs longer steps, of twice the rate shorter ones.

    Over groups drawn anew many times the slope must stay beyond what a sound set-up shows. Where the two hardly go the same way
    their sizes say nothing.
    """
    at = layout.action.slices.get("delta_pos")
    if at is None or _alike(answers[:, at], logged[:, at]) < _FOLLOWS:
        return []
    names = np.unique(group)
    both, own = (
        np.array([np.sum(answers[group == name, at] * other[group == name, at]) for name in names])
        for other in (logged, answers)
    )
    drawn = np.random.default_rng(0).integers(0, len(names), (2000, len(names)))
    low, high = np.quantile(both[drawn].sum(1) / own[drawn].sum(1), (0.005, 0.995))
    slope = both.sum() / own.sum()
    if high >= _SHORT and low <= _LONG:
        return []
    than, rate, steps = (
        ("longer", "half", "two control periods") if low > _LONG else ("shorter", "twice", "half a control period")
    )
    return [
        Finding(
            aspect="rate", evidence=f"{slope:.2f} times as long, 99 % interval {low:.2f} .. {high:.2f}",
            finding=f"the steps are {than} than the policy's, each about {steps}: the robot runs at about {rate} its rate",
            change="run the control loop at the policy's rate, or have the adapter convert it; else check the unit of position",
        )
    ]  # fmt: skip


def check_round_trip(waits_ms: Float[np.ndarray, " n"], contract: Contract, robot: str) -> list[Finding]:
    """The wait for an answer against what the robot can afford: a chunk's length less one period."""
    period_ms = 1e3 / contract.embodiments[robot].control_hz
    typical, slow = np.quantile(waits_ms, (0.5, 0.95))
    if typical <= period_ms:
        return []
    return [
        Finding(
            aspect="latency", finding=f"an answer takes {typical:.0f} ms, longer than the control period of {period_ms:.0f} ms",
            change="a nearer or faster server, smaller pictures, a wired network; or --execution prefetch, which asks ahead",
            evidence=f"round trip p50 {typical:.0f} ms, p95 {slow:.0f} ms",
        )
    ]  # fmt: skip


def check_units(ranges: Sequence[Range], what: str) -> list[Finding]:
    """Spreads many times those of training in a whole field: centimetres for metres, degrees for radians."""
    found: list[Finding] = []
    fields = dict.fromkeys(r.name.split(".")[0] for r in ranges)
    for name in fields:
        own = [r for r in ranges if r.name.split(".")[0] == name]
        ratios = [(r.recorded[1] - r.recorded[0]) / (r.trained[1] - r.trained[0]) for r in own if r.trained[1] > r.trained[0]]
        moving = [ratio for ratio in ratios if ratio > 0]
        ratio = float(np.median(moving)) if moving else 1.0
        if ratio > _UNITS:  # much smaller ones are a robot that has no need to turn, or to move
            found.append(
                Finding(
                    aspect="units", finding=f"{what} {name!r} is {ratio:.3g} times as large as in training",
                    change="look at its unit in the robot's file: metres or centimetres, radians or degrees, 0-1 or percent",
                    evidence=f"spread {ratio:.3g} times training's",
                )
            )  # fmt: skip
    return found


def check_ranges(ranges: Sequence[Range], what: str) -> list[Finding]:
    """Values far outside what the checkpoint's statistics cover; what is wrong with them is for the suspects to say."""
    return [
        Finding(
            aspect="statistics", finding=f"{what} {r.name!r} lies outside of what the policy was trained on",
            change="check frame, unit and zero of this number, and that the checkpoint's statistics are of this robot",
            evidence=f"{r.outside:.0%} beyond {r.trained[0]:.3g} .. {r.trained[1]:.3g}, recorded {r.recorded[0]:.3g} .. "
            f"{r.recorded[1]:.3g}",
        )
        for r in sorted(ranges, key=lambda r: -r.outside)
        if r.outside > _OUTSIDE
    ]  # fmt: skip


def check_gripper(episodes: Sequence[Recorded], contract: Contract, robot: str) -> list[Finding]:
    """The log against itself: an opening gripper must follow a command to open. Silent where it hardly moved."""
    layout = contract.layouts[robot]
    commanded, measured = layout.action.slices.get("gripper"), field_slices(layout.proprio).get("gripper")
    if commanded is None or measured is None:
        return []
    sent = np.concatenate([episode.action[:-1, commanded.start] for episode in episodes])
    then = np.concatenate([episode.proprio[1:, measured.start] for episode in episodes])
    if len(sent) < 20 or sent.std() < 0.05 or then.std() < 0.02:
        return []
    agreement = float(np.corrcoef(sent, then)[0, 1])
    if agreement > _MIRRORED:
        return []
    return [
        Finding(
            aspect="gripper sense", finding="the gripper's command and its measured state go opposite ways",
            change="exchange `closed` and `opened` of one of the two in the robot's file; in training 1 is open",
            evidence=f"correlation of the command with the state one step later {agreement:.2f}",
        )
    ]  # fmt: skip


def check_motion(episodes: Sequence[Recorded], contract: Contract, robot: str) -> list[Finding]:
    """The log against itself: the arm must move where it was told to. Names the frame in which it does."""
    layout = contract.layouts[robot]
    if not frames_known(layout):
        return []
    sent = np.concatenate([episode.action[:-1] for episode in episodes]).astype(np.float64)
    state = np.concatenate([episode.proprio[:-1] for episode in episodes]).astype(np.float64)
    then = np.concatenate([episode.proprio[1:] for episode in episodes])
    position, told = field_slices(layout.proprio)["eef_pos"], layout.action.slices["delta_pos"]
    moved = then[:, position] - state[:, position]
    readings = {
        "as they are": sent, "as commands in the tool's frame": out_of_tool(layout, sent, state),
        "as commands in the base's frame": into_tool(layout, sent, state),
        **{f"with the base turned by {d} degrees": by_yaw(layout, sent, np.deg2rad(d)) for d in (90, 180, -90)},
    }  # fmt: skip
    alike = {name: _alike(moved, read[:, told]) for name, read in readings.items()}
    best = max(alike, key=lambda name: alike[name])
    if len(sent) < 20 or alike["as they are"] > _ASTRAY or alike[best] < _FOLLOWS:
        return []
    return [
        Finding(
            aspect="frame", finding=f"the arm does not move where it is told; it does if the commands are read {best}",
            change="mend the frame of position and rotation in the robot's file, of the action or of the state",
            evidence=f"agreement of motion and command {alike['as they are']:.2f}, read so {alike[best]:.2f}",
        )
    ]  # fmt: skip


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine between two lists of vectors; 0 where either does not move."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.sum(a * b)) / size if size > 0 else 0.0


def check_words(episodes: Sequence[Recorded], doubts: dict[str, list[str]]) -> list[Finding]:
    """`doubts`: for an instruction, what its tokenizer says of it; instructions that are missing altogether."""
    empty = sum(not text.strip() for episode in episodes for text in episode.instructions[:1])
    found = []
    if empty == len(episodes):
        found.append(
            Finding(
                aspect="language", finding="the recording has no instructions",
                change="pass the instruction with every question; the policy was trained to be told what to do",
                evidence=f"{empty} of {len(episodes)} episodes without words",
            )
        )  # fmt: skip
    strange = {text: said for text, said in doubts.items() if said}
    if strange:
        text, said = next(iter(strange.items()))
        found.append(
            Finding(
                aspect="language", finding=f"the policy does not know all words of {text!r}: {'; '.join(said)}",
                change="use the words it was trained with (rtx ckpt info, rtx data inspect show them)",
                evidence=f"{len(strange)} of {len(doubts)} different instructions",
            )
        )  # fmt: skip
    return found


def ranges(
    values: Float[np.ndarray, "n d"], names: Sequence[str], trained: FieldStatistics, known: Sequence[bool]
) -> list[Range]:
    """Each known dimension against training; constant ones are outside where they differ from the constant."""
    low, high = np.asarray(trained.q01), np.asarray(trained.q99)
    # A hundredth of the width to either side: values on the edge (a gripper at 0 and 1) are inside.
    margin = 0.01 * (high - low) + 1e-4
    outside = np.mean((values < low - margin) | (values > high + margin), axis=0)
    q01, q99 = np.quantile(values, (0.01, 0.99), axis=0)
    return [
        Range(
            name=name, recorded=(float(q01[i]), float(q99[i])), trained=(float(low[i]), float(high[i])),
            outside=float(outside[i]),
        )
        for i, name in enumerate(names)
        if known[i]
    ]  # fmt: skip


def action_ranges(episodes: Sequence[Recorded], contract: Contract, robot: str) -> list[Range]:
    layout = contract.layouts[robot]
    values = np.concatenate([episode.action for episode in episodes])
    return ranges(values, layout.action.dim_names, contract.statistics[robot].action, layout.action_mask)


def state_ranges(episodes: Sequence[Recorded], contract: Contract, robot: str) -> list[Range]:
    layout = contract.layouts[robot]
    values = np.concatenate([episode.proprio for episode in episodes])
    return ranges(values, dim_names(layout.proprio), contract.statistics[robot].proprio, layout.proprio_mask)


def _some_picture(episodes: Sequence[Recorded], role: str) -> np.ndarray | None:
    frames = ((episode, t) for episode in episodes for t in range(len(episode)) if episode.encoded.get(role, ("",))[t])
    found = next(frames, None)
    return None if found is None else found[0].picture(role, found[1])
