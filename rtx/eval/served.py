"""A policy behind a server, asked by the client that robots use: what it solves over sockets, episode by episode.

    rollout --Observation--> ServedPolicy --rtx_client--> socket --> rtx serve --> the same checkpoint

The simulator stands still while it waits, so that its time is the robot's time here too: nothing expires on the way, and a
lost connection costs no episode. What differs from a policy in this process is the way alone, and that is what it measures.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rtx.errors import UserError, WorldError
from rtx.eval.outcome import Outcome
from rtx.spec import ActionChunk, Contract, Observation
from rtx_client import Client, Hold, PolicyError

_ANSWER_S = 60.0
_TOGETHER_S = 120.0  # of holding, one after another, at one observation
_PAUSE_S = 0.1


class ServedPolicy:
    """Stands in for the policy with this contract and fingerprint in evaluations. Not for several threads at once."""

    def __init__(self, url: str, *, contract: Contract, checkpoint: str, token: str | None = None) -> None:
        """`checkpoint`: the fingerprint that the served policy must have.

        Raises UserError where the server has another policy or refuses the token, WorldError where there is none.
        """
        self.contract, self.fingerprint = contract, f"served-{checkpoint}"
        self._now_ns = 0
        expects = {"contract_fingerprint": contract.fingerprint(), "checkpoint_fingerprint": checkpoint}
        try:
            self._client = Client(url, token=token, expects=expects, timeout_s=_ANSWER_S, clock=lambda: self._now_ns)
        except (PolicyError, ValueError) as error:
            raise UserError(f"{error}; serve the checkpoint that is evaluated") from error
        except (ConnectionError, TimeoutError) as error:
            raise WorldError(str(error)) from error

    def act_batch(self, observations: Sequence[Observation], robots: Sequence[str]) -> list[ActionChunk]:
        """Raises WorldError where the server refuses, or says to hold for too long."""
        return [self._act(observation, robot) for observation, robot in zip(observations, robots, strict=True)]

    def _act(self, seen: Observation, robot: str) -> ActionChunk:
        self._now_ns, give_up_s = seen.stamp_ns, time.monotonic() + _TOGETHER_S
        while True:
            try:
                answer = self._client.act(
                    images=seen.images, image_mask=seen.image_mask, proprio=seen.proprio, instruction=seen.instruction,
                    robot=robot, stamp_ns=seen.stamp_ns,
                )  # fmt: skip
            except Hold as error:  # the simulated robot holds: its time stands still
                if time.monotonic() > give_up_s:
                    raise WorldError(f"{error}; finished episodes are kept: run the same command again") from error
                time.sleep(_PAUSE_S)
            except PolicyError as error:
                raise WorldError(f"the policy server refuses a simulated frame: {error}") from error
            else:
                return ActionChunk(
                    actions=answer.actions, names=answer.names, control_hz=answer.control_hz, stamp_ns=answer.stamp_ns,
                    valid_until_ns=answer.valid_until_ns,
                )  # fmt: skip

    def close(self) -> None:
        self._client.close()


def same_outcomes(served: Sequence[Outcome], here: Sequence[Outcome]) -> str:
    """In how many episodes the two ended alike to the last step and digit, arm by arm; for people."""
    by_scene = {outcome.episode: outcome for outcome in here}
    arms = list(dict.fromkeys(outcome.arm for outcome in served))
    counts = []
    for arm in arms:
        pairs = [(outcome, by_scene[outcome.episode]) for outcome in served if outcome.arm == arm]
        counts.append((arm, sum(_end(a) == _end(b) for a, b in pairs), len(pairs)))
    total = f"{sum(same for _, same, _ in counts)} of {sum(number for *_, number in counts)}"
    parts = ", ".join(f"{arm} {same}/{number}" for arm, same, number in counts)
    return f"Through the server the same outcome, number of steps and final distance in {total} episodes: {parts}."


def _end(outcome: Outcome) -> tuple[bool, int, float | None]:
    return outcome.success, outcome.steps, outcome.final_distance_m
