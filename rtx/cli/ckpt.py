"""`rtx ckpt ...`: each verb a thin call into the library."""

from __future__ import annotations

import argparse
from pathlib import Path

from rtx.cli.verbs import Verbs, verb
from rtx.errors import WorldError


def add_ckpt(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, run, text in (
        ("verify", _verify, "check every file of a checkpoint, or of all those of a run, against its manifest"),
        ("info", _info, "what a checkpoint holds: robots, cameras, model, step"),
    ):
        verb(verbs, name, run, text).add_argument("checkpoint", type=Path, help="run folder or checkpoint")
    forms = verbs.add_parser("convert", help="published weights as a checkpoint of ours").add_subparsers(
        metavar="FORM", required=True
    )
    _add_convert_rt1x(forms)
    _add_convert_paligemma(forms)
    merge = verb(verbs, "merge", _merge, "a checkpoint for use only: adapters merged, averages in place, no optimizer")
    merge.add_argument("checkpoint", type=Path, help="run folder or checkpoint")
    merge.add_argument("out", type=Path, help="new run folder")
    export = verb(verbs, "export", _export, "the weights of a PaliGemma model in the form others read")
    export.add_argument("checkpoint", type=Path, help="run folder or checkpoint")
    export.add_argument("out", type=Path, help="FILE.npz: as big_vision's; a folder: Hugging Face safetensors")
    export.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="default: %(default)s")
    _add_teach(verbs)


def _add_convert_rt1x(forms: Verbs) -> None:
    rt1x = verb(forms, "rt1x", _convert_rt1x, "the released RT-1-X, every leaf checked")
    rt1x.add_argument("released", type=Path, help="the released MessagePack file or Orbax folder")
    rt1x.add_argument("out", type=Path, help="new run folder")
    rt1x.add_argument(
        "--sentences", type=Path, default=None, metavar="TABLE.json", help="vectors of the instructions it is given"
    )


def _add_convert_paligemma(forms: Verbs) -> None:
    paligemma = verb(forms, "paligemma", _convert_paligemma, "PaliGemma 1 or 2, every leaf checked: what training starts from")
    paligemma.add_argument("weights", type=Path, help="big_vision's .npz; or safetensors: a file, its index, or their folder")
    paligemma.add_argument("out", type=Path, help="new run folder, for train.start and rtx ask")
    paligemma.add_argument("--tokenizer", type=Path, required=True, metavar="FILE", help="Gemma's tokenizer.model")
    paligemma.add_argument(
        "--size", default="paligemma-3b", help="paligemma-3b (default), paligemma2-3b, paligemma2-10b, paligemma2-28b"
    )
    paligemma.add_argument("--pixels", type=int, default=224, help="of its pictures: 224 (default), 448 or 896")


def _add_teach(verbs: Verbs) -> None:
    teach = verb(verbs, "teach", _teach, "a copy of a checkpoint that knows more instructions (models of sentence vectors)")
    teach.add_argument("checkpoint", type=Path, help="run folder or checkpoint")
    teach.add_argument("out", type=Path, help="new run folder")
    teach.add_argument("instructions", nargs="+", metavar="TEXT")
    teach.add_argument(
        "--encoder", type=Path, required=True, metavar="DIR", help="SavedModel of the sentence encoder it was made with"
    )


def _convert_rt1x(args: argparse.Namespace) -> None:
    from rtx.files import read_json
    from rtx.models.sentences import SentenceTable
    from rtx.serve.released import convert_rt1x

    table = SentenceTable.from_json(read_json(args.sentences)) if args.sentences else None
    print(f"checkpoint: {convert_rt1x(args.released, args.out, sentences=table)}\nserve it: rtx serve {args.out}")


def _teach(args: argparse.Namespace) -> None:
    from rtx.train.instructions import teach

    print(f"checkpoint: {teach(args.checkpoint, args.instructions, args.encoder, args.out)}\nserve it: rtx serve {args.out}")


def _convert_paligemma(args: argparse.Namespace) -> None:
    from rtx.serve.released_vlm import convert_paligemma, released_config

    config = released_config(args.size, pixels=args.pixels)
    checkpoint = convert_paligemma(args.weights, args.out, tokenizer=args.tokenizer, config=config)
    print(f"checkpoint: {checkpoint}\nask it: rtx ask {args.out} PICTURE QUESTION")


def _merge(args: argparse.Namespace) -> None:
    from rtx.train.export import merge_checkpoint

    print(f"checkpoint: {merge_checkpoint(args.checkpoint, args.out)}\nserve it: rtx serve {args.out}")


def _export(args: argparse.Namespace) -> None:
    from rtx.serve.released_vlm import export_weights

    print("\n".join(str(path) for path in export_weights(args.checkpoint, args.out, dtype=args.dtype)))


def _verify(args: argparse.Namespace) -> None:
    from rtx.train.checkpoint import open_checkpoint, steps, verify_text

    root = next((folder for folder in (args.checkpoint / "checkpoints", args.checkpoint) if steps(folder)), None)
    if root is None:  # one checkpoint, or none: opening it says what is wrong
        print(f"sound: {open_checkpoint(args.checkpoint).path}")
        return
    text, num_damaged = verify_text(root)
    print(text)
    if num_damaged:
        raise WorldError(f"damaged checkpoints in {root}; training and serving pass them over while a sound one is there")


def _info(args: argparse.Namespace) -> None:
    from rtx.train.checkpoint import info_text, open_checkpoint

    print(info_text(open_checkpoint(args.checkpoint)))
