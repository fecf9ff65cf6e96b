"""One robot's connection to a policy server, by the client that robots use."""

from __future__ import annotations

from types import TracebackType

import numpy as np
from jaxtyping import Float

from rtx.errors import UserError, WorldError
from rtx.spec import Observation
from rtx_client import Client, PolicyError


class Connection:
    """Raises UserError for a URL that is none or a token that the server refuses, else what the client raises."""

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 30.0) -> None:
        try:
            # Recorded frames have their own time, in which nothing expires.
            self._client = Client(url, token=token, timeout_s=timeout_s, clock=lambda: 0)
        except (ValueError, PolicyError) as error:
            raise UserError(str(error)) from error

    @property
    def fingerprint(self) -> str:
        """Of the contract the server says it serves."""
        return str(self._client.hello["contract_fingerprint"])

    def act(self, seen: Observation, *, robot: str) -> Float[np.ndarray, "k a"]:
        """Raises WorldError where the server refuses."""
        try:
            answer = self._client.act(
                images=seen.images, image_mask=seen.image_mask, proprio=seen.proprio, instruction=seen.instruction, robot=robot,
                stamp_ns=seen.stamp_ns,
            )  # fmt: skip
        except PolicyError as error:
            raise WorldError(f"the policy server refuses a recorded frame: {error}") from error
        return answer.actions

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()
