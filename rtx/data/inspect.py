"""`inspect`: one page that shows whether a prepared data set is what its record says: colours, cameras, grippers, signs.

    unsettled conventions | counts and what was left out | checks | episodes: film strips and traces, or examples with their
    questions and answers | texts | statistics with histograms against the bounds

The traces draw the commanded motion over the measured one (`rtx.data.measured`), and the check table gives their correlation
and slope per axis: 1 and 1 when frame, unit and sign are right, a negative correlation where a sign is turned, a slope of 100
for centimetres.
"""

from __future__ import annotations

import collections
import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from rtx.data.film import STRIP_HEIGHT, gallery, strips
from rtx.data.measured import measured_motion
from rtx.data.prepared import PreparedSet, PreparedSplit
from rtx.data.svg import COLOURS, Line, histogram, plot
from rtx.embodiment import ActionField, Embodiment, Field, Layout, dim_names, field_slices
from rtx.errors import UserError
from rtx.files import atomic
from rtx.spec import FieldStatistics
from rtx.tables import Cell, html_table

_MAX_ROWS = 200_000  # for histograms and checks: evenly spaced episodes up to about so many steps
_MAX_EXAMPLES = 24  # of single examples
_MAX_TEXTS = 20
_AXES = {"delta_pos": "xyz", "abs_pos": "xyz", "delta_rot": "rpy"}


def inspect(prepared: PreparedSet, out: Path, num_episodes: int = 4, *, split: str = "train") -> Path:
    """Writes the page to `out` (a .html file, or a folder for <name>.html) and returns where it is.

    `num_episodes` of `split`, evenly spaced, are shown; of single examples 24. Raises UserError for an empty split,
    WorldError if pictures cannot be read.
    """
    out = Path(out)
    path = out if out.suffix == ".html" else out / f"{prepared.name}.html"
    part = prepared.split(split)
    if not part.num_steps:
        raise UserError(f"{prepared.name}: split {split!r} has no steps, so there is nothing to show")
    rows, layout = _sampled_rows(part), prepared.layout
    sections = [
        f"<h1>{html.escape(prepared.name)}</h1>",
        _unsettled(prepared),
        _header(prepared, part),
        _lengths(part) if not _is_examples(part) else "",
        _checks(prepared, part, rows),
        *_shown(prepared, part, num_episodes),
        _texts(prepared, part),
        _statistics(
            "Action", layout.action.fields, layout.action_mask, prepared.statistics.action, part.action[rows], prepared
        ),
        _statistics("Proprio", layout.proprio, layout.proprio_mask, prepared.statistics.proprio, part.proprio[rows], prepared),
    ]
    title = html.escape(f"{prepared.name}: {split}")
    page = f"<!doctype html><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>" + "\n".join(sections)
    with atomic(path) as file:
        file.write(page.encode())
    return path


def _unsettled(prepared: PreparedSet) -> str:
    """Where the set's sources contradict each other, what was assumed has to be seen first."""
    items = "".join(
        f"<li>{html.escape(question)}<br><code>--choose {html.escape(name)}=...</code></li>"
        for name, question in prepared.unsettled.items()
    )
    lead = "Nobody has settled these; the default was assumed. Look below, then prepare again with your choice:"
    return f"<div class='warning'><b>{lead}</b><ul>{items}</ul></div>" if items else ""


def _header(prepared: PreparedSet, part: PreparedSplit) -> str:
    robot = prepared.embodiment
    facts = [
        ("robot", f"{robot.name}, {robot.morphology}, {robot.control_hz:g} Hz"),
        ("cameras", "; ".join(f"{role}: {v['path']} ({v['channel_order']})" for role, v in prepared.images.items()) or "none"),
        *[("depth", f"{role}: {v['path']} ({v['metres_per_unit']:g} m a unit)") for role, v in prepared.depths.items()],
        ("native action", ", ".join(f"{f.name}[{f.width}] {f.unit} {f.rotation or ''} {f.frame}" for f in robot.action.fields)),
        ("this split", f"{part.num_episodes:,} episodes, {part.num_steps:,} steps"),
        ("unknown dimensions", ", ".join(_unknown(prepared.layout)) or "none"),
        *[("chosen", f"{name}={option}") for name, option in prepared.choices.items()],
        ("prepared from", f"{prepared.source} ({prepared.version})"),
    ]
    facts += [(f"source split {name}", _count_text(counts)) for name, counts in prepared.counts.items()]
    reasons = [reason for counts in prepared.counts.values() for reason in counts.get("reasons", ())]
    listed = "".join(f"<li>{html.escape(str(reason))}</li>" for reason in reasons)
    return html_table((), facts) + (f"<h3>Quarantined</h3><ul>{listed}</ul>" if listed else "")


