"""`inspect`: one page that shows whether a prepared data set is what its record says: colours, cameras, grippers, signs.

    counts and dropped episodes | checks | episodes: film strips and traces | instructions | statistics with histograms

The traces draw the commanded motion over the measured one, and the check table gives their correlation and slope per axis:
1 and 1 when frame, unit and sign are right, a negative correlation where a sign is turned, a slope of 100 for centimetres.
"""

from __future__ import annotations

import base64
import collections
import html
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rtx.data.frames import Frames, ShardFiles
from rtx.data.prepared import PreparedSet, PreparedSplit
from rtx.data.svg import COLOURS, Line, histogram, plot
from rtx.errors import UserError
from rtx.files import atomic
from rtx.images import encode_jpeg
from rtx.robots import rotations
from rtx.spec import CANONICAL_ARM, CANONICAL_PROPRIO, FieldStatistics, Layout, dim_names, field_slices

_FRAMES_PER_STRIP = 10
_STRIP_HEIGHT = 128  # pixels
_MAX_ROWS = 200_000  # for histograms and checks: evenly spaced episodes up to about so many steps
_PROPRIO = field_slices(CANONICAL_PROPRIO)
_ACTION = CANONICAL_ARM.slices


def inspect(prepared: PreparedSet, out: Path, num_episodes: int = 4, *, split: str = "train") -> Path:
    """Writes the page to `out` (a .html file, or a folder for <name>.html) and returns where it is.

    `num_episodes` of `split`, evenly spaced, are shown. Raises UserError for an empty split, WorldError if pictures cannot
    be read.
    """
    out = Path(out)
    path = out if out.suffix == ".html" else out / f"{prepared.name}.html"
    part = prepared.split(split)
    if not part.num_steps:
        raise UserError(f"{prepared.name}: split {split!r} has no steps, so there is nothing to show")
    rows, layout = _sampled_rows(part), prepared.layout
    arm = layout.action == CANONICAL_ARM and layout.proprio == CANONICAL_PROPRIO
    sections = [
        _header(prepared, part),
        _checks(part, rows) if arm else "",
        *(_episode(prepared, part, e) for e in _spaced(part.num_episodes, num_episodes)),
        _instructions(prepared, part),
        _statistics("Action", layout.action.dim_names, prepared.statistics.action, part.action[rows]),
        _statistics("Proprio", dim_names(layout.proprio), prepared.statistics.proprio, part.proprio[rows]),
    ]
    title = html.escape(f"{prepared.name}: {split}")
    page = f"<!doctype html><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>" + "\n".join(sections)
    with atomic(path) as file:
        file.write(page.encode())
    return path


def _header(prepared: PreparedSet, part: PreparedSplit) -> str:
    robot = prepared.embodiment
    lengths = np.diff(part.episode_start)
    facts = [
        ("robot", f"{robot.name}, {robot.morphology}, {robot.control_hz:g} Hz"),
        ("cameras", ", ".join(f"{role}: {v['path']} ({v['channel_order']})" for role, v in prepared.images.items()) or "none"),
        ("native action", ", ".join(f"{f.name}[{f.width}] {f.unit} {f.rotation or ''} {f.frame}" for f in robot.action.fields)),
        ("this split", f"{part.num_episodes:,} episodes, {part.num_steps:,} steps"),
        ("steps per episode", f"min {lengths.min()}, median {np.median(lengths):g}, max {lengths.max()}"),
        ("unknown dimensions", ", ".join(_unknown(prepared.layout)) or "none"),
        ("prepared from", f"{prepared.source} ({prepared.version})"),
    ]
    facts += [(f"source split {name}", _count_text(counts)) for name, counts in prepared.counts.items()]
    reasons = [reason for counts in prepared.counts.values() for reason in counts.get("reasons", ())]
    listed = "".join(f"<li>{html.escape(str(reason))}</li>" for reason in reasons)
    return f"<h1>{html.escape(prepared.name)}</h1>{_table((), facts)}" + (
        f"<h3>Quarantined</h3><ul>{listed}</ul>" if listed else ""
    )


def _unknown(layout: Layout) -> list[str]:
    names = (*layout.action.dim_names, *(f"proprio {name}" for name in dim_names(layout.proprio)))
    return [n for n, known in zip(names, (*layout.action_mask, *layout.proprio_mask), strict=True) if not known]


def _count_text(counts: object) -> str:
    assert isinstance(counts, collections.abc.Mapping)
    return ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in counts.items() if isinstance(value, int))


