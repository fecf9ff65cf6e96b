"""The kill matrix: training processes killed in every phase of a save and a restore, and at random, until enough have died.

    python -m tests.kill.matrix --kills 200 [--processes 2] [--seed 1]

Every kill is followed by at least 50 steps of the same run, each compared with the uninterrupted run's: rows of the batch,
random bits, loss; at the end of a run every array of its last checkpoint. The last line is the summary; exit code 1 if
anything was torn, lost or unlike.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.kill.findings import Findings
from tests.kill.lives import Death, Run
from tests.kill.phases import MOMENTS, PHASES, Plan
from tests.train.small_run import write_sets

NUM_STEPS, LONGEST_LIFE = 240, 70  # a life that is to be killed takes at most so many steps (40, and what it does meanwhile)
FOLLOWED = 50  # steps after each kill
LONGEST_AMID_S = 0.3


def deaths(rng: random.Random, *, random_s: float, num_processes: int = 1) -> Iterator[Death]:
    """Without end: every phase and moment in turn, shuffled, each followed by a death `random_s` after the start at most."""
    while True:
        planned = [(phase, moment) for phase in PHASES for moment in MOMENTS]
        for phase, moment in rng.sample(planned, len(planned)):
            call = 1 if phase == "restore" else rng.randint(1, 3)
            plan = Plan(phase=phase, call=call, moment=moment, amid_s=rng.uniform(0, LONGEST_AMID_S))
            process = 0 if PHASES[phase].by_leader else rng.randrange(num_processes)
            yield Death(plan=plan, process=process, together=rng.random() < 0.5)
            yield Death(after_s=rng.uniform(0, random_s), process=rng.randrange(num_processes), together=rng.random() < 0.5)


def run_matrix(folder: Path, *, kills: int, seed: int, num_processes: int = 1) -> Findings:
    """The folders of runs with findings stay for the person who looks into them."""
    data = [Path(one.prepared) for one in write_sets(folder / "data")]
    findings = Findings()
    whole, again = (Run(folder / name, data, num_steps=NUM_STEPS) for name in ("whole", "again"))
    for run in (whole, again):
        run.live(num_processes=num_processes)
    rng = random.Random(seed)
    coming = deaths(rng, random_s=again.seconds_until(LONGEST_LIFE // 2), num_processes=num_processes)
    for number in range(kills):
        if sum(findings.kills.values()) >= kills:
            break
        run = Run(folder / f"run{number}", data, num_steps=NUM_STEPS, whole=whole, findings=findings)
        while NUM_STEPS - run.newest >= FOLLOWED + LONGEST_LIFE and sum(findings.kills.values()) < kills:
            run.live(next(coming), num_processes=num_processes)
        run.live(num_processes=num_processes)
        print(f"runs={number + 1} {findings}", file=sys.stderr, flush=True)
        if findings.is_clean:
            shutil.rmtree(run.folder)
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="kept; default: a temporary folder")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="rtx-kill-matrix-"))
    findings = run_matrix(folder, kills=args.kills, seed=args.seed, num_processes=args.processes)
    for kind, count in sorted(findings.kills.items()):
        print(f"{count:5} {kind}")
    for line in findings.lines():
        print(line)
    print(f"seed={args.seed} processes={args.processes} {findings}")
    sys.exit(0 if findings.is_clean else 1)


if __name__ == "__main__":
    main()