def _unknown(layout: Layout) -> list[str]:
    names = (*layout.action.dim_names, *(f"proprio {name}" for name in dim_names(layout.proprio)))
    return [n for n, known in zip(names, (*layout.action_mask, *layout.proprio_mask), strict=True) if not known]


def _count_text(counts: Mapping[str, object]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in counts.items() if isinstance(value, int))


def _lengths(part: PreparedSplit) -> str:
    lengths = np.diff(part.episode_start)
    text = f"min {lengths.min()}, median {np.median(lengths):g}, max {lengths.max()}"
    picture = histogram(lengths, marks={"median": float(np.median(lengths))}, width=360, height=60)
    return f"<h2>Steps per episode</h2><p>{text}; counts are on a log scale</p>{picture}"


def _checks(prepared: PreparedSet, part: PreparedSplit, rows: np.ndarray) -> str:
    """Command against what was measured one step later, axis by axis."""
    layout, moved = prepared.layout, measured_motion(prepared.layout, part, rows)
    action = part.action[rows].astype(np.float64)
    table = []
    for field in layout.action.fields:
        for i, name in zip(_dims(layout.action.fields, field), dim_names((field,)), strict=True):
            both = np.isfinite(moved[:, i])
            if layout.action_mask[i] and both.any():
                correlation, slope = _agreement(action[both, i], moved[both, i])
                note = _verdict(correlation, slope) if field.kind != "gripper" else "turned round?" * (correlation < -0.3)
                table.append((name, f"{correlation:+.2f}", f"{slope:.3g}", note))
            if layout.action_mask[i] and field.kind in ("gripper", "terminate"):
                table.append(_share(field, name, action[:, i], moved[both, i]))
    for role in part.images:
        missing = float((part.image(role).length[rows] == 0).mean())
        table.append((f"camera {role}", f"{missing:.1%} without picture", "", "never there" if missing == 1 else ""))
    for role in part.depths:
        missing = float((part.depth(role).length[rows] == 0).mean())
        table.append((f"depth {role}", f"{missing:.1%} without depth", "", "never there" if missing == 1 else ""))
    head = ("", "correlation of command and motion", "command per measured unit", "note")
    return "<h2>Checks</h2>" + (html_table(head, table) if table else "<p>nothing to compare</p>")


def _dims(fields: Sequence[Field], field: Field) -> range:
    place = field_slices(fields)[field.name]
    return range(place.start, place.stop)


def _share(field: ActionField, name: str, command: np.ndarray, measured: np.ndarray) -> tuple[str, str, str, str]:
    if field.kind == "terminate":
        return (name, f"{(command > 0.5).mean():.2%} of steps", "", "")
    there = f"{(measured > 0.5).mean():.0%} measured" if len(measured) else "not measured"
    return (f"{name} open", f"{(command > 0.5).mean():.0%} commanded", there, "")


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


def _statistics(
    title: str, fields: Sequence[Field], mask: Sequence[bool], statistics: FieldStatistics, values: np.ndarray,
    prepared: PreparedSet,
) -> str:  # fmt: skip
    """Known dimensions only: the others hold zeros."""
    keys = ("mean", "std", "min", "q01", "q99", "max")
    names, table = dim_names(fields), []
    bounds = [bound for field in fields for bound in _bounds(field, prepared.embodiment)]
    for i in np.flatnonzero(mask).tolist():
        numbers = {key: getattr(statistics, key)[i] for key in keys}
        low, high = bounds[i]
        finite = [b for b in (low, high) if np.isfinite(b)]
        picture = histogram(values[:, i], marks={key: numbers[key] for key in ("q01", "q99")}, bounds=finite)
        beyond = float(((values[:, i] < low - 1e-6) | (values[:, i] > high + 1e-6)).mean())
        told = f"{low:.3g} .. {high:.3g}" + (f", {beyond:.1%} of steps beyond" if beyond else "") if finite else ""
        table.append((names[i], *(f"{number:.4g}" for number in numbers.values()), told, Cell(f"<td>{picture}</td>")))
    if not table:
        return f"<h2>{title}</h2><p>nothing known</p>"
    note = f"{statistics.count:,} training steps; model space is q01 .. q99 (red), bounds are blue, counts on a log scale"
    return f"<h2>{title}</h2><p>{note}</p>" + html_table(("", *keys, "bounds", "this split"), table)