def _checks(part: PreparedSplit, rows: np.ndarray) -> str:
    """Command against what was measured one step later, axis by axis."""
    moved = _measured_motion(part, rows)
    action = part.action[rows].astype(np.float64)
    table = []
    for i, name in enumerate(CANONICAL_ARM.dim_names[:6]):
        both = np.isfinite(moved[:, i])
        correlation, slope = _agreement(action[both, i], moved[both, i])
        table.append((name, f"{correlation:+.2f}", f"{slope:.3g}", _verdict(correlation, slope)))
    command, opening = action[:, _ACTION["gripper"].start], part.proprio[rows][:, _PROPRIO["gripper"].start]
    correlation, slope = _agreement(command[:-1], opening[1:])
    table.append(("gripper", f"{correlation:+.2f}", f"{slope:.3g}", "turned round?" if correlation < -0.3 else ""))
    table.append(("gripper open", f"{(command > 0.5).mean():.0%} commanded", f"{(opening > 0.5).mean():.0%} measured", ""))
    terminate = action[:, _ACTION["terminate"].start] > 0.5
    table.append(("terminate", f"{terminate.mean():.2%} of steps", "", ""))
    for role in part.images:
        missing = float((part.image(role).length[rows] == 0).mean())
        table.append((f"camera {role}", f"{missing:.1%} without picture", "", "never there" if missing == 1 else ""))
    head = ("", "correlation of command and motion", "command per measured unit", "note")
    return "<h2>Checks</h2>" + _table(head, table)


def _agreement(command: np.ndarray, motion: np.ndarray) -> tuple[float, float]:
    """Correlation, and the least-squares factor from motion to command; NaN where nothing moves."""
    if len(command) < 3 or command.std() < 1e-9 or motion.std() < 1e-9:
        return float("nan"), float("nan")
    slope = float(np.cov(command, motion, bias=True)[0, 1] / motion.var())
    return float(np.corrcoef(command, motion)[0, 1]), slope


def _verdict(correlation: float, slope: float) -> str:
    if not np.isfinite(correlation):
        return "does not move"
    if correlation < -0.3:
        return "sign turned?"
    if correlation < 0.3:
        return "command and motion hardly agree: frame, axis order or delay?"
    return "unit? expected about 1" if not 0.2 < slope < 5 else ""


def _measured_motion(part: PreparedSplit, rows: np.ndarray) -> np.ndarray:
    """float64 [n, 6]: delta position (m) and delta rotation (rpy, rad), base frame, to the next step; NaN at episode ends."""
    following = np.minimum(rows + 1, part.num_steps - 1)
    now, then = part.proprio[rows].astype(np.float64), part.proprio[following].astype(np.float64)
    delta_pos = then[:, _PROPRIO["eef_pos"]] - now[:, _PROPRIO["eef_pos"]]
    delta_rot = np.full((len(rows), 3), np.nan)
    turn = [rotations.to_matrix(x[:, _PROPRIO["eef_rot"]], "rot6d") for x in (now, then)]
    delta_rot = rotations.from_matrix(turn[1] @ rotations.transpose(turn[0]), "rpy")
    moved = np.concatenate([delta_pos, delta_rot], axis=1)
    moved[np.isin(rows + 1, np.asarray(part.episode_start))] = np.nan
    return moved


def _statistics(title: str, names: Sequence[str], statistics: FieldStatistics, values: np.ndarray) -> str:
    keys = ("mean", "std", "min", "q01", "q99", "max")
    table = []
    for i, name in enumerate(names):
        numbers = {key: getattr(statistics, key)[i] for key in keys}
        picture = histogram(values[:, i], marks={key: numbers[key] for key in ("q01", "q99")})
        table.append((name, *(f"{number:.4g}" for number in numbers.values()), _Raw(picture)))
    note = f"{statistics.count:,} training steps; model space is q01 .. q99 (red), counts are on a log scale"
    return f"<h2>{title}</h2><p>{note}</p>" + _table(("", *keys, "this split"), table)


def _instructions(prepared: PreparedSet, part: PreparedSplit) -> str:
    first_steps = np.asarray(part.episode_start)[:-1][np.diff(part.episode_start) > 0]
    counts = collections.Counter(part.language_id[first_steps].reshape(-1).tolist())
    rows = [(prepared.languages[i] or "(none)", f"{n:,}") for i, n in counts.most_common(20)]
    return f"<h2>Instructions</h2><p>{len(counts):,} different</p>" + _table(("instruction", "episodes"), rows)


def _episode(prepared: PreparedSet, part: PreparedSplit, episode: int) -> str:
    first, end = int(part.episode_start[episode]), int(part.episode_start[episode + 1])
    said = [prepared.languages[i] for i in part.language_id[first].tolist()] if end > first else []
    text = next((text for text in said if text), "")
    head = f"<h2>Episode {episode}: {html.escape(text or '(no instruction)')}</h2><p>{end - first} steps</p>"
    strips = "".join(_strip(prepared, part, role, _film_rows(part, episode)) for role in prepared.roles)
    return head + strips + (f'<div class="plots">{"".join(_traces(part, np.arange(first, end)))}</div>' if end > first else "")


