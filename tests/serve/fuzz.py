"""Frames that no client should send: valid messages bent in every part, and plain noise. The seed says all.

    python -m tests.serve.fuzz --frames 1000000 --sent 50000

`--frames` go through the server's own way of reading and answering (`unpack`, `request`, `greeting`, names, check), `--sent` of
other seeds through a real socket to a server in another process, whose memory is watched. Prints what was answered and the
memory before and after.
"""

from __future__ import annotations

import argparse
import collections
import copy
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from rtx.serve import messages
from rtx.serve.names import Names, foreign_request
from rtx.serve.openpi import is_openpi
from rtx.serve.refusals import Mismatch, refusal_of
from rtx_client.wire import pack, unpack
from tests.small_policy import echo_policy, observation

CODES = {"bad_message", "bad_observation", "mismatch", "late", "busy"}
_NAMES = Names(robot="sim_panda")
_ODD = (
    None, True, -1, 0, 1, 2**63 - 1, 2**64 - 1, -(2**63), 0.0, float("nan"), float("inf"), 1e308, "", "act", "hello",
    "x" * 2000, b"",
    b"\x00" * 50, [], {}, [[]], [None] * 100, {"type": "act"}, {b"__ndarray__": True}, "sim_panda", "nobody", "\udc00",
    {b"__ndarray__": True, b"dtype": "|O", b"shape": [1], b"data": b"12345678"},
    {b"__ndarray__": True, b"dtype": "<f4", b"shape": [2**62, 4], b"data": b""},
    {b"__ndarray__": True, b"dtype": "<f4", b"shape": [-1], b"data": b""},
    {b"__ndarray__": True, b"dtype": "<f4", b"shape": [0, 2**62], b"data": b""},
    {b"__ndarray__": True, b"dtype": "|u1", b"shape": [0, 0, 3], b"data": b""},
    {b"__npgeneric__": True, b"dtype": "<f4", b"data": [1]}, {b"__npgeneric__": True, b"dtype": "<f8", b"data": 3.5},
    np.full(10, np.nan), np.full((1, 10), np.inf, np.float32), np.zeros((0, 10)), np.zeros((3, 10)), np.zeros(9),
    np.ones(10, bool), np.zeros((1, 8), np.float32), np.full((9, 8), 1e300), np.zeros((), np.uint8),
    np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 2, 3), np.uint8), np.zeros((1, 1, 1), np.uint8),
    np.zeros((2, 2, 3), np.float32),
)  # fmt: skip


def valid(rng: random.Random) -> dict:
    seen = observation(size=(4, 5))
    kind = rng.randrange(8)
    if kind == 0:
        return {"type": "hello", "id": 1, "robot": "sim_panda", "cameras": ["primary", "wrist"], "control_hz": 5.0}
    if kind == 1:
        return {
            "observation/image": seen.images["primary"][0], "observation/wrist_image": seen.images["wrist"][0],
            "observation/state": np.zeros(10), "prompt": "push",
        }  # fmt: skip
    said = {
        "type": "act", "id": rng.randrange(10**6), "robot": "sim_panda", "instruction": "push", "stamp_ns": 10**9,
        "proprio": seen.proprio, "images": dict(seen.images), "image_mask": {"primary": np.ones(1, bool)},
    }  # fmt: skip
    if kind < 4:
        said |= {"deadline_ns": 10**12, "committed": np.zeros((1, 8), np.float32), "planned": np.zeros((2, 8), np.float32)}
    return said


def bent(rng: random.Random) -> bytes:
    """One frame."""
    way = rng.randrange(10)
    if way == 0:
        return rng.randbytes(rng.randrange(200))
    said = valid(rng)
    if way <= 2:
        _misfit(said, rng)
    elif way < 6:
        for _ in range(rng.randrange(1, 4)):
            _bend(said, rng)
    data = bytearray(_packed(said))
    if way >= 5:
        for _ in range(rng.randrange(1, 6)):
            _damage(data, rng)
    return bytes(data)


def _packed(said: object) -> bytes:
    """Also what `pack` would refuse to send."""
    try:
        return pack(said)
    except ValueError:
        return msgpack.packb(said, default=lambda value: {b"__ndarray__": True, b"data": bytes(str(value), "ascii", "replace")},
                             unicode_errors="surrogatepass")  # fmt: skip


def _misfit(said: dict, rng: random.Random) -> None:
    """Well built, and wrong for the policy: past the reading, into the checks of what was read."""
    key = rng.choice([key for key in said if key not in ("type", "id")])
    misfits = {
        "proprio": (np.full(10, np.nan), np.zeros(9), np.zeros((0, 10)), np.zeros((3, 10)), np.full(10, 1e300)),
        "images": ({}, {"primary": np.zeros((2, 2, 3), np.uint8)}, {"primary": np.zeros((0, 2, 3), np.uint8)}),
        "robot": ("nobody", ""), "instruction": ("", "\x00"), "image_mask": ({"primary": np.ones(2, bool)},),
    }  # fmt: skip
    said[key] = copy.deepcopy(rng.choice(misfits.get(key, _ODD)))


