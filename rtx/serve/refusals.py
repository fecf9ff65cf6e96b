"""Why a request is not answered with actions: one code for each thing a client does differently, and never a traceback.

code             HTTP   what it means                                               what the robot does
bad_message      400    not built as the protocol says                              a defect of the client
bad_observation  422    does not fit the policy's contract; the message says how    mend the set-up
mismatch         409    the robot's hello does not fit the policy                   mend the set-up
unauthorized     401    no token, or another one                                    (before a socket opens)
busy             503    more is asked than the server keeps up with                 hold, ask again
late             504    the deadline passed before there was an answer              hold, ask again with a new picture
policy_failed    500    the policy gave no usable answer                            hold
internal         500    a defect of the server, which logged it whole               hold
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from rtx.errors import UserError, WorldError
from rtx_client.wire import WireError

log = logging.getLogger(__name__)

HTTP_STATUS = {
    "bad_message": 400, "bad_observation": 422, "mismatch": 409, "unauthorized": 401, "busy": 503, "late": 504,
    "policy_failed": 500, "internal": 500,
}  # fmt: skip


class Busy(Exception):
    """More is asked than is kept up with."""


class Late(Exception):
    """The deadline is over."""


class Mismatch(Exception):
    """A robot that the policy does not fit."""


class Refusal(NamedTuple):
    code: str
    message: str


def refusal_of(error: Exception, *, id: int | str | None) -> Refusal:
    """What a client is told. A defect of ours is logged here, with its traceback, and only named there."""
    known = {Busy: "busy", Late: "late", Mismatch: "mismatch", WireError: "bad_message", UserError: "bad_observation"}
    for kind, code in known.items():
        if isinstance(error, kind):
            return Refusal(code, str(error))
    if isinstance(error, WorldError):
        log.error("request failed: id=%s error=%s", id, error)
        return Refusal("policy_failed", str(error))
    log.error("request failed: id=%s", id, exc_info=error)
    return Refusal("internal", f"{type(error).__name__} in the server; its log has the rest")
