"""The kill matrix: training processes killed in every phase of a save and a restore, and at random, until enough have died.

    python -m tests.kill.matrix --kills 200 [--processes 2] [--seed 1]      1, 2, or in turn: 1,2

Every kill is followed by at least 50 steps of the same run, each compared with the uninterrupted run's: rows of the batch,
random bits, loss; at the end of a run every array of its last checkpoint. The last line is the summary; exit code 1 if
anything was torn, lost or unlike.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.kill.findings import Findings
from tests.kill.lives import Death, Run
from tests.kill.phases import MOMENTS, PHASES, Plan
from tests.train.small_run import write_sets

NUM_STEPS, LONGEST_LIFE = 200, 70  # a life that is to be killed takes at most so many steps (40, and what it does meanwhile)
FOLLOWED = 50  # steps after each kill
LONGEST_AMID_S = 0.3
SELDOM = "run.save_every=100"  # of runs that are not killed: saves cost more than steps


def deaths(rng: random.Random, *, random_s: float) -> Iterator[Callable[[int], Death]]:
    """Without end, each for a number of processes: every phase and moment in turn, shuffled, each followed by a death
    `random_s` after the start at most."""
    while True:
        planned = [(phase, moment) for phase in PHASES for moment in MOMENTS]
        for phase, moment in rng.sample(planned, len(planned)):
            call = 1 if PHASES[phase].once else rng.randint(1, 3)
            plan = Plan(phase=phase, call=call, moment=moment, amid_s=rng.uniform(0, LONGEST_AMID_S))
            yield partial(_planned, rng, plan)
            yield partial(_at_random, rng, rng.uniform(0, random_s))


def _planned(rng: random.Random, plan: Plan, num_processes: int) -> Death:
    process = 0 if PHASES[plan.phase].by_leader else rng.randrange(num_processes)
    return Death(plan=plan, process=process, together=rng.random() < 0.5)


def _at_random(rng: random.Random, after_s: float, num_processes: int) -> Death:
    return Death(after_s=after_s, process=rng.randrange(num_processes), together=rng.random() < 0.5)


def run_matrix(folder: Path, *, kills: int, seed: int, processes: Sequence[int] = (1,)) -> Findings:
    """`processes`: how many a life has, in turn. The folders of runs with findings stay, for the person who looks into them."""
    data = [Path(one.prepared) for one in write_sets(folder / "data")]
    findings = Findings()
    whole, again = (Run(folder / name, data, num_steps=NUM_STEPS, settings=[SELDOM]) for name in ("whole", "again"))
    for run in (whole, again):  # the first compiles, the second is as long as a life
        assert run.live(num_processes=processes[0])
    rng, counts = random.Random(seed), itertools.cycle(processes)
    coming = deaths(rng, random_s=again.seconds_until(LONGEST_LIFE // 2))
    while sum(findings.kills.values()) < kills:
        run = Run(folder / f"run{findings.runs}", data, num_steps=NUM_STEPS, whole=whole, findings=findings)
        while NUM_STEPS - run.newest >= FOLLOWED + LONGEST_LIFE and sum(findings.kills.values()) < kills:
            count = next(counts)
            run.live(next(coming)(count), num_processes=count)
            print(findings, file=sys.stderr, flush=True)
        run.live(num_processes=next(counts))
        findings.runs += 1
        if findings.is_clean:
            shutil.rmtree(run.folder)
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--processes", default="1", help="of each life; 1,2 = in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="default: a temporary folder")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="rtx-kill-matrix-"))
    processes = [int(count) for count in args.processes.split(",")]
    findings = run_matrix(folder, kills=args.kills, seed=args.seed, processes=processes)
    for kind, count in sorted(findings.kills.items()):
        print(f"{count:5} {kind}")
    for line in findings.lines():
        print(line)
    print(f"seed={args.seed} processes={args.processes} {findings}")
    sys.exit(0 if findings.is_clean else 1)


if __name__ == "__main__":
    main()