def _bend(said: dict, rng: random.Random) -> None:
    where = said
    while (inner := [value for value in where.values() if type(value) is dict and value]) and rng.random() < 0.4:
        where = rng.choice(inner)
    key = rng.choice([*where, "more", "type", "episode", b"bytes", 7])
    if rng.random() < 0.2:
        where.pop(key, None)
    elif rng.random() < 0.1:
        where[key] = _nested(rng.randrange(1, 400))
    else:
        where[key] = copy.deepcopy(rng.choice(_ODD))  # it may be bent itself


def _nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def _damage(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(max(len(data), 1))
    way = rng.randrange(5)
    if way == 0 and data:
        data[at] = rng.randrange(256)
    elif way == 1 and data:
        data[at] = rng.choice(b"\xc1\xdd\xdf\xdc\xde\xc6\xc9\xdb\xd9\x90\x80\xff\x7f")  # lengths and types
    elif way == 2:
        del data[at : at + rng.randrange(1, 40)]
    elif way == 3:
        data[at:at] = rng.randbytes(rng.randrange(1, 40))
    else:
        del data[at:]


def answered(policy, data: bytes) -> str:
    """The code that a frame is answered with, "ok" for what would be asked; raises what would be a defect."""
    try:
        message = unpack(data)
        messages.request_id(message)
        if messages.kind_of(message) == "hello":
            said = messages.greeting(message)
            if said.robot in policy.contract.embodiments and messages.differences(said, policy.contract):
                raise Mismatch("different")
            return "ok"
        if is_openpi(message):
            request = foreign_request(message, _NAMES, policy.contract)
        else:
            request = messages.request(message)
        policy.check(request.observation, robot=request.robot)
    except Exception as error:
        code = refusal_of(error, id=None).code
        if code not in CODES:
            raise
        return code
    return "ok"


def run_in_process(count: int, *, seed: int) -> collections.Counter:
    rng, policy, found = random.Random(seed), echo_policy(), collections.Counter()
    for number in range(count):
        found[answered(policy, bent(rng))] += 1
        if number == count // 5:
            found["kib_early"] = memory_kib(os.getpid())
    found["kib_late"] = memory_kib(os.getpid())
    return found


def send(url: str, frames: int, *, seed: int, pid: int) -> collections.Counter:
    """Sends and reads an answer to each; checks what comes back is an answer and holds no traceback."""
    rng, found, sent = random.Random(seed), collections.Counter(), 0
    while sent < frames:
        with connect(url, compression=None, proxy=None, max_size=None) as socket:
            socket.recv(timeout=60)
            try:
                for _ in range(10):
                    burst = min(100, frames - sent)
                    sent += burst
                    for _ in range(burst):
                        socket.send(bent(rng) if rng.random() < 0.98 else "text")
                    for _ in range(burst):
                        found[_checked(socket.recv(timeout=60))] += 1
                    if sent >= frames // 5:
                        found.setdefault("kib_early", memory_kib(pid))
            except ConnectionClosed:
                found["closed"] += 1
    found["kib_late"] = memory_kib(pid)
    return found


def _checked(answer: str | bytes) -> str:
    said = unpack(answer) if isinstance(answer, bytes) else {"code": answer.split(":")[0], "message": answer}
    text = str(said)
    assert not any(leak in text for leak in ("Traceback", ".py", "/rtx/")), text[:500]
    code = str(said.get("code", "ok"))
    assert code in CODES | {"ok"}, text[:500]
    return code


def memory_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


SERVER = """
from tests.small_policy import {maker}
from rtx.serve.names import Names
from rtx.serve.server import Options, serve
serve({maker}(), port=0, max_batch=1, options=Options(names=Names(robot="sim_panda")),
      ready=lambda server: print(server.port, flush=True))
"""


def serve_apart(maker: str = "echo_policy") -> subprocess.Popen:
    """A server in a process of its own, of a policy of `tests.small_policy`; its first line is the port."""
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", SERVER.format(maker=maker)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd=root
    )  # fmt: skip


def run_through_a_socket(frames: int, *, seed: int) -> collections.Counter:
    with serve_apart() as process:
        try:
            port = int(process.stdout.readline())
            found = send(f"ws://127.0.0.1:{port}", frames, seed=seed, pid=process.pid)
            assert process.poll() is None, "the server died"
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--sent", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    start = time.monotonic()
    print(f"in process: {dict(run_in_process(args.frames, seed=args.seed))} in {time.monotonic() - start:.0f} s", flush=True)
    start = time.monotonic()
    print(f"sent: {dict(run_through_a_socket(args.sent, seed=args.seed + 1))} in {time.monotonic() - start:.0f} s", flush=True)
    print(f"peak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} KiB")


if __name__ == "__main__":
    main()
