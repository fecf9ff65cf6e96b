"""Recorded frames through the served path: real server, real client, a socket between them.

    episodes, suspect --moments--> Question (observation, as the robot would send it) --Asker--> answers [n, k, a]

`Served` asks over several connections at once, so that the server answers them in batches; how long a robot waits is measured
with one connection alone (`round_trips_ms`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from rtx.doctor.connection import Connection
from rtx.doctor.recording import Recorded
from rtx.doctor.suspects import Suspect
from rtx.errors import WorldError
from rtx.images import resize
from rtx.serve.policy import Policy
from rtx.serve.server import Running, serve
from rtx.spec import Contract, Observation

_CONNECTIONS = 8


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One recorded frame: step `t` of episode number `episode`."""

    episode: int
    t: int


@runtime_checkable
class Asker(Protocol):
    """Who is asked: a server, or in tests any function of observations."""

    def ask(self, observations: Sequence[Observation]) -> Float[np.ndarray, "n k a"]: ...


def moments(episodes: Sequence[Recorded], *, most: int) -> list[Moment]:
    """At most `most` frames, evenly spaced over all episodes, at least one of each."""
    every = max(1, -(-sum(len(episode) for episode in episodes) // most))
    return [Moment(episode=i, t=t) for i, episode in enumerate(episodes) for t in range(0, len(episode), every)]


def within(episodes: Sequence[Recorded], moment: Moment, suspect: Suspect) -> bool:
    """Whether the frames that the suspect looks at were recorded."""
    return moment.t + max(suspect.picture_lag, suspect.state_lag) < len(episodes[moment.episode])


def observation(episode: Recorded, t: int, suspect: Suspect, contract: Contract, robot: str) -> Observation:
    """What the policy is shown at frame t, up to its history, with the suspect's fault undone."""
    roles = [role for role in contract.roles if role in contract.embodiments[robot].roles]
    steps = range(max(0, t + 1 - contract.history), t + 1)
    seen = {role: [picture(episode, s + suspect.picture_lag, role, suspect) for s in steps] for role in roles}
    state = episode.proprio[[s + suspect.state_lag for s in steps]]
    text = episode.instructions[t]
    return Observation(
        images={role: _stacked(pictures, contract) for role, pictures in seen.items()},
        image_mask={role: np.array([picture is not None for picture in pictures]) for role, pictures in seen.items()},
        proprio=(suspect.state(state) if suspect.state else state).astype(np.float32),
        instruction=suspect.words(text) if suspect.words else text,
        stamp_ns=time.monotonic_ns(),
    )


def picture(episode: Recorded, t: int, role: str, suspect: Suspect) -> UInt8[np.ndarray, "h w 3"] | None:
    """One camera's frame t with the suspect's fault undone; what a crop has cut off is its nearest pixel again."""
    recorded = episode.picture(suspect.roles.get(role, role), t)
    if recorded is None:
        return None
    if redraw := suspect.redraw.get(role):
        recorded = redraw(recorded)
    return np.ascontiguousarray(zoomed(recorded, suspect.zoom))


def zoomed(image: UInt8[np.ndarray, "h w 3"], zoom: float) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Below 1: `image` as the middle of a larger one, its edges drawn out. Above 1: the middle 1 / zoom of it."""
    height, width = image.shape[:2]
    if zoom < 1:
        rows, columns = (round(side * (1 / zoom - 1) / 2) for side in (height, width))
        return np.pad(image, ((rows, rows), (columns, columns), (0, 0)), mode="edge")
    rows, columns = (round(side * (1 - 1 / zoom) / 2) for side in (height, width))
    return image[rows : height - rows, columns : width - columns]


def _stacked(pictures: Sequence[np.ndarray | None], contract: Contract) -> np.ndarray:
    """`[t, h, w, 3]`; a lost frame is black."""
    shape = next((picture.shape for picture in pictures if picture is not None), (*contract.image_size, 3))
    return np.stack([np.zeros(shape, np.uint8) if picture is None else picture for picture in pictures])


class Served:
    """Asks a policy server, as `robot`."""

    def __init__(self, url: str, robot: str, contract: Contract, *, token: str | None = None) -> None:
        """Raises ConnectionError and TimeoutError as the client does."""
        self._robot, self._contract = robot, contract
        self._open = contextlib.ExitStack()
        self._connections = [self._open.enter_context(Connection(url, token=token)) for _ in range(_CONNECTIONS)]

    @property
    def fingerprint(self) -> str:
        """Of the contract the server says it serves."""
        return self._connections[0].fingerprint

    def ask(self, observations: Sequence[Observation]) -> Float[np.ndarray, "n k a"]:
        """The answers in physical units. Pictures larger than twice what the policy sees are reduced first: a doctor asks
        thousands of questions, and the server would do the same.

        Raises WorldError where the server refuses a question."""
        free = list(self._connections)

        def one(seen: Observation) -> np.ndarray:
            connection = free.pop()  # as many threads as connections, so there is one
            try:
                return connection.act(self._small(seen), robot=self._robot)
            finally:
                free.append(connection)

        with ThreadPoolExecutor(len(free)) as pool:
            return np.stack(list(pool.map(one, observations)))

    def round_trips_ms(self, observations: Sequence[Observation]) -> Float[np.ndarray, " n"]:
        """How long one robot alone waits for each answer, pictures as they were recorded."""
        waits = []
        for seen in observations:
            start = time.perf_counter()
            self._connections[0].act(seen, robot=self._robot)
            waits.append(1e3 * (time.perf_counter() - start))
        return np.array(waits)

    def close(self) -> None:
        self._open.close()

    def _small(self, seen: Observation) -> Observation:
        height, width = self._contract.image_size
        images = {
            role: resize(image, self._contract.image_size, self._contract.fit)
            if image.shape[1] > 2 * height and image.shape[2] > 2 * width
            else image
            for role, image in seen.images.items()
        }
        return Observation(
            images=images, image_mask=seen.image_mask, proprio=seen.proprio, instruction=seen.instruction,
            stamp_ns=seen.stamp_ns,
        )  # fmt: skip


@contextlib.contextmanager
def serving(policy: Policy) -> Iterator[str]:
    """The real server on a free port of loopback, in a thread; gives its URL. Raises what the server raises as it starts."""
    opened, running, failed = threading.Event(), list[Running](), list[BaseException]()

    def ready(server: Running) -> None:
        running.append(server)
        opened.set()

    def run() -> None:
        try:
            serve(policy, port=0, max_batch=_CONNECTIONS, ready=ready)
        except BaseException as error:  # a thread's edge: told to whoever waits
            failed.append(error)
        finally:
            opened.set()

    thread = threading.Thread(target=run, name="doctor's policy server")
    thread.start()
    opened.wait()
    if not running:
        thread.join()
        raise failed[0] if failed else WorldError("the policy server ended before it was ready")
    try:
        yield running[0].url
    finally:
        running[0].stop()
        thread.join()
