"""A training run whose storage stands still in the middle of its first save, until a line comes on its standard input.

python held_run.py CONFIG.json RUN      prints "held STEP" when it does: the child of the tests of SIGTERM
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any


def main(config_file: str, run_dir: str) -> None:
    from rtx.train import loop
    from rtx.train.checkpoint import writing
    from rtx.train.config import config_from_json

    write_manifest, held = writing.write_manifest, []

    def holding(folder: Path, step: int, files: Any) -> None:
        if not held:
            held.append(step)
            print(f"held {step}", flush=True)
            sys.stdin.readline()
        write_manifest(folder, step, files)

    writing.write_manifest = holding
    logging.basicConfig(level=logging.WARNING, format="%(name)s %(message)s", force=True)
    loop.train(config_from_json(json.loads(Path(config_file).read_text())), Path(run_dir))


if __name__ == "__main__":
    main(*sys.argv[1:])