def _strip(prepared: PreparedSet, part: PreparedSplit, role: str, rows: np.ndarray) -> str:
    first = int(rows[0]) if len(rows) else 0
    cells = []
    for row, picture in zip(rows, _film(prepared, part, role, rows), strict=True):
        data = base64.b64encode(encode_jpeg(picture, 90)).decode()
        caption = f"{row - first}" if part.image(role).length[row] else f"{row - first}: no picture"
        cells.append(f'<figure><img src="data:image/jpeg;base64,{data}" alt=""><figcaption>{caption}</figcaption></figure>')
    return f'<h3>{html.escape(role)}</h3><div class="film">{"".join(cells)}</div>'


def _traces(part: PreparedSplit, rows: np.ndarray) -> Iterator[str]:
    action, proprio, moved = part.action[rows], part.proprio[rows], _measured_motion(part, rows)
    for title, field, axes, at in (
        ("delta position, m", "delta_pos", "xyz", 0),
        ("delta rotation, rad", "delta_rot", "rpy", 3),
    ):
        commands = action[:, _ACTION[field]]
        lines = [Line(name=axis, values=commands[:, i], colour=COLOURS[i]) for i, axis in enumerate(axes)]
        lines += [Line(name="" if i else "measured", values=moved[:, at + i], colour=COLOURS[i], dashed=True) for i in range(3)]
        yield f"<div>{plot(title, lines)}</div>"
    position = [Line(name=a, values=proprio[:, _PROPRIO["eef_pos"]][:, i], colour=COLOURS[i]) for i, a in enumerate("xyz")]
    yield f"<div>{plot('position, m, base frame', position)}</div>"
    gripper = [
        Line(name="gripper command", values=action[:, _ACTION["gripper"].start], colour=COLOURS[0]),
        Line(name="gripper measured", values=proprio[:, _PROPRIO["gripper"].start], colour=COLOURS[0], dashed=True),
        Line(name="terminate", values=action[:, _ACTION["terminate"].start], colour=COLOURS[2]),
    ]
    yield f"<div>{plot('gripper (1 open), terminate', gripper)}</div>"


def _film(prepared: PreparedSet, part: PreparedSplit, role: str, rows: np.ndarray) -> list[np.ndarray]:
    """The pictures of `rows` in their own size; black where there is none."""
    files = ShardFiles()
    frames = Frames(part, role, size=None, files=files, label=f"data set {prepared.name!r}, split {part.name!r}")
    there = frames.present(rows)
    blank = np.zeros((_STRIP_HEIGHT, _STRIP_HEIGHT, 3), np.uint8)
    pictures = dict(frames.decoded(rows[there]))
    files.close()
    found = iter(range(int(there.sum())))
    return [pictures[next(found)] if has else blank for has in there]


def _film_rows(part: PreparedSplit, episode: int) -> np.ndarray:
    first, end = int(part.episode_start[episode]), int(part.episode_start[episode + 1])
    return (
        np.unique(np.linspace(first, end - 1, _FRAMES_PER_STRIP).round().astype(np.int64))
        if end > first
        else np.zeros(0, np.int64)
    )


def _sampled_rows(part: PreparedSplit) -> np.ndarray:
    """Whole episodes, evenly spaced, about `_MAX_ROWS` steps."""
    wanted = max(1, int(part.num_episodes * min(1.0, _MAX_ROWS / part.num_steps)))
    starts = np.asarray(part.episode_start)
    return np.concatenate([np.arange(starts[e], starts[e + 1]) for e in _spaced(part.num_episodes, wanted)])


def _spaced(total: int, wanted: int) -> list[int]:
    return np.unique(np.linspace(0, total - 1, min(wanted, total)).round().astype(int)).tolist() if total else []


class _Raw(str):
    """Text that is HTML already."""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cell(value: str) -> str:
        return value if isinstance(value, _Raw) else html.escape(value)

    top = f"<tr>{''.join(f'<th>{html.escape(h)}</th>' for h in head)}</tr>" if head else ""
    return f"<table>{top}{''.join('<tr>' + ''.join(f'<td>{cell(v)}</td>' for v in row) + '</tr>' for row in rows)}</table>"


_STYLE = f"""
body {{ font: 14px/1.45 system-ui, sans-serif; margin: 24px; color: #222 }} table {{ border-collapse: collapse; margin: 8px 0 }}
td, th {{ padding: 2px 12px 2px 0; text-align: left; font-variant-numeric: tabular-nums; border-bottom: 1px solid #eee }}
h2 {{ margin: 28px 0 4px }} h3 {{ margin: 8px 0 2px; font-size: 13px }} p {{ margin: 2px 0; color: #666 }}
.film, .plots {{ display: flex; flex-wrap: wrap; gap: 4px }} .plots {{ gap: 16px; margin-top: 10px }}
figure {{ margin: 0 }} figcaption, .legend {{ font-size: 11px; color: #666 }}
img {{ height: {_STRIP_HEIGHT}px; image-rendering: pixelated; display: block }}
"""
