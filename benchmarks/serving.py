"""What serving costs over the bare model, what batching brings, and what many robots and one that floods see.

    python -m benchmarks.serving

A 3 M parameter vision-language-action model with random weights ("nano": one picture of 128 pixels, one action) behind a real
server on loopback; robots are asyncio clients in a process of their own, each with a connection of its own.

    overhead     one robot, one question at a time: a served answer and a bare `policy.act` take turns; the median of the
                 difference. Also with a policy that takes no time, where the difference is not lost in the model's own jitter
    throughput   16 robots that ask as soon as they are answered: calls of up to 16, and one by one
    episodes     the same in an episode each: a small RT-1, which remembers 6 frames of each robot
    robots       1, 4, 16, 64 robots at 10 Hz, each asking on its beat whether or not it was answered: p50, p99 of what was
                 answered, the share of busy, and the least and most answered robot
    flood        4 robots at 10 Hz beside one that asks 500 times a second

Clients, server and model share the machine's cores: on one that others use too, compare the figures of one run only.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import connect

from rtx.embodiment import CANONICAL
from rtx.models.protocol import Model, Variables
from rtx.models.rt1x.config import rt1
from rtx.models.rt1x.model import RT1X
from rtx.models.sentences import SentenceTable
from rtx.models.text import WordTokenizer
from rtx.models.vla.config import nano_paligemma
from rtx.models.vla.planning import build_vla
from rtx.robots.sim_arms import SIM_ARMS
from rtx.serve.inputs import Inputs
from rtx.serve.policy import Policy
from rtx.serve.server import Options, Running, serve
from rtx.spec import ActionChunk, Batch, Contract, FieldStatistics, Observation, Statistics
from rtx_client.wire import pack, unpack

ROBOT, PIXELS, HZ, SOON = "sim_panda", 128, 10.0, 60.0
PARTS = ("overhead", "throughput", "episodes", "robots")


def contract(history: int = 1) -> Contract:
    arm = dataclasses.replace(SIM_ARMS[ROBOT], cameras=SIM_ARMS[ROBOT].cameras[:1], control_hz=HZ)
    spread = Statistics(action=_spread(8), proprio=_spread(10), num_episodes=1, source="a benchmark")
    return Contract(
        roles=("primary",), image_size=(PIXELS, PIXELS), history=history, chunk=1, embodiments={ROBOT: arm},
        layouts={ROBOT: CANONICAL}, statistics={ROBOT: spread},
    )  # fmt: skip


def _spread(width: int) -> FieldStatistics:
    ends = {name: (value,) * width for name, value in {"mean": 0.0, "std": 1.0, "min": -1.0, "max": 1.0}.items()}
    return FieldStatistics(**ends, q01=(-1.0,) * width, q99=(1.0,) * width, count=100)


def nano() -> Policy:
    config = dataclasses.replace(nano_paligemma(), text_length=16)
    tokenizer = WordTokenizer.from_texts(["push the red cube to the left"], max_length=16)
    model = build_vla(config)
    inputs = Inputs(contract(), tokenizer)
    blank = inputs.batch([inputs.blank(ROBOT)], [inputs.robot(ROBOT)], size=1)
    return Policy(model=model, variables=_drawn(model, blank), contract=contract(), tokenizer=tokenizer, name="nano")


def remembering() -> Policy:
    config = dataclasses.replace(
        rt1(), image_size=(PIXELS, PIXELS), network_size=PIXELS, width_coefficient=0.4, depth_coefficient=0.4,
        image_features=128, width=128, num_layers=2, num_heads=4, head_width=32, mlp_width=128, action_dims=8,
    )  # fmt: skip
    model, promised = RT1X(config), contract(config.history)
    table = SentenceTable(("push the red cube",), np.zeros((1, config.sentence_width), np.float32), encoder="none")
    inputs = Inputs(promised, table)
    blank = inputs.batch([inputs.blank(ROBOT)], [inputs.robot(ROBOT)], size=1)
    variables = _drawn(model, blank)
    variables = {**variables, "batch_stats": jax.tree.map(np.ones_like, variables["batch_stats"])}  # no negative variances
    return Policy(model=model, variables=variables, contract=promised, tokenizer=table, name="remembering")


def _drawn(model: Model, blank: Batch) -> Variables:
    rng, shapes = np.random.default_rng(0), jax.eval_shape(model.init, jax.random.key(0), blank)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.02, leaf.shape).astype(leaf.dtype), shapes)


class Instant:
    """Answers at once: what is left is serving."""

    def __init__(self, inner: Policy) -> None:
        self._inner = inner
        self.contract, self.name, self.fingerprint = inner.contract, "instant", "0"
        self.check, self.session, self.continuation = inner.check, inner.session, inner.continuation

    def warm_up(self, batch_sizes: Sequence[int]) -> float:
        return 0.0

    def act(self, observation: Observation, *, robot: str) -> ActionChunk:
        stamp = observation.stamp_ns
        names = CANONICAL.action.dim_names
        return ActionChunk(
            actions=np.zeros((1, 8), np.float32), names=names, control_hz=HZ, stamp_ns=stamp, valid_until_ns=stamp + 10**8
        )

    def act_batch(
        self, observations: Sequence[Observation], robots: Sequence[str], sessions: Sequence[Any] = ()
    ) -> list[ActionChunk]:
        return [self.act(each, robot=robot) for each, robot in zip(observations, robots, strict=True)]


def observation() -> Observation:
    picture = np.random.default_rng(0).integers(0, 256, (1, PIXELS, PIXELS, 3), dtype=np.uint8)
    return Observation(
        images={"primary": picture}, image_mask={"primary": np.ones(1, bool)}, proprio=np.zeros((1, 10), np.float32),
        instruction="push the red cube", stamp_ns=time.monotonic_ns(),
    )  # fmt: skip


def message(id: int, **more: object) -> bytes:
    seen = observation()
    return pack(
        {"type": "act", "id": id, "robot": ROBOT, "instruction": seen.instruction, "stamp_ns": seen.stamp_ns,
         "proprio": seen.proprio, "images": dict(seen.images), **more}
    )  # fmt: skip


@contextlib.contextmanager
def serving(policy: Policy | Instant, *, max_batch: int) -> Iterator[Running]:
    """The server in a thread of this process, the policy's."""
    running: list[Running] = []
    ready = threading.Event()

    def opened(server: Running) -> None:
        running.append(server)
        ready.set()

    thread = threading.Thread(
        target=lambda: serve(policy, port=0, max_batch=max_batch, options=Options(), ready=opened), daemon=True
    )
    thread.start()
    if not ready.wait(600):
        raise RuntimeError("the server did not become ready")
    try:
        yield running[0]
    finally:
        running[0].stop()
        thread.join(30)


