"""How often the scripted experts do what they are told, by arm and task: the upper end of what a policy taught by them can do.

    python benchmarks/expert.py          # every task, all seven arms, 20 scenes each: half an hour on 2 cores
    python benchmarks/expert.py --tasks lift,stack@unseen_objects --arms sim_panda --seeds 5

Disturbed as in demonstrations, within the time that a policy gets. Prints a table and the seeds that failed.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from rtx.eval.sim.splits import find_task
from rtx.eval.sim.tasks import TASKS
from rtx.robots.sim_arms import SIM_ARMS
from rtx.tables import text_table


def measure(arm: str, tasks: list[str], num_seeds: int) -> dict[str, tuple[list[int], float]]:
    """Of each task the seeds that failed, and the mean share of its time that the others took."""
    from rtx.eval.sim.env import SimEnv

    results = {}
    with contextlib.closing(SimEnv(arm)) as env:
        for task in tasks:
            results[task] = failed, share = _measure(env, task, num_seeds)
            print(f"{arm} {task}: {num_seeds - len(failed)} of {num_seeds}, {100 * share:.0f} % of its time", flush=True)
    return results


def _measure(env, task: str, num_seeds: int) -> tuple[list[int], float]:
    most = round(find_task(task).max_seconds * env.embodiment.control_hz)
    lengths = {seed: _play(env, task, seed, most) for seed in range(num_seeds)}
    shares = [length / most for length in lengths.values() if length is not None]
    return [seed for seed, length in lengths.items() if length is None], float(np.mean(shares)) if shares else 1.0


def _play(env, task: str, seed: int, most: int) -> int | None:
    """Steps until the expert was done; None if it was not in time."""
    from rtx.eval.sim.expert import Expert
    from rtx.robots.adapter import Adapter

    frame = env.reset(task=task, seed=seed, render=False)
    expert, adapter = Expert(env, np.random.default_rng(seed)), Adapter(env.embodiment)
    for step in range(most):
        frame = env.step(adapter.to_native(expert.act(), proprio_native=frame.proprio), render=False)
        if expert.done:
            return step + 1
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default=",".join(SIM_ARMS))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    arms, tasks = args.arms.split(","), args.tasks.split(",")
    with ProcessPoolExecutor(args.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = dict(zip(arms, pool.map(measure, arms, [tasks] * len(arms), [args.seeds] * len(arms)), strict=True))
    rows = [[task, *(f"{args.seeds - len(results[arm][task][0])}" for arm in arms), _time(results, task)] for task in tasks]
    print(f"\nSuccesses of {args.seeds}, and the share of its time that an episode took:\n")
    print(text_table(["task", *arms, "time"], rows))
    for arm in arms:
        for task in tasks:
            if results[arm][task][0]:
                print(f"{arm} {task} failed at seeds {results[arm][task][0]}")


def _time(results: dict[str, dict[str, tuple[list[int], float]]], task: str) -> str:
    return f"{100 * np.mean([of_arm[task][1] for of_arm in results.values()]):.0f} %"


if __name__ == "__main__":
    main()
