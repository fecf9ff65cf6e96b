"""Two policies anything trained must beat: one that throws dice, one with the same network that has never seen data.

Both speak like `rtx.serve.policy.Policy` and go through the same contract: the random one draws in model space and maps back
through the same statistics, so it moves exactly as far as the data does; the untrained one differs in its parameters only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rtx.errors import unknown_name
from rtx.spec import ActionChunk, Contract, Observation

if TYPE_CHECKING:
    from rtx.serve.policy import Policy


class RandomPolicy:
    """Uniform in model space `[-1, 1]`, anew for each action of each chunk.

    The dice are a hash of (seed, robot, everything observed): the same scene gives the same episode, however calls are
    batched, in whatever order episodes are played and whether or not the run was killed in between.
    """

    def __init__(self, contract: Contract, *, seed: int = 0) -> None:
        self.contract, self._seed = contract, seed
        self._normalizers = {name: contract.action_normalizer(name) for name in contract.statistics}
        self.fingerprint = f"random-{seed}-{contract.fingerprint()}"

    def act_batch(self, observations: Sequence[Observation], robots: Sequence[str]) -> list[ActionChunk]:
        return [self._act(observation, robot) for observation, robot in zip(observations, robots, strict=True)]

    def _act(self, observation: Observation, robot: str) -> ActionChunk:
        if robot not in self._normalizers:
            raise unknown_name("robot", robot, self._normalizers)
        rng = np.random.default_rng(_digest(self._seed, robot, observation))
        drawn = rng.uniform(-1, 1, (self.contract.chunk, self.contract.action.width))
        hz = self.contract.embodiments[robot].control_hz
        return ActionChunk(
            actions=self._normalizers[robot].inverse(drawn),
            names=self.contract.layouts[robot].action.dim_names,
            control_hz=hz,
            stamp_ns=observation.stamp_ns,
            valid_until_ns=observation.stamp_ns + round(self.contract.chunk * 1e9 / hz),
        )


def _digest(seed: int, robot: str, observation: Observation) -> int:
    hashed = hashlib.sha256(f"{seed}\n{robot}\n{observation.instruction}\n{observation.stamp_ns}\n".encode())
    hashed.update(np.ascontiguousarray(observation.proprio).tobytes())
    for role in sorted(observation.images):
        hashed.update(np.ascontiguousarray(observation.images[role]).tobytes())
    return int.from_bytes(hashed.digest()[:16], "big")


def untrained(policy: Policy, *, seed: int = 0) -> Policy:
    """The same network, words and contract with fresh parameters."""
    import jax

    from rtx.serve.policy import Policy

    variables = jax.jit(policy.model.init)(jax.random.key(seed), policy.blank_batch())
    return Policy(
        model=policy.model,
        variables=variables,
        contract=policy.contract,
        tokenizer=policy.tokenizer,
        name=f"untrained ({policy.name})",
    )