# one robot


def overhead(policy: Policy | Instant, repeats: int) -> dict[str, float]:
    """Milliseconds: medians of a bare call, of a served one and of the difference of neighbours."""
    bare, served = [], []
    with serving(policy, max_batch=1) as server, connect(server.url, compression=None, proxy=None) as socket:
        socket.recv(timeout=SOON)
        for number in range(repeats + 5):
            seen = observation()
            start = time.perf_counter()
            policy.act(seen, robot=ROBOT)
            middle = time.perf_counter()
            socket.send(message(number))
            answer = unpack(socket.recv(timeout=SOON))
            end = time.perf_counter()
            assert answer["type"] == "actions", answer
            if number >= 5:
                bare.append(1e3 * (middle - start))
                served.append(1e3 * (end - middle))
    difference = [after - before for before, after in zip(bare, served, strict=True)]
    return {name: round(statistics.median(x), 2) for name, x in (("bare", bare), ("served", served), ("over", difference))}


# many robots, in a process of their own


async def _closed(url: str, seconds: float, found: collections.Counter[str], **more: object) -> None:
    async with connect_async(url, compression=None, proxy=None) as socket:
        await socket.recv()
        until, data = time.monotonic() + seconds, message(1, **more)
        while time.monotonic() < until:
            await socket.send(data)
            found[unpack(await socket.recv())["type"]] += 1