def _bounds(field: Field, robot: Embodiment) -> list[tuple[float, float]]:
    """What the field, or of an arm the robot's limits, allow in each dimension; infinite where neither says."""
    limits, kind = robot.limits, getattr(field, "kind", "")
    if field.name == "eef_pos" or (kind == "abs_pos" and field.frame == "base" and field.unit == "m"):
        return list(zip(limits.workspace_low_m, limits.workspace_high_m, strict=True))
    if "joint_pos" in field.name and len(limits.joint_low_rad) == field.width:
        return list(zip(limits.joint_low_rad, limits.joint_high_rad, strict=True))
    step = {"delta_pos": limits.max_step_m, "delta_rot": limits.max_step_rad}.get(kind, np.inf)
    low, high = getattr(field, "low", -np.inf), getattr(field, "high", np.inf)
    return [(max(low, -step), min(high, step))] * field.width


def _texts(prepared: PreparedSet, part: PreparedSplit) -> str:
    """The most frequent of each key, of the first step of each episode."""
    first_steps = np.asarray(part.episode_start)[:-1][np.diff(part.episode_start) > 0]
    keys = part.language_id[first_steps].T
    sections = [_frequent(prepared, ids, "Instructions" + (f", key {i + 1} of {len(keys)}" if len(keys) > 1 else ""))
                for i, ids in enumerate(keys)]  # fmt: skip
    answers = part.target_id[first_steps].T if prepared.targets else ()
    sections += [_frequent(prepared, ids, f"Answers, {key}") for key, ids in zip(prepared.targets, answers, strict=True)]
    return "".join(sections)


def _frequent(prepared: PreparedSet, ids: np.ndarray, title: str) -> str:
    counts = collections.Counter(ids.tolist())
    rows = [(prepared.languages[i] or "(none)", f"{n:,}") for i, n in counts.most_common(_MAX_TEXTS)]
    shown = f", the {len(rows)} most frequent" if len(counts) > len(rows) else ""
    return f"<h2>{html.escape(title)}</h2><p>{len(counts):,} different{shown}</p>" + html_table(("text", "episodes"), rows)


def _shown(prepared: PreparedSet, part: PreparedSplit, num_episodes: int) -> Iterator[str]:
    """Episodes one by one, or, where every one is a single step, a gallery."""
    if _is_examples(part):
        rows = _spaced(part.num_steps, _MAX_EXAMPLES)
        captions = [_caption(prepared, part, row) for row in rows]
        yield f"<h2>{len(rows)} examples</h2>{gallery(prepared, part, rows, captions)}"
    else:
        for episode in _spaced(part.num_episodes, num_episodes):
            yield _episode(prepared, part, episode)


def _is_examples(part: PreparedSplit) -> bool:
    return bool(np.all(np.diff(part.episode_start) == 1)) and part.num_episodes > 1


def _caption(prepared: PreparedSet, part: PreparedSplit, row: int) -> str:
    said = [prepared.languages[i] for i in part.language_id[row].tolist()]
    answers = [prepared.languages[i] for i in part.target_id[row].tolist()] if prepared.targets else []
    return "<br>".join([*map(html.escape, said), *(f"<b>{html.escape(answer)}</b>" for answer in answers)])


def _episode(prepared: PreparedSet, part: PreparedSplit, episode: int) -> str:
    first, end = int(part.episode_start[episode]), int(part.episode_start[episode + 1])
    said = [prepared.languages[i] for i in part.language_id[first].tolist()] if end > first else []
    text = " / ".join(dict.fromkeys(text for text in said if text))
    head = f"<h2>Episode {episode}: {html.escape(text or '(no instruction)')}</h2><p>{end - first} steps</p>"
    plots = "".join(f"<div>{one}</div>" for one in _traces(prepared.layout, part, np.arange(first, end))) if end > first else ""
    return head + strips(prepared, part, episode) + f'<div class="plots">{plots}</div>'


