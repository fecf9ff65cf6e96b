"""Cuts a robot's connection again and again, kills its server, repeats old answers: does anything stale reach the robot?

    robot (rtx_client) --socket--> relay --socket--> policy server, a process of its own
                                     cuts in the middle of questions and answers, doubles answers, and says answers of
                                     connections long gone once more

    python -m benchmarks.disconnects --cuts 1000 --kills 10

Every question carries its own number as the robot's state, and the policy answers with the state it was shown: an action that
does not say the number that was asked, or that has expired, would be a stale one. Prints the counts, and for each killed
server how long after the next one was ready the robot was connected again.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rtx.embodiment import CANONICAL
from rtx.robots.sim_arms import SIM_ARMS
from rtx.spec import ActionChunk, Contract, FieldStatistics, Observation, Statistics
from rtx_client import Actions, Client, Hold

ROBOT = "sim_panda"
_LOOPBACK = "127.0.0.1"
_REPEAT, _AGAIN = 0.3, 0.2  # chances that an answer is said twice, and that an old one is said before it


# the server


def _contract() -> Contract:
    def flat(width: int) -> FieldStatistics:
        zeros, ones = (0.0,) * width, (1.0,) * width
        return FieldStatistics(mean=zeros, std=ones, min=zeros, max=ones, q01=zeros, q99=ones, count=1)

    statistics = Statistics(action=flat(8), proprio=flat(10), num_episodes=1, source="a benchmark")
    return Contract(
        roles=("primary",), image_size=(16, 16), history=1, chunk=4, embodiments={ROBOT: SIM_ARMS[ROBOT]},
        layouts={ROBOT: CANONICAL}, statistics={ROBOT: statistics},
    )  # fmt: skip


class Echo:
    """Says the first number of the state it is shown, after up to 5 ms."""

    name, fingerprint, continuation = "echo", "echo", "spliced"

    def __init__(self) -> None:
        self.contract, self._dice = _contract(), random.Random()

    def warm_up(self, batch_sizes: Sequence[int]) -> float:
        return 0.0

    def check(self, observation: Observation, *, robot: str) -> None:
        pass

    def act_batch(
        self, observations: Sequence[Observation], robots: Sequence[str], sessions: Sequence[object] = ()
    ) -> list[ActionChunk]:
        time.sleep(self._dice.uniform(0, 0.005))
        return [self._act(observation) for observation in observations]

    def session(self, robot: str) -> Echo:
        raise AssertionError("no episodes here")

    def act(self, observation: Observation) -> ActionChunk:
        return self._act(observation)

    def _act(self, seen: Observation) -> ActionChunk:
        hz = SIM_ARMS[ROBOT].control_hz
        return ActionChunk(
            actions=np.full((4, 8), seen.proprio[-1, 0], np.float32), names=CANONICAL.action.dim_names, control_hz=hz,
            stamp_ns=seen.stamp_ns, valid_until_ns=seen.stamp_ns + round(4e9 / hz),
        )  # fmt: skip


def _serve(port: int) -> None:
    from rtx.serve.server import serve

    serve(Echo(), port=port, max_batch=1, ready=lambda server: print(server.port, flush=True))


class ServerProcess:
    """A policy server that can be killed with SIGKILL and started again on its port."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> float:
        """Returns the monotonic time at which it was ready."""
        command = [sys.executable, "-m", "benchmarks.disconnects", "--serve", str(self.port)]
        root = Path(__file__).resolve().parents[1]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=root)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.kill()
            raise RuntimeError("the server process ended before it was ready")
        self.port = int(line)
        return time.monotonic()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


# the relay