async def _paced(url: str, seconds: float, hz: float, phase: float) -> tuple[list[float], collections.Counter[str]]:
    """Milliseconds of the answered questions, and what all were answered with."""
    sent: dict[int, float] = {}
    taken, codes, count = [], collections.Counter(), round(seconds * hz)

    async def ask() -> None:
        start = time.monotonic() + phase / hz
        for number in range(count):
            await asyncio.sleep(max(start + number / hz - time.monotonic(), 0))
            data = message(number)
            sent[number] = time.monotonic()
            await socket.send(data)

    async with connect_async(url, compression=None, proxy=None) as socket:
        await socket.recv()
        asking = asyncio.create_task(ask())
        for _ in range(count):
            answer = unpack(await socket.recv())
            codes[answer.get("code", "ok")] += 1
            if answer["type"] == "actions":
                taken.append(1e3 * (time.monotonic() - sent[answer["id"]]))
        await asking
    return taken, codes


async def _robots(url: str, kind: str, number: int, seconds: float) -> dict[str, object]:
    if kind in ("closed", "episodes"):
        found: collections.Counter[str] = collections.Counter()
        more = {"episode": 1} if kind == "episodes" else {}
        await asyncio.gather(*(_closed(url, seconds, found, **more) for _ in range(number)))
        return {"answers_per_s": round(found["actions"] / seconds, 1)}
    work = [_paced(url, seconds, HZ, i / number) for i in range(number)]
    if kind == "flood":
        work.append(_paced(url, seconds, 500.0, 0.0))
    results = await asyncio.gather(*work)
    if kind == "flood":
        *results, flood = results
    taken = sorted(value for each, _ in results for value in each)
    codes = sum((codes for _, codes in results), collections.Counter())
    answered = [codes["ok"] / sum(codes.values()) for _, codes in results]
    said: dict[str, object] = {
        "p50_ms": round(float(np.percentile(taken, 50)), 1), "p99_ms": round(float(np.percentile(taken, 99)), 1),
        "codes": dict(codes), "answered_least": round(min(answered), 2), "answered_most": round(max(answered), 2),
    }  # fmt: skip
    return said | ({"flood": dict(flood[1])} if kind == "flood" else {})


def robots(url: str, kind: str, number: int, seconds: float) -> dict[str, object]:
    command = [sys.executable, "-m", "benchmarks.serving", "--url", url, "--kind", kind, "--robots", str(number)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [*command, "--seconds", str(seconds)], stdout=subprocess.PIPE, check=True, timeout=600, env=environment, text=True
    )
    result: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement with many robots")
    parser.add_argument("--repeats", type=int, default=300, help="questions of the overhead")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--robots", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.url:
        print(json.dumps(asyncio.run(_robots(args.url, args.kind, args.robots, args.seconds))))
        return
    policy = nano()
    load = os.getloadavg()[0] / len(os.sched_getaffinity(0))
    print(f"load {load:.1f} a core on {len(os.sched_getaffinity(0))} cores", flush=True)
    if "overhead" in args.parts:
        print(f"overhead, instant policy, ms: {overhead(Instant(policy), args.repeats)}", flush=True)
        print(f"overhead, nano policy, ms:    {overhead(policy, args.repeats)}", flush=True)
    for max_batch in (1, 16, 1, 16) if "throughput" in args.parts else ():
        with serving(policy, max_batch=max_batch) as server:
            found = robots(server.url, "closed", 16, args.seconds)
        print(f"throughput, 16 robots, calls of up to {max_batch}: {found}", flush=True)
    if "episodes" in args.parts:
        kept = remembering()
        kept.warm_up(range(1, 17))
        for max_batch in (1, 16, 1, 16):
            with serving(kept, max_batch=max_batch) as server:
                found = robots(server.url, "episodes", 16, args.seconds)
            print(f"episodes, 16 robots, calls of up to {max_batch}: {found}", flush=True)
    if "robots" in args.parts:
        _print_robots(policy, args.seconds)


def _print_robots(policy: Policy, seconds: float) -> None:
    with serving(policy, max_batch=16) as server:
        for number in (1, 4, 16, 64):
            print(f"{number} robots at 10 Hz: {robots(server.url, 'paced', number, seconds)}", flush=True)
        print(f"4 robots and a flood: {robots(server.url, 'flood', 4, seconds)}", flush=True)


if __name__ == "__main__":
    main()
