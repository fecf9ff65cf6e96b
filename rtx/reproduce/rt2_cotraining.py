"""`rtx reproduce rt2-cotraining`: RT-2's claim (arXiv 2307.15818, table 6) at the smallest scale that can show it.

    OUT/web, OUT/rlds                 questions about a robot's table that name cubes of every colour; demonstrations that
                                      neither show nor name the colours held out                  (write_workcell, record_sim)
    OUT/prepared/<set>                both as the trainer reads them                              (import_web, prepare)
    OUT/pieces.model                  pieces of the words of both: one vocabulary for all
    OUT/runs/<seed>/first             a vision-language model, on questions about tables with one cube
    OUT/runs/<seed>/vlm               carried on with several cubes
    OUT/runs/<seed>/scratch           (a) robot data only, from fresh parameters
    OUT/runs/<seed>/robot             (b) robot data only, from the vision-language model
    OUT/runs/<seed>/both              (c) both together, from the vision-language model
    OUT/eval/<seed>                   (a), (b) and (c) on the same scenes: told to go to a taught colour, and to one held out
    OUT/questions/<seed>              the share of held-out questions that each still answers
    OUT/report.html, report.txt       rates over all seeds with intervals, and which differences they show

One cube comes first because several at once teach little for long: to look where a word says is learned in 20,000 questions
with one cube, and not in 75,000 with two or three.

All that (a), (b) and (c) differ in is where they start and whether questions are mixed in: they see the same robot samples,
in (c) as many questions beside them. Every stage carries on from what an interrupted call left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtx.errors import look_up
from rtx.eval.questions import read_questions
from rtx.eval.suite import Suite
from rtx.files import atomic
from rtx.reproduce.questions import answered
from rtx.reproduce.report import LABELS, as_text, collect, write_page
from rtx.reproduce.stages import Stages, claim

if TYPE_CHECKING:
    from rtx.models.vla.config import PaliGemmaConfig
    from rtx.train.config import TrainConfig

NAME = "rt2-cotraining"
ARM, WEB, SINGLE = "sim_panda", "workcell", "workcell_single"
CUBES: Mapping[str, tuple[int, int]] = {SINGLE: (1, 1), WEB: (2, 3)}
FIRST, VLM = "first", "vlm"
RUNS = ("scratch", "robot", "both")
"""(a), (b), (c)."""
PIECES = "pieces.model"
NUM_PIECES, NUM_BINS = 448, 64  # every word is one piece; a bin is 2 mm of the largest step
TEXT_LENGTH, ANSWER_LENGTH = 20, 10  # pieces of the longest prompt and answer, and one to spare in the prompt
TASKS = ("reach_seen", "reach_unseen")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How much of everything."""

    seeds: int  # trainings of (a), (b) and (c), each with its own scenes to be evaluated in
    vlms: int  # trainings of the vision-language model, shared out among the seeds in turn
    scenes: int  # of web data with several cubes, with several questions each; half as many with one
    demonstrations: int
    first_steps: int  # of the vision-language model with one cube
    vlm_steps: int  # and with several
    steps: int  # of (a), (b) and (c)
    episodes: int  # of each seed, for each of the two kinds of instructions
    questions: int  # held-out ones that are asked
    batch_size: int = (
        32  # robot samples a step; (c) sees as many questions beside them; of the vision-language model, questions
    )
    lr: float = 1e-3
    image_size: int = 48  # pixels
    patch: int = 8
    vision_width: int = 96
    vision_depth: int = 1
    width: int = 96
    depth: int = 3
    mlp: int = 256
    chunk: int = 2

    def vlm_of(self, seed: int) -> int:
        """Which vision-language model the trainings of a seed carry on from."""
        return seed % self.vlms


PRESETS: Mapping[str, Preset] = {
    "smoke": Preset(
        seeds=2, vlms=1, scenes=40, demonstrations=6, first_steps=10, vlm_steps=10, steps=10, episodes=1, questions=8,
        batch_size=8,
    ),
    "short": Preset(
        seeds=3, vlms=1, scenes=4000, demonstrations=400, first_steps=800, vlm_steps=1600, steps=300, episodes=30,
        questions=300,
    ),
    "default": Preset(
        seeds=3, vlms=1, scenes=12_000, demonstrations=1000, first_steps=1200, vlm_steps=6000, steps=1600, episodes=60,
        questions=600,
    ),
    "long": Preset(
        seeds=5, vlms=5, scenes=40_000, demonstrations=5000, first_steps=5000, vlm_steps=60_000, steps=20_000, episodes=100,
        questions=2000, batch_size=128, image_size=96, vision_width=256, vision_depth=4, width=256, depth=6, mlp=1024,
    ),
}  # fmt: skip


