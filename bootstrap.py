#!/usr/bin/env python3
"""From a bare machine (Python 3.11+ with pip) to a running rtx, in one command. Standard library only.

    python3 bootstrap.py quickstart [ARGS]    the whole path on simulated robots; ends with a report to look at
    python3 bootstrap.py test [PYTEST ARGS]   lint, format, types, tests
    python3 bootstrap.py rtx ARGS             any rtx command, in the same environment

Everything lands in the clone (.cache/uv-tool, .venv) and in the usual caches of pip and uv. pip fetches uv; uv makes the
environment, byte-compiled (TensorFlow imports three times slower otherwise), from pyproject.toml and constraints.txt.
The environment is rebuilt only when one of those two files changed.
"""

from __future__ import annotations

import ctypes.util
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TOOL, VENV = ROOT / ".cache" / "uv-tool", ROOT / ".venv"
EXTRAS = (
    "write,sim,metaworld,aloha,lerobot,episodes,arrayrecord,cloud,language,weights,ray,tensorboard,wandb,tpu,"
    "ik,ur,xarm,franka,dynamixel,cameras,dev"
)
GL_LINE = "apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri"


def run(*command: object, **kwargs: object) -> None:
    done = subprocess.run([str(c) for c in command], cwd=ROOT, **kwargs)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(done.returncode)


def find_uv() -> Path:
    """uv through pip into the clone: --target works for a Python that distributions mark as externally managed, too."""
    uv = TOOL / "bin" / "uv"
    if not uv.exists():
        print("bootstrap: fetching uv with pip", file=sys.stderr, flush=True)
        run(sys.executable, "-m", "pip", "install", "--quiet", "--target", TOOL, "--upgrade", "uv>=0.5")
    return uv


def fingerprint() -> str:
    files = b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
    return hashlib.sha256(files + sys.version.encode()).hexdigest()


def ensure_environment() -> Path:
    """The environment's folder of programs; builds it if it is missing, half built, or of another pyproject.toml."""
    stamp = VENV / "rtx-environment"
    programs = VENV / "bin"
    if stamp.exists() and stamp.read_text() == fingerprint():
        return programs
    uv = find_uv()
    supported = (3, 11) <= sys.version_info[:2] < (3, 13)
    print("bootstrap: making the environment (.venv), about 5 GB; 1 to 5 minutes", file=sys.stderr, flush=True)
    run(uv, "venv", "--quiet", "--clear", "--python", sys.executable if supported else "3.12", VENV)
    run(
        uv, "pip", "install", "--quiet", "--python", programs / "python", "--compile-bytecode",
        "--constraint", "constraints.txt", "--editable", f".[{EXTRAS}]",
    )  # fmt: skip
    stamp.write_text(fingerprint())
    return programs


def warn_without_gl() -> None:
    if sys.platform == "linux" and not ctypes.util.find_library("EGL"):
        print(f"bootstrap: the library libEGL is missing; simulated cameras need it:\n    {GL_LINE}", file=sys.stderr)


def test(programs: Path, arguments: list[str]) -> None:
    run(programs / "ruff", "check", ".")
    run(programs / "ruff", "format", "--check", ".")
    run(programs / "mypy")
    run(programs / "python", "-m", "pytest", "-n", "2", *arguments)  # two workers: compilation and simulation fill them


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in ("quickstart", "test", "rtx"):
        sys.exit(__doc__)
    if sys.version_info < (3, 11):  # noqa: UP036  a stranger may start it with any Python
        sys.exit(
            f"bootstrap: rtx needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: python3.12 bootstrap.py ..."
        )
    verb, arguments = sys.argv[1], sys.argv[2:]
    warn_without_gl()
    programs = ensure_environment()
    if verb == "test":
        test(programs, arguments)
    else:
        command = [str(programs / "rtx"), *(["quickstart"] if verb == "quickstart" else []), *arguments]
        os.execv(command[0], command)


if __name__ == "__main__":
    main()
