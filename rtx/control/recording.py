"""`rtx drive --record FOLDER`: what the cameras showed and what was sent, as RLDS, and never a wait in the loop.

    loop --add--> bounded queue --> one thread: JPEG, gathered into episodes --> `rtx.serve.rlds`

An episode goes until the robot is stopped; very long ones are cut. A period in which nothing was sent is no step of it. Where
the disk is slower than the robot, full, or the recording has grown to `max_bytes`, steps are lost and counted, and the drive
goes on.
"""

from __future__ import annotations

import datetime
import logging
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtx.embodiment import Embodiment, Layout
from rtx.images import encode_jpeg
from rtx.serve.rlds import RobotSet, Step, dataset_name, open_folder
from rtx.spec import Contract, Statistics

log = logging.getLogger(__name__)

MAX_BYTES = 20 << 30
_MAX_WAITING_BYTES = 256 << 20  # of pictures in the queue
_MAX_EPISODE_STEPS = 2000
_MAX_EPISODE_BYTES = 128 << 20  # an episode is in memory until it is whole
_CLOSE_S = 60.0  # for what is still to be written


@dataclass(frozen=True, kw_only=True)
class _Seen:
    images: Mapping[str, np.ndarray]
    state: np.ndarray
    action: np.ndarray
    stamp_ns: int

    @property
    def num_bytes(self) -> int:
        return sum(image.nbytes for image in self.images.values())


class Recording:
    """For one drive of one robot. `add`, `cut` and `close` from the loop; `lost` steps so far, and `why`."""

    def __init__(
        self, folder: Path, contract: Contract, robot: str, *, instruction: str, about: Mapping[str, str] | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:  # fmt: skip
        """`contract`: of the robot as it is driven (`contract_of`); `about`: `policy` and `checkpoint`, for the metadata.

        Raises UserError for a folder that is none, WorldError where nothing can be written.
        """
        open_folder(folder)
        self.data, self.lost, self.why = folder / dataset_name(robot), 0, ""
        self._set, self._robot = RobotSet(folder, contract, robot), robot
        self._instruction, self._about = instruction, about or {}
        self._hz, self._bytes_left = contract.embodiments[robot].control_hz, max_bytes
        self._waiting_bytes, self._lock = 0, threading.Lock()
        self._steps: list[Step] = []
        self._started, self._number = _now(), 0
        self._queue: queue.SimpleQueue[_Seen | str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="recording", daemon=True)
        self._thread.start()

    def add(self, images: Mapping[str, np.ndarray], state: np.ndarray, action: np.ndarray, now_ns: int) -> None:
        """One period, `now_ns` later than the last one; returns at once. `state [p]` and `action [a]` in the contract's layout.

        The pictures are kept, not copied.
        """
        roles = self._set.roles
        if missing := [role for role in roles if role not in images]:
            self._lose(1, f"no picture of {', '.join(missing)}")
            return
        seen = _Seen(images={role: images[role] for role in roles}, state=state, action=action, stamp_ns=now_ns)
        with self._lock:
            full = self._waiting_bytes + seen.num_bytes > _MAX_WAITING_BYTES
            self._waiting_bytes += 0 if full else seen.num_bytes
        if full:
            self._lose(1, "the disk or the processor is slower than the robot")
        else:
            self._queue.put(seen)

    def cut(self, why: str) -> None:
        """The episode ends here."""
        self._queue.put(why)

    def close(self) -> None:
        """Writes what is under way. Safe to repeat."""
        self._queue.put(None)
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            self._lose(len(self._steps), "the disk takes too long")

    def _write(self) -> None:
        num_bytes = 0
        while (item := self._queue.get()) is not None:
            if isinstance(item, str):
                self._finish(item)
                num_bytes = 0
                continue
            num_bytes += self._take(item)
            if len(self._steps) >= _MAX_EPISODE_STEPS or num_bytes >= _MAX_EPISODE_BYTES:
                self._finish("too long; goes on in the next")
                num_bytes = 0
        self._finish("")

    def _take(self, seen: _Seen) -> int:
        with self._lock:
            self._waiting_bytes -= seen.num_bytes
        images = {role: encode_jpeg(image) for role, image in seen.images.items()}
        num_bytes = sum(map(len, images.values()))
        if num_bytes > self._bytes_left:
            self._bytes_left = 0  # a smaller picture that still fits would leave a gap
            self._lose(1, "the recording has as many bytes as it may have (--record-gb)")
            return 0
        self._bytes_left -= num_bytes
        if not self._steps:
            self._started = _now()
        self._steps.append(
            Step(
                images=images, state=np.asarray(seen.state, np.float32), chunk=np.asarray(seen.action, np.float32)[None],
                instruction=self._instruction, stamp_ns=seen.stamp_ns,
            )
        )  # fmt: skip
        return num_bytes

    def _finish(self, cut: str) -> None:
        steps, self._steps = self._steps, []
        if not steps:
            return
        self._number += 1
        metadata: dict[str, str | float] = {
            "robot": self._robot, **{key: self._about.get(key, "") for key in ("policy", "checkpoint")},
            "episode": str(self._number), "started": self._started, "cut": cut, "control_hz": self._hz,
        }  # fmt: skip
        try:
            self._set.write(steps, metadata)
        except Exception as error:  # the edge of the thread: whatever a disk does, the drive goes on
            self._lose(len(steps), str(error))

    def _lose(self, steps: int, why: str) -> None:
        with self._lock:
            first = why != self.why
            self.lost, self.why = self.lost + steps, why
        if first:
            log.error("recording: steps are lost; the drive goes on. %s", why)


def contract_of(
    hello: Mapping[str, Any], robot: str, embodiment: Embodiment, layout: Layout, statistics: Statistics
) -> Contract:
    """Of what is recorded of `embodiment`, driven as `robot` by the policy of this hello: one action a step, its own rate."""
    height, width = hello["image_size"]
    return Contract(
        roles=tuple(hello["robots"][robot]["cameras"]), image_size=(int(height), int(width)), history=int(hello["history"]),
        chunk=1, fit=hello["fit"], embodiments={robot: embodiment}, layouts={robot: layout}, statistics={robot: statistics},
    )  # fmt: skip


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
