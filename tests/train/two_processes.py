"""Several processes of one run, each with two forced devices, joined through jax.distributed on this machine.

python two_processes.py FUNCTION INDEX COUNT ADDRESS FOLDER      a child: `FUNCTION(FOLDER)` of hosts_at_work
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start(function: str, folder: Path, *, count: int = 2) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    commands = [[sys.executable, __file__, function, str(i), str(count), address, str(folder)] for i in range(count)]
    return [subprocess.Popen(c, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]


def run(function: str, folder: Path, *, count: int = 2) -> list[str]:
    """What each process logged. Fails with the log of one that failed; the others, who would wait for it, are ended."""
    processes = start(function, folder, count=count)

    def log_of(process: subprocess.Popen[str]) -> str:
        try:
            return process.communicate(timeout=180)[1]  # stdout has gloo's chatter
        finally:
            if process.returncode != 0:
                for other in processes:
                    other.kill()

    with ThreadPoolExecutor(count) as pool:
        logs = list(pool.map(log_of, processes))
    crashed = [log for process, log in zip(processes, logs, strict=True) if process.returncode not in (0, -signal.SIGKILL)]
    assert not crashed, crashed[0][-4000:]
    assert [process.returncode for process in processes] == [0] * count, logs[0][-4000:]
    return logs


def main(function: str, index: str, count: str, address: str, folder: str) -> None:
    import logging

    import jax

    logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
    jax.distributed.initialize(address, num_processes=int(count), process_id=int(index))
    from tests.train import hosts_at_work

    try:
        getattr(hosts_at_work, function)(Path(folder))
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # an orderly end would wait for the others


if __name__ == "__main__":
    main(*sys.argv[1:])
