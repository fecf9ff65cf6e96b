"""`rtx finetune`: a checkpoint learns a new robot."""

from __future__ import annotations

import argparse
from pathlib import Path

from rtx.cli.verbs import Verbs, verb


def add_finetune(verbs: Verbs) -> None:
    parser = verb(verbs, "finetune", _finetune, "teach a checkpoint a new robot from its demonstrations; resumable")
    parser.add_argument("checkpoint", type=Path, help="run folder or checkpoint")
    parser.add_argument("--robot", required=True, metavar="R", help="your my_robot.py (rtx robots new), or a robot's name")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="PATH", help="its demonstrations: a prepared set, RLDS, LeRobot, HDF5, Zarr"
    )
    parser.add_argument("--run", type=Path, metavar="DIR", help="default: runs/ROBOT")
    parser.add_argument(
        "--mode", default="auto", help="full, frozen_vision, lora, head or new_head (default: by data and memory)"
    )
    parser.add_argument("--keep", type=float, default=0.0, metavar="SHARE", help="of the samples: the old robots', e.g. 0.25")
    parser.add_argument("--steps", type=int, help="default: by the amount of data")
    parser.add_argument("--lr", type=float, help="default: by the mode")
    parser.add_argument("--from-scratch", action="store_true", help="the same without the checkpoint's parameters, to compare")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--instruction", default="", metavar="TEXT", help="of every episode, for data that have none")
    parser.add_argument("--workers", type=int, default=2, help="processes that read the data (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override one leaf, as in rtx train")


def _finetune(args: argparse.Namespace) -> None:
    from rtx.finetune import finetune
    from rtx.robots import catalogue

    robot = catalogue.find(args.robot)
    run_dir = args.run or Path("runs") / (robot.name + ("-scratch" if args.from_scratch else ""))
    finetune(
        args.checkpoint, args.robot, args.data, run_dir, mode=args.mode, keep=args.keep, steps=args.steps, lr=args.lr,
        from_scratch=args.from_scratch, seed=args.seed, settings=tuple(args.set), instruction=args.instruction,
        num_workers=args.workers,
    )  # fmt: skip
    from rtx.finetune.text import closing

    print(closing(run_dir, args.robot))
