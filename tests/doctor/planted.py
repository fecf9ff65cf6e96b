"""Wrong set-ups planted on purpose in a sound recording: what a robot's driver, file or server got wrong would have left."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from rtx.doctor.recording import Recorded
from rtx.doctor.turned import into_tool, out_of_tool
from rtx.embodiment import field_slices
from rtx.images import encode_jpeg, resize
from rtx.robots import rotations

_OTHER = {"rgb": "bgr", "bgr": "rgb"}


def swapped(episode: Recorded) -> Recorded:
    """Primary and wrist come under each other's name."""
    other = {"primary": "wrist", "wrist": "primary"}
    return dataclasses.replace(
        episode,
        encoded={role: episode.encoded[other[role]] for role in episode.encoded},
        channel_order={role: episode.channel_order[other[role]] for role in episode.encoded},
    )


def bgr(episode: Recorded) -> Recorded:
    return dataclasses.replace(episode, channel_order={role: _OTHER[order] for role, order in episode.channel_order.items()})


def cropped(episode: Recorded, keep: float = 0.7) -> Recorded:
    """The middle of each picture, enlarged to the size it had."""

    def crop(role: str, t: int) -> bytes:
        picture = episode.picture(role, t)
        assert picture is not None
        height, width = picture.shape[:2]
        rows, columns = (round(side * (1 - keep) / 2) for side in (height, width))
        return encode_jpeg(
            resize(np.ascontiguousarray(picture[rows : height - rows, columns : width - columns]), (height, width))
        )

    return dataclasses.replace(
        episode,
        encoded={role: tuple(crop(role, t) for t in range(len(episode))) for role in episode.encoded},
        channel_order=dict.fromkeys(episode.encoded, "rgb"),
    )


def gripper_inverted(episode: Recorded) -> Recorded:
    """`closed` and `opened` exchanged in the robot's file, for command and state."""
    state, action = episode.proprio.copy(), episode.action.copy()
    for vector, at in ((state, field_slices(episode.layout.proprio)), (action, episode.layout.action.slices)):
        vector[:, at["gripper"]] = 1 - vector[:, at["gripper"]]
    return dataclasses.replace(episode, proprio=state, action=action)


def gripper_command_inverted(episode: Recorded) -> Recorded:
    return dataclasses.replace(episode, action=gripper_inverted(episode).action)


def tool_for_base(episode: Recorded) -> Recorded:
    """Commands in the tool's frame, read as the base's."""
    turned = into_tool(episode.layout, episode.action.astype(np.float64), episode.proprio.astype(np.float64))
    return dataclasses.replace(episode, action=turned.astype(np.float32))


def base_for_tool(episode: Recorded) -> Recorded:
    """Commands in the base's frame, read as the tool's."""
    turned = out_of_tool(episode.layout, episode.action.astype(np.float64), episode.proprio.astype(np.float64))
    return dataclasses.replace(episode, action=turned.astype(np.float32))


def half_rate(episode: Recorded) -> Recorded:
    """Every second frame, each with the pose that was aimed at two steps later: a loop of half the rate."""
    first = np.arange(0, len(episode) - 1, 2)
    return dataclasses.replace(
        episode,
        encoded={role: tuple(encoded[i] for i in first) for role, encoded in episode.encoded.items()},
        proprio=episode.proprio[first],
        action=_composed(episode, first),
        instructions=tuple(episode.instructions[i] for i in first),
        stamp_ns=None if episode.stamp_ns is None else episode.stamp_ns[first],
    )


def _composed(episode: Recorded, first: np.ndarray) -> np.ndarray:
    """From the pose of step i to the one aimed at in step i + 1."""
    state, sent, at = episode.proprio.astype(np.float64), episode.action.astype(np.float64), episode.layout.action.slices
    poses, action = field_slices(episode.layout.proprio), sent[first + 1].copy()
    moved = state[first + 1][:, poses["eef_pos"]] - state[first][:, poses["eef_pos"]]
    action[:, at["delta_pos"]] = moved + sent[first + 1][:, at["delta_pos"]]
    before, after = (rotations.to_matrix(state[i][:, poses["eef_rot"]], "rot6d") for i in (first, first + 1))
    turn = rotations.to_matrix(sent[first + 1][:, at["delta_rot"]], "rpy") @ after @ rotations.transpose(before)
    action[:, at["delta_rot"]] = rotations.from_matrix(turn, "rpy")
    return action.astype(np.float32)


def late(episode: Recorded, seconds: float = 0.3, *, state: bool = True) -> Recorded:
    """What is seen at a step is the newest frame that was at least so old."""
    lag = math.ceil(seconds * episode.control_hz - 1e-9)
    shown = np.maximum(np.arange(len(episode)) - lag, 0)
    return dataclasses.replace(
        episode,
        encoded={role: tuple(encoded[i] for i in shown) for role, encoded in episode.encoded.items()},
        proprio=episode.proprio[shown] if state else episode.proprio,
    )


PLANTS = {
    "camera order": swapped,
    "colour order": bgr,
    "crop": cropped,
    "gripper sense": gripper_inverted,
    "frame": tool_for_base,
    "rate": half_rate,
    "latency": late,
}
"""By the aspect that is to be named; the eighth, wrong statistics, is planted in the policy's contract."""


def wrong_statistics(contract, robot: str, other: str):
    """A contract whose statistics of `robot` are those of another robot."""
    statistics = {**contract.statistics, robot: contract.statistics[other]}
    return dataclasses.replace(contract, statistics=statistics)
