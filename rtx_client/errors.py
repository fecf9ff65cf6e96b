"""What can go wrong between a robot and its policy server, told apart by what to do about it."""

from __future__ import annotations


class PolicyError(RuntimeError):
    """A person has to mend something: the request, the set-up or the token. `code` is the protocol's:

    bad_message      the request was not built as the protocol says: a defect, or an older client
    bad_observation  it does not fit the policy's contract; the message says what was expected
    mismatch         `Mismatch`: this robot and the policy behind the server do not fit
    unauthorized     `Unauthorized`: the server wants another token
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Mismatch(PolicyError):
    """This robot and the policy do not fit; the message names each difference."""

    def __init__(self, message: str) -> None:
        super().__init__("mismatch", message)


class Unauthorized(PolicyError):
    """The server refuses the token, or wants one."""

    def __init__(self, message: str) -> None:
        super().__init__("unauthorized", message)


class Hold(PolicyError):
    """There is no action just now: hold still and ask again. `code` says why:

    disconnected   no connection; the client is making a new one
    late           the answer did not come in time, or its actions have expired
    busy           more robots or questions than the server keeps up with
    policy_failed  the policy gave no usable answer
    bad_answer     the answer is not one to this question, or not finite
    internal       a defect in the server, which logged it; other codes of a newer server likewise
    """


_FOR_PEOPLE = frozenset({"bad_message", "bad_observation"})


def from_server(code: str, message: str) -> PolicyError:
    """The error that a server's answer with `code` means; a code of a newer server means to hold."""
    if code == "mismatch":
        return Mismatch(message)
    if code == "unauthorized":
        return Unauthorized(message)
    return PolicyError(code, message) if code in _FOR_PEOPLE else Hold(code, message)
