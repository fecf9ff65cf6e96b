"""`rtx serve --record FOLDER`: keeps what was seen and sent, as RLDS, and never holds up an answer.

    event loop --add--> bounded queue --> one thread: JPEG, gathered by robot and episode --> `rtx.serve.rlds`

An episode is what one connection said of one robot under one `episode`; without one, until the connection ends or is silent for
a minute. Very long ones are cut. When the disk is full or too slow, steps are lost, counted (`rtx_record_lost_steps_total`) and
said aloud; serving goes on, and recording where it can.
"""

from __future__ import annotations

import datetime
import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rtx.errors import UserError
from rtx.images import encode_jpeg
from rtx.serve.messages import Request
from rtx.serve.metrics import Metrics
from rtx.serve.rlds import RobotSet, Step, dataset_name, open_folder
from rtx.spec import ActionChunk, Contract

log = logging.getLogger(__name__)

_MAX_WAITING_BYTES = 256 << 20  # of pictures in the queue
_MAX_EPISODE_STEPS = 2000
_MAX_EPISODE_BYTES = 128 << 20
_SILENCE_S = 60.0
_LOOK_S = 5.0  # for silent connections
_CLOSE_S = 60.0  # for what is still to be written when the server stops


@dataclass(frozen=True, kw_only=True)
class _Seen:
    line: Hashable
    robot: str
    episode: int | str | None
    images: dict[str, np.ndarray]
    state: np.ndarray
    chunk: ActionChunk
    instruction: str
    stamp_ns: int
    wall: datetime.datetime

    @property
    def num_bytes(self) -> int:
        return sum(image.nbytes for image in self.images.values())


@dataclass(kw_only=True)
class _Episode:
    first: _Seen
    steps: list[Step] = field(default_factory=list)
    num_bytes: int = 0
    touched_s: float


class Recorder:
    """For one server. `add` and `end` from its event loop, `close` when it has stopped."""

    def __init__(
        self,
        folder: Path,
        contract: Contract,
        *,
        policy: str,
        checkpoint: str,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises UserError or WorldError where nothing can be recorded, before anything is served."""
        names = [dataset_name(robot) for robot in contract.embodiments]
        if len(set(names)) != len(names):
            raise UserError(f"cannot record: two robots of this checkpoint would share a name: {', '.join(sorted(names))}")
        open_folder(folder)
        self._sets = {robot: RobotSet(folder, contract, robot) for robot in contract.embodiments}
        self._policy, self._checkpoint, self._metrics, self._clock = policy, checkpoint, metrics, clock
        self._queue: queue.SimpleQueue[_Seen | Hashable | None] = queue.SimpleQueue()
        self._episodes: dict[Hashable, _Episode] = {}
        self._waiting_bytes, self._lock = 0, threading.Lock()
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def add(self, line: Hashable, request: Request, chunk: ActionChunk) -> None:
        """One answered question; returns at once."""
        observation = request.observation
        images = {}
        for role in self._sets[request.robot].roles:
            # a lost frame is black, as the policy was shown it
            images[role] = observation.images[role][-1] * observation.image_mask[role][-1].astype(np.uint8)
        seen = _Seen(
            line=line, robot=request.robot, episode=request.episode, images=images, state=observation.proprio[-1],
            chunk=chunk, instruction=observation.instruction, stamp_ns=observation.stamp_ns,
            wall=datetime.datetime.now(datetime.UTC),
        )  # fmt: skip
        with self._lock:
            full = self._waiting_bytes + seen.num_bytes > _MAX_WAITING_BYTES
            self._waiting_bytes += 0 if full else seen.num_bytes
        if full:
            self._lost(1, "the disk is slower than the robots")
        else:
            self._queue.put(seen)

    def end(self, line: Hashable) -> None:
        """The connection is gone, and its episode with it."""
        self._queue.put(line)

    def close(self) -> None:
        """Writes what is under way."""
        self._queue.put(None)
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            log.error("recording: the disk takes too long; the last episodes are lost")

    def _write(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=_LOOK_S)
            except queue.Empty:
                self._end_silent()
                continue
            if item is None:
                break
            if isinstance(item, _Seen):
                self._take(item)
            else:
                self._finish(item, cut="")
        for line in list(self._episodes):
            self._finish(line, cut="the server stopped")

    def _take(self, seen: _Seen) -> None:
        with self._lock:
            self._waiting_bytes -= seen.num_bytes
        known = self._episodes.get(seen.line)
        if known is not None and (known.first.robot, known.first.episode) != (seen.robot, seen.episode):
            self._finish(seen.line, cut="")
        elif known is not None and (len(known.steps) >= _MAX_EPISODE_STEPS or known.num_bytes >= _MAX_EPISODE_BYTES):
            self._finish(seen.line, cut="too long; goes on in the next")
        episode = self._episodes.setdefault(seen.line, _Episode(first=seen, touched_s=self._clock()))
        step = Step(
            images={role: encode_jpeg(image) for role, image in seen.images.items()},
            state=seen.state, chunk=seen.chunk.actions, instruction=seen.instruction, stamp_ns=seen.stamp_ns,
        )  # fmt: skip
        episode.steps.append(step)
        episode.num_bytes += sum(len(image) for image in step.images.values())
        episode.touched_s = self._clock()

    def _end_silent(self) -> None:
        for line, episode in list(self._episodes.items()):
            if episode.first.episode is None and self._clock() - episode.touched_s > _SILENCE_S:
                self._finish(line, cut="")

    def _finish(self, line: Hashable, *, cut: str) -> None:
        episode = self._episodes.pop(line, None)
        if episode is None:
            return
        first = episode.first
        metadata: dict[str, str | float] = {
            "robot": first.robot, "policy": self._policy, "checkpoint": self._checkpoint,
            "episode": "" if first.episode is None else str(first.episode),
            "started": first.wall.isoformat(timespec="milliseconds"), "cut": cut, "control_hz": first.chunk.control_hz,
        }  # fmt: skip
        try:
            self._sets[first.robot].write(episode.steps, metadata)
        except Exception as error:  # the edge of the thread: whatever a disk does, serving goes on
            self._lost(len(episode.steps), str(error))
            return
        self._metrics.recorded_episodes.inc()
        self._metrics.recorded_steps.inc(len(episode.steps))

    def _lost(self, steps: int, why: str) -> None:
        self._metrics.record_lost_steps.inc(steps)
        log.error("recording: lost_steps=%d; serving goes on. %s", steps, why)
