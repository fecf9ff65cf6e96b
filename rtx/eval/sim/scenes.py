"""`write_scenes`: rendered scenes with exact questions and answers, as PaliGemma-style JSONL and pictures.

    OUT/images/000012.jpg                                        one scene, one question
    OUT/train.jsonl, val.jsonl    {"image", "prefix", "suffix"}  what `rtx.data.web.import_web` reads
    OUT/scenes.jsonl                                             what lies in each, for who wants to know

Colour, count, left or right, larger, which robot, is there one: so that training on questions needs no download. Scenes follow
from (seed, number) alone. They are drawn in spawned processes, arm by arm; the caller's never loads OpenGL.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rtx import progress
from rtx.data.pool import end_with_parent
from rtx.errors import UserError, WorldError
from rtx.eval.sim.questions import deal
from rtx.files import atomic, read_json, write_json
from rtx.images import encode_jpeg

SCENES = 1  # to be raised when the same request gives other scenes
_EVERY_VAL = 20  # scenes, of which one is for validation
_PER_JOB = 64


def write_scenes(out: Path, num_scenes: int, seed: int = 0, num_workers: int = 2, *, image_size: int = 224) -> Path:
    """Writes into the folder `out` and returns it; does nothing if the same scenes are there.

    Raises UserError for arguments that cannot work or a folder of other scenes, WorldError where nothing can be drawn.
    """
    out = Path(out).expanduser().absolute()
    request = {"num_scenes": num_scenes, "seed": seed, "image_size": image_size, "scenes": SCENES}
    _check(out, num_scenes, num_workers, image_size)
    if (out / "request.json").exists():
        if read_json(out / "request.json") != request:
            raise UserError(f"{out} holds other scenes ({read_json(out / 'request.json')}); choose another folder")
        return out
    lines = dict(_drawn(out / "images", num_scenes, seed, num_workers, image_size))
    val = {i for i in range(num_scenes) if i % _EVERY_VAL == _EVERY_VAL - 1}
    for name, numbers in (("train", sorted(set(lines) - val)), ("val", sorted(val))):
        if numbers:
            _write_lines(out / f"{name}.jsonl", [_line(i, lines[i]) for i in numbers])
    _write_lines(out / "scenes.jsonl", [{"image": _file(i), **lines[i]} for i in range(num_scenes)])
    write_json(out / "request.json", request)
    return out


def _check(out: Path, num_scenes: int, num_workers: int, image_size: int) -> None:
    problems = [] if num_scenes >= 1 else [f"num_scenes {num_scenes}: expected at least 1"]
    problems += [] if num_workers >= 1 else [f"num_workers {num_workers}: expected at least 1"]
    problems += [] if 96 <= image_size <= 640 else [f"image_size {image_size}: expected 96 to 640 pixels"]
    problems += [f"{out} is a file; expected a folder"] if out.is_file() else []
    if problems:
        raise UserError("scenes: " + "; ".join(problems))


def _drawn(images: Path, num_scenes: int, seed: int, num_workers: int, image_size: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, what is true of it) of each scene, whose picture is then on disk."""
    jobs = _jobs(num_scenes, seed)
    pool = ProcessPoolExecutor(
        min(num_workers, len(jobs)), mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent
    )
    try:
        with progress.bar("scenes", num_scenes) as advance:
            futures = [pool.submit(_draw, images, arm, numbers, seed, image_size) for arm, numbers in jobs]
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


def _draw(images: Path, arm: str, numbers: Sequence[int], seed: int, image_size: int) -> list[tuple[int, dict[str, Any]]]:
    from rtx.eval.sim.studio import Studio  # here, in a child: it loads OpenGL

    studio = Studio(arm, image_size=image_size)
    found = []
    try:
        for number in numbers:
            scene = studio.scene(seed, number)
            with atomic(images / Path(_file(number)).name) as file:
                file.write(encode_jpeg(scene.image))
            cubes = [asdict(cube) for cube in scene.cubes]
            found.append((number, {**asdict(scene.dealt), "question": scene.question, "cubes": cubes}))
    finally:
        studio.close()
    return found


def _file(number: int) -> str:
    return f"images/{number:06d}.jpg"


def _line(number: int, facts: dict[str, Any]) -> dict[str, str]:
    return {"image": _file(number), "prefix": facts["question"], "suffix": facts["answer"]}


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with atomic(path) as file:
        file.writelines(json.dumps(row).encode() + b"\n" for row in rows)
