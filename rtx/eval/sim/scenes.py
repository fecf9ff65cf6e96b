"""`write_scenes`, `write_workcell`: rendered scenes with exact questions and answers, as PaliGemma-style JSONL and pictures.

    OUT/images/000012.jpg                                        one scene; one question about it, of a workcell several
    OUT/train.jsonl, val.jsonl    {"image", "prefix", "suffix"}  what `rtx.data.web.import_web` reads
    OUT/scenes.jsonl                                             what lies in each, for who wants to know

Colour, count, left or right, larger, which robot, is there one: so that training on questions needs no download. Those of a
workcell show one robot's table as its own camera sees it and ask where things are; their lines also say the "kind". Scenes
follow from (seed, number) alone. They are drawn in spawned processes, arm by arm; the caller's never loads OpenGL.
"""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtx import progress
from rtx.data.pool import end_with_parent
from rtx.errors import UserError, WorldError
from rtx.eval.sim.conventions import convention
from rtx.eval.sim.objects import NUM_CUBES
from rtx.eval.sim.questions import deal
from rtx.files import atomic, read_json, write_json
from rtx.images import encode_jpeg

SCENES = 1  # to be raised when the same request gives other scenes
WORKCELL = 1  # likewise
_EVERY_VAL = 20  # scenes, of which one is for validation
_PER_JOB = 64


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Scenes that one process draws in one go."""

    arm: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """What is true of a scene, and its lines of the JSONL."""

    number: int
    facts: dict[str, Any]
    lines: tuple[dict[str, str], ...]


_Draw = Callable[[Path, _Job, int, int], list[_Drawn]]


def write_scenes(out: Path, num_scenes: int, seed: int = 0, num_workers: int = 2, *, image_size: int = 224) -> Path:
    """Writes into the folder `out` and returns it; does nothing if the same scenes are there.

    Raises UserError for arguments that cannot work or a folder of other scenes, WorldError where nothing can be drawn.
    """
    out = Path(out).expanduser().absolute()
    request = {"num_scenes": num_scenes, "seed": seed, "image_size": image_size, "scenes": SCENES}
    _check(out, num_scenes, num_workers, image_size)
    if not _is_finished(out, request):
        jobs = [_Job(arm=arm, numbers=tuple(numbers)) for arm, numbers in _jobs(num_scenes, seed)]
        _write(out, request, _drawn(jobs, _draw, out / "images", seed, image_size, num_workers))
    return out


def write_workcell(
    out: Path, arm: str, num_scenes: int, seed: int = 0, num_workers: int = 2, *,
    num_cubes: tuple[int, int] = (1, NUM_CUBES), image_size: int = 128,
) -> Path:  # fmt: skip
    """As `write_scenes`, of one robot's own table with the hand anywhere over it and so many cubes (at least, at most), and
    `grounding.QUESTIONS` about each scene."""
    out = Path(out).expanduser().absolute()
    request = {
        "arm": arm, "num_scenes": num_scenes, "seed": seed, "num_cubes": list(num_cubes), "image_size": image_size,
        "workcell": WORKCELL,
    }  # fmt: skip
    _check(out, num_scenes, num_workers, image_size)
    if not 1 <= num_cubes[0] <= num_cubes[1] <= NUM_CUBES:
        raise UserError(f"scenes: num_cubes {num_cubes}: expected two numbers from 1 to {NUM_CUBES}, the larger one last")
    convention(arm)
    if not _is_finished(out, request):
        starts = range(0, num_scenes, _PER_JOB)
        jobs = [_Job(arm=arm, numbers=tuple(range(start, min(start + _PER_JOB, num_scenes)))) for start in starts]
        draw = functools.partial(_draw_workcell, num_cubes=num_cubes)
        _write(out, request, _drawn(jobs, draw, out / "images", seed, image_size, num_workers))
    return out


def _is_finished(out: Path, request: dict[str, Any]) -> bool:
    if not (out / "request.json").exists():
        return False
    if read_json(out / "request.json") != request:
        raise UserError(f"{out} holds other scenes ({read_json(out / 'request.json')}); choose another folder")
    return True


def _write(out: Path, request: dict[str, Any], drawn: Iterable[_Drawn]) -> None:
    scenes = {scene.number: scene for scene in drawn}
    val = [number for number in scenes if number % _EVERY_VAL == _EVERY_VAL - 1]
    for name, numbers in (("train", sorted(set(scenes) - set(val))), ("val", sorted(val))):
        if numbers:
            _write_lines(out / f"{name}.jsonl", [line for number in numbers for line in scenes[number].lines])
    _write_lines(out / "scenes.jsonl", [{"image": _file(n), **scenes[n].facts} for n in sorted(scenes)])
    write_json(out / "request.json", request)


def _check(out: Path, num_scenes: int, num_workers: int, image_size: int) -> None:
    problems = [] if num_scenes >= 1 else [f"num_scenes {num_scenes}: expected at least 1"]
    problems += [] if num_workers >= 1 else [f"num_workers {num_workers}: expected at least 1"]
    problems += [] if 64 <= image_size <= 640 else [f"image_size {image_size}: expected 64 to 640 pixels"]
    problems += [f"{out} is a file; expected a folder"] if out.is_file() else []
    if problems:
        raise UserError("scenes: " + "; ".join(problems))


def _drawn(jobs: Sequence[_Job], draw: _Draw, images: Path, seed: int, image_size: int, num_workers: int) -> Iterator[_Drawn]:
    """Every scene, whose picture is then on disk."""
    pool = ProcessPoolExecutor(
        min(num_workers, len(jobs)), mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent
    )
    try:
        with progress.bar("scenes", sum(len(job.numbers) for job in jobs)) as advance:
            futures = [pool.submit(draw, images, job, seed, image_size) for job in jobs]
            for future in as_completed(futures):
                found = future.result()
                yield from found
                advance(len(found))
    except BrokenProcessPool as error:
        raise WorldError(
            "a drawing process died, of memory or in the OpenGL driver; run the same command again, with fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _jobs(num_scenes: int, seed: int) -> list[tuple[str, list[int]]]:
    """Scenes of one arm together: loading it takes longer than drawing several."""
    by_arm: dict[str, list[int]] = {}
    for index in range(num_scenes):
        by_arm.setdefault(deal(seed, index).arm, []).append(index)
    return [(arm, numbers[i : i + _PER_JOB]) for arm, numbers in by_arm.items() for i in range(0, len(numbers), _PER_JOB)]


def _draw(images: Path, job: _Job, seed: int, image_size: int) -> list[_Drawn]:
    from rtx.eval.sim.studio import Studio  # here, in a child: it loads OpenGL

    found = []
    with contextlib.closing(Studio(job.arm, image_size=image_size)) as studio:
        for number in job.numbers:
            scene = studio.scene(seed, number)
            _save(images, number, scene.image)
            facts = {**asdict(scene.dealt), "question": scene.question, "cubes": [asdict(cube) for cube in scene.cubes]}
            line = {"image": _file(number), "prefix": scene.question, "suffix": scene.dealt.answer}
            found.append(_Drawn(number=number, facts=facts, lines=(line,)))
    return found


def _draw_workcell(images: Path, job: _Job, seed: int, image_size: int, *, num_cubes: tuple[int, int]) -> list[_Drawn]:
    from rtx.eval.sim.workcell import Workcell  # here, in a child: it loads OpenGL

    found = []
    with contextlib.closing(Workcell(job.arm, image_size=image_size)) as workcell:
        for number in job.numbers:
            still = workcell.scene(seed, number, num_cubes=num_cubes)
            _save(images, number, still.image)
            lines = tuple(
                {"image": _file(number), "prefix": asked.question, "suffix": asked.answer, "kind": asked.kind}
                for asked in still.questions
            )
            found.append(_Drawn(number=number, facts=asdict(still.sight), lines=lines))
    return found


def _save(images: Path, number: int, image: np.ndarray) -> None:
    with atomic(images / Path(_file(number)).name) as file:
        file.write(encode_jpeg(image))


def _file(number: int) -> str:
    return f"images/{number:06d}.jpg"


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with atomic(path) as file:
        file.writelines(json.dumps(row).encode() + b"\n" for row in rows)
