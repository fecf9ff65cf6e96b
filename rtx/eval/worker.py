"""The process that simulates: builds one environment at a time, plays episodes, asks the parent what to do.

    parent (rollout.py)                      worker (spawned; imports neither jax nor tensorflow)
      Job  ----------------------------------->  builds the arm if it has another one, plays
           <------------------------------ Ask   an observation, and waits
      ActionChunk ---------------------------->  acts
           <----------------------------- Done   the outcome; or Failed, with what went wrong

TensorFlow and software OpenGL crash each other within one process, and JAX would take a worker's memory twice over; hence
processes. Spawned, not forked: the parent's threads and locks stay with the parent.
"""

from __future__ import annotations

import contextlib
import signal
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection

from rtx.errors import UserError, WorldError
from rtx.eval.outcome import Outcome
from rtx.eval.play import Environment, Job, MakeEnvironment, play
from rtx.eval.suite import Suite
from rtx.spec import ActionChunk, Observation


@dataclass(frozen=True)
class Ask:
    observation: Observation


@dataclass(frozen=True)
class Done:
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The episode could not be played. `advice` is the message of an error meant for people, None for a defect of ours."""

    advice: str | None
    trace: str


def sim_environment(arm: str) -> Environment:
    """The default environment of a worker."""
    from rtx.eval.sim.env import SimEnv

    return SimEnv(arm)


def environment_of(suite: Suite) -> MakeEnvironment:
    """What builds the environments of a suite: our own simulator's, or those of the public suite that it names."""
    if suite.environment == "sim":
        return sim_environment
    from rtx.eval.public.registry import maker

    return maker(suite.environment)


def main(connection: Connection, make_environment: MakeEnvironment) -> None:
    """Plays what it is sent until the parent hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business; it hangs up
    with contextlib.suppress(EOFError, OSError), contextlib.closing(_Seat(make_environment)) as seat:
        while True:
            job: Job = connection.recv()
            connection.send(_answer(connection, seat, job))


class _Seat:
    """The one environment of this process; building one takes seconds, so it is kept while the arm stays the same."""

    def __init__(self, make_environment: MakeEnvironment) -> None:
        self._make, self._arm = make_environment, ""
        self._env: Environment | None = None

    def environment(self, arm: str) -> Environment:
        if self._env is None or self._arm != arm:
            self.close()
            self._env, self._arm = self._make(arm), arm
        return self._env

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None


def _answer(connection: Connection, seat: _Seat, job: Job) -> Done | Failed:
    def ask(observation: Observation) -> ActionChunk:
        connection.send(Ask(observation))
        return connection.recv()

    try:
        return Done(play(seat.environment(job.episode.arm), job, ask))
    except (EOFError, ConnectionError):
        raise  # the parent is gone
    except (UserError, WorldError) as error:
        return Failed(advice=str(error), trace=traceback.format_exc())
    except Exception:  # the edge of a process: the parent raises it there
        return Failed(advice=None, trace=traceback.format_exc())