def _traces(layout: Layout, part: PreparedSplit, rows: np.ndarray) -> Iterator[str]:
    """Known action fields, commanded and measured, then measured positions."""
    action, proprio, moved = part.action[rows], part.proprio[rows], measured_motion(layout, part, rows)
    for group in _groups(layout):
        dims = [(name, i) for field in group for name, i in _named_dims(layout.action.fields, field)]
        lines = [Line(name=name, values=action[:, i], colour=COLOURS[n % len(COLOURS)]) for n, (name, i) in enumerate(dims)]
        told = [(n, i) for n, (_, i) in enumerate(dims) if np.isfinite(moved[:, i]).any()]
        lines += [
            Line(name="" if k else "measured", values=moved[:, i], colour=COLOURS[n % len(COLOURS)], dashed=True)
            for k, (n, i) in enumerate(told)
        ]
        yield plot(_title(group), lines)
    for place in (f for f in layout.proprio if f.name.endswith(("eef_pos", "base_pos"))):
        if layout.proprio_mask[_dims(layout.proprio, place).start]:
            lines = [
                Line(name=axis, values=proprio[:, i], colour=COLOURS[k])
                for k, (axis, i) in enumerate(zip("xyz", _dims(layout.proprio, place), strict=False))
            ]
            yield plot(f"{place.name}, {place.unit}, {place.frame} frame", lines)


def _groups(layout: Layout) -> list[list[ActionField]]:
    """Fields that share a plot: one that is a vector for itself, neighbours of one number each together, up to seven."""
    groups: list[list[ActionField]] = []
    for field in layout.action.fields:
        if not any(layout.action_mask[i] for i in _dims(layout.action.fields, field)):
            continue
        alone = field.width > 1 or not groups or groups[-1][0].width > 1 or len(groups[-1]) == len(COLOURS)
        groups.append([field]) if alone else groups[-1].append(field)
    return groups


def _named_dims(fields: Sequence[Field], field: ActionField) -> list[tuple[str, int]]:
    axes = _AXES.get(field.kind, "") if field.width == 3 else ""
    return list(zip(axes or dim_names((field,)), _dims(fields, field), strict=True))


def _title(group: Sequence[ActionField]) -> str:
    if len(group) == 1:
        return f"{group[0].name}, {group[0].unit}"
    kinds = dict.fromkeys(field.kind.replace("_", " ") for field in group)
    return ", ".join(kinds)


def _sampled_rows(part: PreparedSplit) -> np.ndarray:
    """Whole episodes, evenly spaced, about `_MAX_ROWS` steps."""
    wanted = max(1, int(part.num_episodes * min(1.0, _MAX_ROWS / part.num_steps)))
    starts = np.asarray(part.episode_start)
    return np.concatenate([np.arange(starts[e], starts[e + 1]) for e in _spaced(part.num_episodes, wanted)])


def _spaced(total: int, wanted: int) -> list[int]:
    return np.unique(np.linspace(0, total - 1, min(wanted, total)).round().astype(int)).tolist() if total else []


_STYLE = f"""
body {{ font: 14px/1.45 system-ui, sans-serif; margin: 24px; color: #222 }} table {{ border-collapse: collapse; margin: 8px 0 }}
td, th {{ padding: 2px 12px 2px 0; text-align: left; font-variant-numeric: tabular-nums; border-bottom: 1px solid #eee }}
h2 {{ margin: 28px 0 4px }} h3 {{ margin: 8px 0 2px; font-size: 13px }} p {{ margin: 2px 0; color: #666 }}
.film, .plots {{ display: flex; flex-wrap: wrap; gap: 4px }} .plots {{ gap: 16px; margin-top: 10px }}
figure {{ margin: 0 }} figcaption, .legend {{ font-size: 11px; color: #666 }} .wide {{ overflow-x: auto }}
.gallery {{ gap: 12px }} .gallery figure {{ width: 160px }} .gallery figcaption {{ color: #222 }}
.warning {{ background: #fff4d6; border: 1px solid #d9a400; border-radius: 6px; padding: 8px 14px; margin: 10px 0 }}
img {{ height: {STRIP_HEIGHT}px; max-width: 100%; object-fit: contain; image-rendering: pixelated; display: block }}
"""