def rt2_cotraining(out: Path, *, preset: str = "default", num_workers: int = 2) -> str:
    """Runs what is not done yet and returns the table and where the page is.

    Raises UserError if `out` holds the experiment in another size, WorldError as the stages do.
    """
    plan = look_up("preset", preset, PRESETS)
    claim(out / "experiment.json", NAME, {"preset": preset, **dataclasses.asdict(plan)})
    stages = Stages(out / "stages.json")
    _make_data(out, plan, stages, num_workers)
    for seed in range(plan.seeds):
        if seed < plan.vlms:
            _train(out, plan, seed, FIRST, stages)
        for run in (VLM, *RUNS) if seed < plan.vlms else RUNS:
            _train(out, plan, seed, run, stages)
            _ask(out, plan, seed, run, stages)
        _evaluate(out, plan, seed, stages, num_workers)
    return _report(out, plan, stages)


def _make_data(out: Path, plan: Preset, stages: Stages, num_workers: int) -> None:
    from rtx.data import catalogue
    from rtx.data.prepare import prepare
    from rtx.data.web import import_web, web_record
    from rtx.eval.sim.record import record_sim
    from rtx.eval.sim.scenes import write_workcell

    with stages.stage("web data", f"{plan.scenes + plan.scenes // 2} scenes with several questions each"):
        for name, num_scenes in ((SINGLE, plan.scenes // 2), (WEB, plan.scenes)):
            web = write_workcell(out / "web" / name, ARM, num_scenes, num_workers=num_workers, num_cubes=CUBES[name])
            splits = {split: web / f"{split}.jsonl" for split in ("train", "val")}
            source = import_web(splits, web, out / "rlds", name=name)
            prepare(web_record(name), source, out / "prepared" / name, num_workers=num_workers)
    with stages.stage("demonstrations", f"{plan.demonstrations} episodes that neither show nor name the colours held out"):
        (recorded,) = record_sim(
            out / "rlds", arms=(ARM,), episodes_per_arm=plan.demonstrations, tasks=("reach_taught",), num_workers=num_workers
        )  # fmt: skip
        prepare(catalogue.find(ARM), recorded, out / "prepared" / ARM, num_workers=num_workers)
    _make_pieces(out)


def _make_pieces(out: Path) -> None:
    """(a) knows how every word is spelled, though it never reads some of them: pieces alone are no knowledge of the world."""
    from rtx.data.prepared import PreparedSet
    from rtx.models.vla.language import VLATokenizer

    path = out / PIECES
    if path.exists():
        return
    texts = [text for name in (SINGLE, WEB, ARM) for text in PreparedSet.open(out / "prepared" / name).languages]
    tokenizer = VLATokenizer.from_texts(texts, size=NUM_PIECES, text_length=TEXT_LENGTH, answer_length=ANSWER_LENGTH)
    with atomic(path) as file:
        file.write(tokenizer.model)


def model_config(plan: Preset) -> PaliGemmaConfig:
    """A PaliGemma of well under 3 million parameters. One head of keys and values, as Gemma 2B's."""
    from rtx.models.vla.config import PaliGemmaConfig
    from rtx.models.vla.gemma import GemmaConfig
    from rtx.models.vla.vit import ViTConfig

    head_dim = 32
    return PaliGemmaConfig(
        text_length=TEXT_LENGTH, answer_length=ANSWER_LENGTH, num_bins=NUM_BINS,
        vision=ViTConfig(
            patch=plan.patch, width=plan.vision_width, depth=plan.vision_depth, mlp=2 * plan.vision_width,
            heads=plan.vision_width // head_dim,
        ),
        language=GemmaConfig(
            vocab=NUM_PIECES + NUM_BINS, width=plan.width, depth=plan.depth, mlp=plan.mlp, heads=plan.width // head_dim,
            kv_heads=1, head_dim=head_dim, query_scale=head_dim**-0.5,
        ),
    )  # fmt: skip


def _course(plan: Preset) -> dict[str, tuple[tuple[str, ...], int, str]]:
    """Of each training: its data sets, in equal shares, its steps, and the training it carries on from."""
    return {
        FIRST: ((SINGLE,), plan.first_steps, ""),
        VLM: ((WEB,), plan.vlm_steps, FIRST),
        "scratch": ((ARM,), plan.steps, ""),
        "robot": ((ARM,), plan.steps, VLM),
        "both": ((ARM, WEB), plan.steps, VLM),
    }


def _run_dir(out: Path, plan: Preset, seed: int, run: str) -> Path:
    return out / "runs" / str(plan.vlm_of(seed) if run in (FIRST, VLM) else seed) / run


def train_config(out: Path, plan: Preset, seed: int, run: str) -> TrainConfig:
    """Of one of the trainings. (a), (b) and (c) take as many steps on as many robot samples each."""
    from rtx.train.config import AugmentConfig, DataConfig, DataSet, OptimizationConfig, RunConfig, TrainConfig

    sets, num_steps, start = _course(plan)[run]
    return TrainConfig(
        data=DataConfig(
            sets=tuple(DataSet(prepared=str(out / "prepared" / name)) for name in sets),
            image_size=(plan.image_size, plan.image_size), chunk=plan.chunk, batch_size=plan.batch_size * len(sets),
            seed=seed, vocabulary=str(out / PIECES), cache_bytes=1 << 29,
        ),
        model=model_config(plan),
        train=OptimizationConfig(
            num_steps=num_steps, lr=plan.lr, warmup_steps=num_steps // 20,
            start=str(_run_dir(out, plan, seed, start)) if start else "",
            # Answers name colours and places: what is learned must not be turned or moved.
            augment=AugmentConfig(shift_px=0, brightness=0.1, contrast=0.1, hue=0.0),
        ),
        run=RunConfig(seed=seed, eval_every=0, eval_samples=64, save_every=max(10, num_steps // 4)),
    )  # fmt: skip


def _train(out: Path, plan: Preset, seed: int, run: str, stages: Stages) -> None:
    from rtx.train.loop import train

    config = train_config(out, plan, seed, run)
    steps, samples = config.train.num_steps, config.data.batch_size
    with stages.stage(f"training {run}", f"seed {seed + 1} of {plan.seeds}, {steps} steps of {samples} samples"):
        train(config, out / "runs" / str(seed) / run)


def _ask(out: Path, plan: Preset, seed: int, run: str, stages: Stages) -> None:
    with stages.stage("questions", f"seed {seed + 1} of {plan.seeds}, {LABELS[run]}"):
        asked = read_questions(out / "web" / WEB / "val.jsonl", plan.questions)
        answered(out / "runs" / str(seed) / run, asked, out / "questions" / str(seed) / f"{run}.json", name=run)


def _suite(plan: Preset, seed: int) -> Suite:
    return Suite(name=f"{NAME}-{seed}", arms=(ARM,), tasks=TASKS, episodes_per_cell=plan.episodes)


def _evaluate(out: Path, plan: Preset, seed: int, stages: Stages, num_workers: int) -> None:
    from rtx.eval.evaluate import evaluate
    from rtx.serve.policy import load_policy

    suite = _suite(plan, seed)
    with stages.stage("evaluation", f"seed {seed + 1} of {plan.seeds}, {suite.num_episodes} episodes for each of {len(RUNS)}"):
        # Demonstrations end with standing still, which is the likeliest single bin wherever a policy hesitates.
        policies = {run: load_policy(out / "runs" / str(seed) / run, bin_choice="mean") for run in reversed(RUNS)}
        evaluate(policies, suite, out / "eval" / str(seed), num_workers=num_workers, video_per_cell=int(seed == 0))


def _report(out: Path, plan: Preset, stages: Stages) -> str:
    """Writes the page and the table; returns the table and where they are."""
    with stages.stage("report", "one page, and the same as text"):
        findings = collect(out, plan.seeds)
        text = as_text(findings)
        write_page(out / "report.html", findings, plan=dataclasses.asdict(plan), stages=stages)
        with atomic(out / "report.txt") as file:
            file.write(text.encode())
    return f"{text}\nReport: {(out / 'report.html').resolve()}"
