"""The real openpi-client drives a simulated arm through our server, and the arm ends where it ends without any server.

    python -m venv foreign && foreign/bin/pip install openpi-client==0.1.2 typing_extensions       (which it forgets)
    python -m tests.serve.openpi_drives --python foreign/bin/python

`tests/serve/test_openpi_drives.py` does all of this.
Three processes: the server (a small policy with random weights), openpi's client as it is, and the simulation here. Prints how
far apart the two runs of the arm are.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
from typing import IO, Any

import numpy as np

from rtx.eval.sim.env import SimEnv
from rtx.robots.adapter import Adapter
from rtx.spec import Observation
from rtx_client.wire import pack, unpack
from tests.serve.fuzz import serve_apart
from tests.small_policy import rt1_policy

ROBOT, INSTRUCTION = "sim_panda", "push the red cube"
CLIENT = """
import struct, sys
from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy

policy = WebsocketClientPolicy("127.0.0.1", int(sys.argv[1]))
while head := sys.stdin.buffer.read(4):
    observation = msgpack_numpy.unpackb(sys.stdin.buffer.read(struct.unpack("<I", head)[0]))
    answer = msgpack_numpy.packb({"actions": policy.infer(observation)["actions"]})
    sys.stdout.buffer.write(struct.pack("<I", len(answer)) + answer)
    sys.stdout.buffer.flush()
"""


def drive(act: Any, *, steps: int) -> np.ndarray:
    """The arm's states, native `[steps, p]`; `act(images, proprio)` gives canonical actions."""
    env = SimEnv(ROBOT)
    try:
        adapter, frame, states = Adapter(env.embodiment), env.reset(task="lift", seed=3), []
        for _ in range(steps):
            action = act(frame.images, adapter.proprio(frame.proprio))[0]
            frame = env.step(adapter.to_native(action, proprio_native=frame.proprio))
            states.append(frame.proprio)
        return np.array(states)
    finally:
        env.close()


def through(client: subprocess.Popen[bytes]) -> Any:
    def act(images: Any, proprio: np.ndarray) -> np.ndarray:
        observation = {
            "observation/image": images["primary"], "observation/wrist_image": images["wrist"],
            "observation/state": proprio, "prompt": INSTRUCTION,
        }  # fmt: skip
        data, stdin, stdout = pack(observation), client.stdin, client.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(struct.pack("<I", len(data)) + data)
        stdin.flush()
        actions: np.ndarray = unpack(_read(stdout))["actions"]
        return actions

    return act


def _read(stdout: IO[bytes]) -> bytes:
    (length,) = struct.unpack("<I", stdout.read(4))
    return stdout.read(length)


def in_this_process() -> Any:
    policy = rt1_policy()

    def act(images: Any, proprio: np.ndarray) -> np.ndarray:
        seen = Observation(
            images={role: images[role][None] for role in ("primary", "wrist")},
            image_mask={role: np.ones(1, bool) for role in ("primary", "wrist")},
            proprio=proprio[None].astype(np.float32), instruction=INSTRUCTION, stamp_ns=0,
        )  # fmt: skip
        return policy.act(seen, robot=ROBOT).actions

    return act


def compare(python: str, *, steps: int) -> tuple[float, float]:
    """Metres or radians: the largest difference of the two runs, and how far the arm moved."""
    with serve_apart("rt1_policy") as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            command = [python, "-c", CLIENT, port]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
                served = drive(through(client), steps=steps)
                assert client.stdin is not None
                client.stdin.close()
        finally:
            server.terminate()
    alone = drive(in_this_process(), steps=steps)
    return float(np.abs(served - alone).max()), float(np.abs(served[-1] - served[0]).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="of an environment with openpi-client")
    parser.add_argument("--steps", type=int, default=25)
    args = parser.parse_args()
    apart, moved = compare(args.python, steps=args.steps)
    print(f"steps {args.steps}: the arm moved {moved:.4f}, the two runs differ by {apart:.2e}")


if __name__ == "__main__":
    main()