class Relay:
    """Passes bytes on between robot and server, in a thread, and harms what it can. `cuts` counts connections cut."""

    def __init__(self, server: ServerProcess, *, max_cuts: int, seed: int) -> None:
        self._server, self._max_cuts, self._dice = server, max_cuts, random.Random(seed)
        self._old: collections.deque[bytes] = collections.deque(maxlen=200)  # answers of all connections so far
        self.cuts, self.repeated = 0, 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.close()

    async def _listen(self) -> None:
        self._end = asyncio.Event()
        listening = await asyncio.start_server(self._pass_on, _LOOPBACK, 0)
        self.port = listening.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        listening.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _pass_on(self, robot: asyncio.StreamReader, to_robot: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await asyncio.open_connection(_LOOPBACK, self._server.port)
        except OSError:  # it was killed
            to_robot.transport.abort()
            return
        where = self._dice.choice(("question", "answer", "withheld", "after")) if self.cuts < self._max_cuts else "never"
        fate = _Fate(where, self._dice.randrange(4))
        pumps = [
            asyncio.ensure_future(self._questions(robot, to_server, fate)),
            asyncio.ensure_future(self._answers(server, to_robot, fate)),
        ]
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                self.cuts += any(not task.exception() and task.result() for task in done)
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (to_robot, to_server):
                with contextlib.suppress(OSError):  # a reset, not a goodbye
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                end.transport.abort()

    async def _questions(self, robot: asyncio.StreamReader, to_server: asyncio.StreamWriter, fate: _Fate) -> bool:
        while data := await robot.read(1 << 16):
            if fate.where == "question" and fate.left <= 0 and fate.greeted:
                to_server.write(data[: len(data) // 2])
                await to_server.drain()
                return True
            to_server.write(data)
            await to_server.drain()
        return False

    async def _answers(self, server: asyncio.StreamReader, to_robot: asyncio.StreamWriter, fate: _Fate) -> bool:
        """Frame by frame, so that whole answers can be said out of place. Returns whether it cut the connection."""
        to_robot.write(await server.readuntil(b"\r\n\r\n"))
        while True:
            frame = await _frame(server)
            is_answer = frame[0] & 0x0F == 2 and fate.greeted
            fate.greeted |= frame[0] & 0x0F == 2
            if not is_answer:
                to_robot.write(frame)
                continue
            fate.left -= 1
            if fate.where == "withheld" and fate.left < 0:
                self._old.append(frame)
                return True
            if fate.where == "answer" and fate.left < 0:
                to_robot.write(frame[: len(frame) // 2])
                await to_robot.drain()
                return True
            self._disturb(frame, to_robot)
            await to_robot.drain()
            if fate.where == "after" and fate.left < 0:
                return True

    def _disturb(self, frame: bytes, to_robot: asyncio.StreamWriter) -> None:
        if self._old and self._dice.random() < _AGAIN:
            to_robot.write(self._dice.choice(self._old))
            self.repeated += 1
        to_robot.write(frame)
        self._old.append(frame)
        if self._dice.random() < _REPEAT:
            to_robot.write(frame)
            self.repeated += 1


@dataclass
class _Fate:
    """Of one connection: where it will be cut, and after how many answers."""

    where: str
    left: int
    greeted: bool = False


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """One websocket frame of a server: unmasked."""
    head = await reader.readexactly(2)
    size = head[1] & 0x7F
    if size >= 126:
        more = await reader.readexactly(2 if size == 126 else 8)
        head, size = head + more, int.from_bytes(more, "big")
    return head + await reader.readexactly(size)


# the robot


@dataclass
class Result:
    """What happened. `holds` by code; `reconnect_s`: after a killed server's successor was ready."""

    cuts: int = 0
    repeated: int = 0
    kills: int = 0
    executed: int = 0
    stale: int = 0
    dropped: int = 0
    connections: int = 0
    holds: collections.Counter[str] = field(default_factory=collections.Counter)
    reconnect_s: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        holds = ", ".join(f"{count} {code}" for code, count in sorted(self.holds.items()))
        waits = np.array(self.reconnect_s or [np.nan])
        return (
            f"{self.cuts} connections cut, {self.kills} servers killed, {self.connections} connections made; "
            f"{self.repeated} answers repeated\n"
            f"{self.executed} chunks executed, {self.stale} of them stale; {self.dropped} answers dropped; held: {holds}\n"
            f"reconnected after a restart: median {np.median(waits):.2f} s, longest {waits.max():.2f} s"
        )


class _Robot:
    """Asks in both ways, and looks at all that it would execute."""

    def __init__(self, client: Client, result: Result) -> None:
        self._client, self._result = client, result
        self._number, self._asked = 0, {}  # type: int, dict[int, int]
        self._image = np.zeros((16, 16, 3), np.uint8)

    def _question(self) -> dict[str, object]:
        self._number += 1
        state = np.full(10, self._number % (1 << 20), np.float32)  # a number that float32 holds
        return {"images": {"primary": self._image}, "proprio": state, "instruction": "go", "timeout_s": 0.5}

    def step(self) -> None:
        try:
            if self._number % 2:
                actions: Actions | None = self._client.act(**self._question())  # type: ignore[arg-type]
                expected = self._number
            else:
                id = self._client.ask(**self._question())  # type: ignore[arg-type]
                self._asked[id] = self._number
                actions = self._poll()
                expected = self._asked.pop(actions.id, -1) if actions is not None else -1
        except Hold as hold:
            self._result.holds[hold.code] += 1
            time.sleep(0.002)
            return
        if actions is not None:
            late = time.monotonic_ns() > actions.valid_until_ns
            self._result.stale += late or not np.all(actions.actions == expected % (1 << 20))
            self._result.executed += 1

    def _poll(self) -> Actions | None:
        until = time.monotonic() + 0.02
        while (actions := self._client.poll()) is None and time.monotonic() < until:
            time.sleep(0.001)
        return actions


@contextlib.contextmanager
def _at_work(robot: _Robot) -> Iterator[None]:
    """The robot goes on asking in a thread of its own."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            robot.step()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def measure(*, cuts: int, kills: int, seed: int = 0) -> Result:
    """Cuts so many connections, then kills so many servers while the robot goes on asking."""
    result, server = Result(), ServerProcess()
    relay = Relay(server, max_cuts=cuts, seed=seed)
    try:
        with Client(f"ws://{_LOOPBACK}:{relay.port}", robot=ROBOT, patience_s=10.0) as client:
            robot = _Robot(client, result)
            while relay.cuts < cuts or client.counts["connected"] <= cuts:
                robot.step()
            for _ in range(kills):
                with _at_work(robot):
                    result.reconnect_s.append(_kill_and_restart(server, client))
                result.kills += 1
            result.dropped, result.connections = client.counts["dropped"], client.counts["connected"]
    finally:
        relay.close()
        server.kill()
    result.cuts, result.repeated = relay.cuts, relay.repeated
    return result


def _kill_and_restart(server: ServerProcess, client: Client) -> float:
    """Seconds from the new server's readiness to the robot's connection."""
    made = client.counts["connected"]
    server.kill()
    ready = server.start()
    while client.counts["connected"] == made:
        time.sleep(0.005)
    return max(time.monotonic() - ready, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve is not None:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        _serve(args.serve)
        return
    result = measure(cuts=args.cuts, kills=args.kills, seed=args.seed)
    print(result)
    raise SystemExit(1 if result.stale else 0)


if __name__ == "__main__":
    main()
