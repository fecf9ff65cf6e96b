"""Where every door's requests come together: checked, queued, answered, recorded, counted.

websocket, openpi, POST /act  -->  Request  -->  check -> batcher -> chunk  -->  the door's own form of answer
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from rtx.serve.batching import Batcher
from rtx.serve.messages import Request
from rtx.serve.metrics import Metrics
from rtx.serve.names import Names
from rtx.serve.recorder import Recorder
from rtx.serve.refusals import Busy
from rtx.serve.servable import Servable, Session
from rtx.spec import ActionChunk

MAX_EPISODES = 64  # connections with an episode under way: 6 MB each for RT-1-X, on host and device


class Desk:
    """One per server. A `line` is one robot's connection; its episode's frames are kept until `leave`."""

    def __init__(
        self, policy: Servable, batcher: Batcher, metrics: Metrics, *, names: Names, recorder: Recorder | None = None
    ) -> None:
        self.policy, self.batcher, self.metrics, self.names = policy, batcher, metrics, names
        self._recorder = recorder
        self._episodes: dict[Hashable, tuple[tuple[str, int | str], Session]] = {}

    def ask(self, request: Request, line: Hashable) -> asyncio.Future[ActionChunk]:
        """Queued when it returns. Raises what refuses it: UserError, Busy, Late."""
        self.policy.check(request.observation, robot=request.robot)
        session = None if request.episode is None else self._session(line, request.robot, request.episode)
        return self.batcher.ask(request.observation, request.robot, line=line, session=session, time_left_s=request.time_left_s)

    def record(self, request: Request, chunk: ActionChunk, line: Hashable) -> None:
        """What is sent, where anybody wants it kept."""
        if self._recorder is not None:
            self._recorder.add(line, request, chunk)

    def leave(self, line: Hashable) -> None:
        self.batcher.forget(line)
        self._episodes.pop(line, None)
        self.metrics.episodes.set(len(self._episodes))
        if self._recorder is not None:
            self._recorder.end(line)

    def _session(self, line: Hashable, robot: str, episode: int | str) -> Session:
        """That of the line, anew where another episode or robot begins."""
        known = self._episodes.get(line)
        if known is None and len(self._episodes) >= MAX_EPISODES:
            raise Busy(
                f"{MAX_EPISODES} episodes are under way already; send the whole history without an episode, or ask again later"
            )
        if known is None or known[0] != (robot, episode):
            known = self._episodes[line] = ((robot, episode), self.policy.session(robot))
            self.metrics.episodes.set(len(self._episodes))
        return known[1]
