"""`rtx plan`: what a training run takes on accelerators that are not here."""

from __future__ import annotations

import argparse

from rtx.cli.verbs import Verbs, verb

_ABOUT = """\
Compiles the training step of CONFIG for a TPU slice, with the TPU compiler, on this machine, and tells what each chip would
hold, compute and exchange, how long a step takes at best, and whether the data keep up. Neither data sets nor vocabularies nor
weights are needed. A large model takes minutes of a CPU.

  rtx plan configs/rt1x.py:oxe --topology v5e:4x4 --set model.compute_dtype=bfloat16
  rtx plan configs/rt2.py:pali_x_55b --topology v5p:8x8x8 --set run.mesh.fsdp=-1 --set run.mesh.data=1
  rtx plan configs/rt2.py:pali_x_5b --topology v5e:16x16 --search
  rtx plan configs/rt2.py:palm_e_12b --topology gpu:h200x64        by calculation: GPUs' compilers need a GPU

TPUs need `pip install 'rtx-robotics[tpu]'`. docs/plans.md has plans of the RT-1-X and RT-2 models.
"""


def add_plan(verbs: Verbs) -> None:
    parser = verb(verbs, "plan", _plan, "what a run takes on accelerators: memory, time, exchanges; before anybody books them")
    parser.description, parser.formatter_class = _ABOUT, argparse.RawDescriptionHelpFormatter
    parser.add_argument("config", help="configs/FILE.py or configs/FILE.py:function")
    parser.add_argument(
        "--topology",
        required=True,
        metavar="CHIPS",
        help="v4:4x4x4, v5e:16x16, v5p:8x8x8, v6e:16x16, or gpu:h200x64 (h100, a100)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="override one leaf, e.g. run.mesh.fsdp=64"
    )
    parser.add_argument("--calculate", action="store_true", help="by calculation, in seconds and without libtpu; rougher")
    parser.add_argument(
        "--search", action="store_true", help="try meshes, recomputation and micro-batches; recommend the fastest that fits"
    )


def _plan(args: argparse.Namespace) -> None:
    from rtx.plan.chips import parse_topology
    from rtx.plan.plan import make_plan
    from rtx.plan.report import plan_text
    from rtx.plan.search import search, table
    from rtx.train.overrides import load_config

    topology, config = parse_topology(args.topology), load_config(args.config, args.set)
    if args.search:
        found = search(config, topology, name=args.config, by_compiler=not args.calculate)
        print(f"{table(found)}\n\n{plan_text(found.plans[0])}")
    else:
        print(plan_text(make_plan(config, topology, name=args.config, by_compiler=not args.calculate)))
