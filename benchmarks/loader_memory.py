"""Resident memory of the loader over many batches and over many data sets (Linux: /proc/self/smaps_rollup).

    python benchmarks/loader_memory.py [--folder FOLDER] [--batches 20000]

Small pictures (scaled decode to 32 x 32) make 20,000 batches a matter of minutes; everything else is as in training. Each
mixture runs in a process of its own. `private` is memory of the process alone, `tables` are the pages of mapped files that it
has touched and that the system takes back when memory gets short. Slopes are least squares over the last three quarters.
The last lines say what step tables take per step, and what that would be for all of Open X-Embodiment.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import loader_data
import numpy as np

BATCH, SAMPLE_EVERY = 8, 250
# 2.4 million episodes: https://robotics-transformer-x.github.io (2024).
OXE_EPISODES, STEPS_PER_EPISODE = 2_400_000, (60, 120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, help="where benchmarks/loader.py keeps its data set; default: a temporary folder"
    )
    parser.add_argument("--batches", type=int, default=20_000, help="per mixture, default %(default)s")
    parser.add_argument("--sets", type=int, nargs="+", default=[1, 30], help="sizes of mixtures, default %(default)s")
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        print(json.dumps(measure(args.folder, args.run, args.batches)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        loader_data.prepared_set(folder)
        print("data sets  batches  private MB  per 1,000  tables MB  per 1,000   beforehand")
        for num_sets in args.sets:
            options = {"folder": folder, "run": num_sets, "batches": args.batches}
            program = [sys.executable, __file__, *(str(x) for name, value in options.items() for x in (f"--{name}", value))]
            done = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True)
            print_row(num_sets, args.batches, json.loads(done.stdout.splitlines()[-1]))
        print_tables(folder / "prepared")


def measure(folder: Path, num_sets: int, num_batches: int) -> dict[str, Any]:
    from rtx.data.loader import Loader
    from rtx.data.tokenizers import Tokenizers

    with tempfile.TemporaryDirectory() as copies:
        mixture = copied_sets(folder / "prepared", Path(copies), num_sets)
        loader = Loader(
            mixture, batch_size=BATCH, history=2, chunk=4, roles=mixture.roles, image_size=(32, 32), seed=0, num_threads=2,
            tokenizers=Tokenizers.alike(lambda texts: np.zeros((len(texts), 8), np.int32)),
        )  # fmt: skip
        beforehand, samples = str(loader.memory()), []
        with loader:
            for i in range(num_batches):
                next(loader)
                if i % SAMPLE_EVERY == SAMPLE_EVERY - 1:
                    samples.append((i + 1, *resident_mb()))
    return {"beforehand": beforehand, "samples": samples}


def copied_sets(prepared: Path, folder: Path, num_sets: int) -> Any:
    """A mixture of so many data sets, each with files of its own (the shards with the pictures are shared)."""
    from rtx.data.mixture import Mixture, MixtureEntry
    from rtx.data.prepared import PreparedSet

    entries = []
    for i in range(num_sets):
        shutil.copytree(prepared, folder / str(i))
        copy = dataclasses.replace(PreparedSet.open(folder / str(i)), name=f"set {i}")
        entries.append(MixtureEntry(prepared=copy))
    return Mixture(entries=tuple(entries))


def resident_mb() -> tuple[float, float]:
    """(anonymous, of mapped files), proportional shares of what other processes map too."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    kb = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return kb["Pss_Anon"] / 1024, (kb["Pss_File"] + kb["Pss_Shmem"]) / 1024


def print_row(num_sets: int, num_batches: int, result: dict[str, Any]) -> None:
    count, private, mapped = np.array(result["samples"]).T
    late = count > count[-1] / 4
    slopes = [1000 * np.polyfit(count[late], column[late], 1)[0] for column in (private, mapped)]
    print(
        f"{num_sets:>9}{num_batches:>9,}{private[-1]:>12.1f}{slopes[0]:>+11.3f}{mapped[-1]:>11.1f}{slopes[1]:>+11.3f}"
        f"   {result['beforehand']}",
        flush=True,
    )


def print_tables(prepared: Path) -> None:
    from rtx.data.prepared import PreparedSet

    opened = PreparedSet.open(prepared)
    split, num_cameras = opened.split("train"), len(opened.roles)
    files = {path.stem: path.stat().st_size for path in split.folder.glob("*.npy")}
    per_camera = sum(size for name, size in files.items() if name.endswith(("_offset", "_length"))) / num_cameras
    common = sum(files.values()) - per_camera * num_cameras
    per_step, per_step_camera = common / split.num_steps, per_camera / split.num_steps
    print(f"\nstep table of {opened.name}: {per_step:.1f} bytes a step and {per_step_camera:.1f} for each camera; all of OXE:")
    for cameras in (1, 2, 3):
        sizes = [OXE_EPISODES * steps * (per_step + cameras * per_step_camera) / 1e9 for steps in STEPS_PER_EPISODE]
        print(
            f"  {cameras} cameras: {per_step + cameras * per_step_camera:.0f} bytes a step; {OXE_EPISODES / 1e6:.1f} million"
            f" episodes of {STEPS_PER_EPISODE[0]} to {STEPS_PER_EPISODE[1]} steps: {sizes[0]:.0f} to {sizes[1]:.0f} GB"
        )


if __name__ == "__main__":
    main()
