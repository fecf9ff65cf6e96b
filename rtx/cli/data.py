"""`rtx data ...`: what there is, preparing it, looking at it, recording and bringing in more."""

from __future__ import annotations

import argparse
from pathlib import Path

from rtx.cli.record import add_record
from rtx.cli.verbs import Verbs, names, verb
from rtx.errors import UserError


def add_data(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_catalogue(verbs)
    _add_prepare(verbs)
    _add_prepared(verbs)
    _add_write(verbs.add_parser("write", help="record or render data sets").add_subparsers(metavar="WHAT", required=True))
    add_record(verbs)
    _add_import(verbs.add_parser("import", help="bring in data of other forms").add_subparsers(metavar="FORM", required=True))


def _records(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--records", type=Path, metavar="FILE.py", help="a file of your own that builds further records")


# the catalogue


def _add_catalogue(verbs: Verbs) -> None:
    listing = verb(verbs, "list", _list, "the data sets of the catalogue")
    _records(listing)
    info = verb(verbs, "info", _info, "one record of the catalogue, whole")
    info.add_argument("name")
    _records(info)
    mixtures = verb(verbs, "mixtures", _mixtures, "the published mixtures, or the data sets and weights of one")
    mixtures.add_argument("name", nargs="?")


def _list(args: argparse.Namespace) -> None:
    from rtx.data import catalogue

    print(catalogue.list_text(args.records))


def _info(args: argparse.Namespace) -> None:
    from rtx.data import catalogue

    print(catalogue.info_text(catalogue.find(args.name, args.records)))


def _mixtures(args: argparse.Namespace) -> None:
    from rtx.data import catalogue

    print(catalogue.mixture_text(args.name) if args.name else catalogue.mixtures_text())


# prepare


def _add_prepare(verbs: Verbs) -> None:
    parser = verb(
        verbs,
        "prepare",
        _prepare,
        "read RLDS shards once into a step table, statistics and a byte index; the same command carries on after a stop",
    )
    parser.add_argument("name", help="record of the catalogue (rtx data list), or a mixture (rtx data mixtures)")
    parser.add_argument("source", help="TFDS folder with the shards, or a parent of it; also gs://, s3://, http://")
    parser.add_argument("out", type=Path, help="folder for the prepared set; of a mixture, for one folder per set")
    parser.add_argument("--without", type=names, default=(), metavar="SETS", help="of a mixture: leave these out")
    parser.add_argument("--choose", action="append", default=[], metavar="SWITCH=OPTION", help="settle a convention")
    parser.add_argument("--hz", type=float, default=None, help="lower the control rate to about this; actions are composed")
    parser.add_argument("--splits", type=names, default=None, help="comma separated (default: all)")
    parser.add_argument("--workers", type=int, default=None, help="processes (default: one per core)")
    parser.add_argument(
        "--cluster", default="", metavar="ADDRESS", help="a Ray cluster instead: auto, HOST:PORT, ray://HOST:PORT"
    )
    parser.add_argument("--quarantine", action="store_true", help="count and list damaged episodes instead of stopping")
    parser.add_argument(
        "--max-quarantined", type=float, default=0.001, metavar="SHARE", help="of all episodes (default: %(default)s)"
    )
    parser.add_argument("--no-resume", action="store_true", help="begin anew instead of taking up finished shards")
    _records(parser)


def _prepare(args: argparse.Namespace) -> None:
    from rtx.data import catalogue
    from rtx.data.oxe.mixtures import MIXTURES
    from rtx.data.prepare import prepare
    from rtx.data.prepare_mixture import prepare_mixture

    options = {
        "num_workers": args.workers, "cluster": args.cluster, "quarantine": args.quarantine,
        "max_quarantined": args.max_quarantined,
    }  # fmt: skip
    if args.name in MIXTURES:
        if args.choose or args.hz is not None or args.splits or args.no_resume:
            raise UserError(
                f"{args.name} is a mixture: --choose, --hz, --splits and --no-resume are for one data set at a time"
            )
        names_left = catalogue.mixture_names(args.name, args.without)
        sets = prepare_mixture(names_left, args.source, args.out, records=args.records, **options)
        print("\n".join(catalogue.summary_text(prepared) for prepared in sets))
        return
    record = catalogue.find(args.name, args.records).choose(dict(_choice(text) for text in args.choose))
    record = record if args.hz is None else record.at_hz(args.hz)
    prepared = prepare(record, args.source, args.out, splits=args.splits, resume=not args.no_resume, **options)
    print(catalogue.summary_text(prepared))
    print(f"prepared: {args.out}\nlook at it: rtx data inspect {args.out}")


def _choice(text: str) -> tuple[str, str]:
    switch, equals, option = text.partition("=")
    if not equals:
        raise UserError(f"--choose {text}: expected SWITCH=OPTION; `rtx data info NAME` lists a record's switches")
    return switch, option


# prepared sets


def _add_prepared(verbs: Verbs) -> None:
    verify = verb(verbs, "verify", _verify, "check a prepared set, and every picture it points to, or a TFDS folder")
    verify.add_argument("folder", type=Path, help="prepared set, or TFDS folder with the shards")
    verify.add_argument("--source", default=None, help="where the shards are now, if they moved")
    stats = verb(verbs, "stats", _stats, "the statistics of a prepared set")
    stats.add_argument("prepared", type=Path)
    inspect = verb(verbs, "inspect", _inspect, "a page with pictures, instructions, traces and histograms")
    inspect.add_argument("prepared", type=Path)
    inspect.add_argument("--out", type=Path, default=None, metavar="FILE.html", help="default: PREPARED/inspect.html")
    inspect.add_argument("--episodes", type=int, default=4, help="default: %(default)s")

    sentences = verb(verbs, "sentences", _sentences, "sentence vectors of all instructions of prepared sets, into one table")
    sentences.add_argument("prepared", type=Path, nargs="+")
    sentences.add_argument("--encoder", type=Path, required=True, metavar="DIR", help="SavedModel of the sentence encoder")
    sentences.add_argument("--out", type=Path, required=True, metavar="TABLE.json", help="for --set data.sentences=TABLE.json")


def _sentences(args: argparse.Namespace) -> None:
    from rtx.data.prepared import PreparedSet
    from rtx.train.instructions import write_table

    texts = sorted({text for folder in args.prepared for text in PreparedSet.open(folder).languages if text})
    table = write_table(texts, args.encoder, args.out)
    print(f"{len(table.texts):,} texts, vectors of {table.width}: {args.out}")


def _verify(args: argparse.Namespace) -> None:
    from rtx.data.verify import verify_text

    print(verify_text(args.folder, args.source))


def _stats(args: argparse.Namespace) -> None:
    from rtx.data import catalogue

    print(catalogue.stats_text(args.prepared))


def _inspect(args: argparse.Namespace) -> None:
    from rtx.data.inspect import inspect
    from rtx.data.prepared import PreparedSet

    out = args.out or args.prepared / "inspect.html"
    print(f"open in a browser: {inspect(PreparedSet.open(args.prepared), out, num_episodes=args.episodes)}")


# write


def _add_write(writing: Verbs) -> None:
    sim = verb(writing, "sim", _write_sim, "record scripted experts on simulated arms as RLDS; resumable")
    sim.add_argument("out", type=Path, help="folder of the data sets")
    sim.add_argument("--arms", type=names, default=(), help="comma separated (default: all seven)")
    sim.add_argument(
        "--tasks", type=names, default=("reach", "push", "lift"), help="comma separated (default: reach,push,lift)"
    )
    sim.add_argument("--episodes", type=int, default=50, help="per arm (default: %(default)s)")
    sim.add_argument("--seed", type=int, default=0)
    sim.add_argument("--workers", type=int, default=2, help="simulator processes (default: %(default)s)")

    scenes = verb(writing, "scenes", _write_scenes, "render scenes with exact questions and answers, as JSONL and pictures")
    scenes.add_argument("out", type=Path, help="folder of train.jsonl, val.jsonl and images/")
    scenes.add_argument("--scenes", type=int, default=1000, help="default: %(default)s")
    scenes.add_argument("--seed", type=int, default=0)
    scenes.add_argument("--workers", type=int, default=2, help="simulator processes (default: %(default)s)")


def _write_scenes(args: argparse.Namespace) -> None:
    from rtx.eval.sim.scenes import write_scenes

    out = write_scenes(args.out, args.scenes, seed=args.seed, num_workers=args.workers)
    print(f"written: {out}\nnext: rtx data import web {out}/train.jsonl {out} OUT --val {out}/val.jsonl --name scenes")


def _write_sim(args: argparse.Namespace) -> None:
    from rtx.eval.sim.record import record_sim, recorded_set
    from rtx.robots.sim_arms import SIM_ARMS

    sets = record_sim(
        args.out, arms=args.arms or tuple(SIM_ARMS), episodes_per_arm=args.episodes, tasks=args.tasks, seed=args.seed,
        num_workers=args.workers,
    )  # fmt: skip
    for done in map(recorded_set, sets):
        size = f"{done.num_episodes} episodes, {done.num_failed} failed attempts repeated, {done.num_bytes / 1e6:.1f} MB"
        print(f"{done.path}: {size}")


# import


def _add_import(verbs: Verbs) -> None:
    lerobot = verb(verbs, "lerobot", _import_lerobot, "a LeRobot data set (v2.1, v3) as RLDS, with a first record; resumable")
    lerobot.add_argument("source", type=Path, help="folder with meta/info.json")
    lerobot.add_argument("out", type=Path, help="folder for the RLDS set and record.py")
    lerobot.add_argument("--name", default="", help="of the data set (default: from the folder)")
    for form, what in (
        ("hdf5", "HDF5 files of episodes (ALOHA, ACT, robomimic, LIBERO, ...)"),
        ("zarr", "Zarr stores of episodes"),
    ):
        episodes = verb(verbs, form, _import_episodes, f"{what} as RLDS, with a record; resumable")
        episodes.set_defaults(form=form)
        episodes.add_argument("source", type=Path, help="a file or store, or a folder of them")
        episodes.add_argument("out", type=Path, help="folder for the RLDS set and record.py")
        episodes.add_argument("--name", default="", help="of the data set (default: from the source)")
        episodes.add_argument("--robot", default="", metavar="R", help="whose numbers these are: a name, or your my_robot.py")
        episodes.add_argument("--instruction", default="", metavar="TEXT", help="of every episode, whatever the files say")
    web = verb(verbs, "web", _import_web, "pictures with captions or questions, PaliGemma-style JSONL; resumable")
    web.add_argument("annotations", type=Path, help="JSONL: image, prefix, suffix")
    web.add_argument("images", type=Path, help="folder of the pictures")
    web.add_argument("out", type=Path, help="folder for the data set")
    web.add_argument("--val", type=Path, default=None, metavar="JSONL", help="annotations of held-out examples")
    web.add_argument("--name", default="web", help="of the data set (default: %(default)s)")
    web.add_argument("--skip-broken", action="store_true", help="leave out, count and list what is broken instead of stopping")


def _import_lerobot(args: argparse.Namespace) -> None:
    from rtx.data.lerobot.importer import import_lerobot
    from rtx.data.starter import record_file

    done = import_lerobot(args.source, args.out, name=args.name)
    record = record_file(args.out, done.parent.name)
    print(f"written: {done}\nits record, to be gone through: {record}")
    print(f"next: rtx data prepare {done.parent.name} {args.out} PREPARED --records {record}")


def _import_episodes(args: argparse.Namespace) -> None:
    from rtx.data.bring_in import declared_in
    from rtx.data.episodes.importer import import_episodes, left_out_text
    from rtx.data.starter import record_file
    from rtx.robots import catalogue
    from rtx.robots.user_file import is_user_file

    robot = catalogue.find(args.robot) if args.robot else None
    is_file = is_user_file(args.robot)
    done, found = import_episodes(
        args.source, args.out, args.form, name=args.name, robot=robot, instruction=args.instruction,
        robot_name=str(Path(args.robot).expanduser().absolute()) if is_file else args.robot,
        keys=declared_in(Path(args.robot)).keys if is_file else None,
    )  # fmt: skip
    record = record_file(args.out, done.parent.name)
    print("\n".join([f"written: {done}, {len(found.episodes)} episodes", *left_out_text(found)]))
    print(f"its record: {record}" if robot else f"its record, to be gone through: {record}")
    print(f"next: rtx data prepare {done.parent.name} {args.out} PREPARED --records {record}")


def _import_web(args: argparse.Namespace) -> None:
    from rtx.data.web import import_web, left_out

    annotations = {"train": args.annotations} | ({"val": args.val} if args.val else {})
    done = import_web(annotations, args.images, args.out, name=args.name, strict=not args.skip_broken)
    count, reasons = left_out(done)
    print("\n".join([f"written: {done}, {count:,} examples left out", *(f"  - {reason}" for reason in reasons[:5])]))
    print(f"next: rtx data prepare {args.name} {args.out} PREPARED --records {done.parent / 'record.py'}")
