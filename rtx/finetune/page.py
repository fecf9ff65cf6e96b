"""RUN/report.html: what was chosen and why, how held-out error fell, and the open-loop error of every dimension, with plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rtx import plots
from rtx.files import atomic
from rtx.finetune.openloop import HEAD, OpenLoop
from rtx.page import page, terms
from rtx.spec import Contract
from rtx.tables import html_table
from rtx.train.early import figure


def write_page(
    out: Path, *, title: str, reasons: Mapping[str, str], lines: Sequence[Mapping[str, Any]], watch: str, best: int,
    errors: OpenLoop | None, contract: Contract,
) -> Path:  # fmt: skip
    """`lines`: of the training's `metrics.jsonl`; `watch`: the new robot's data set."""
    sections = [
        f"<h1>{escape(title)}</h1><p class='dim'>{escape(_headline(watch, best, errors))}</p>",
        "<h2>What was chosen, and why</h2>" + terms(reasons),
        _validation(lines, watch, best),
        *([_errors(errors), _traces(errors)] if errors else ["<p>The data have no held-out episode to compare with.</p>"]),
        _robots(contract, watch),
    ]
    with atomic(out) as file:
        file.write(page(title, sections).encode())
    return out


def _headline(watch: str, best: int, errors: OpenLoop | None) -> str:
    held_out = f"{errors.num_samples} moments of {errors.num_episodes} held-out episodes" if errors else "nothing held out"
    return f"robot {watch}; step {best} is kept; {held_out}"


def _validation(lines: Sequence[Mapping[str, Any]], watch: str, best: int) -> str:
    val = [line for line in lines if line["kind"] == "val"]
    found = [(line["step"], figure(line, watch)) for line in val]
    points = [(step, value) for step, value in found if value is not None]
    loss = [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]
    drawn = plots.figure(
        "Error of actions on held-out episodes (model space)",
        plots.curve_plot({"held-out": points}, x_label="step", marks={"kept": [best]}),
    )
    return f"<h2>Training</h2>{drawn}" + plots.figure("Training loss", plots.curve_plot({"loss": loss}, x_label="step"))


def _errors(errors: OpenLoop) -> str:
    text = (
        "Mean absolute difference between the policy's action and the recorded one. A policy that knows nothing and always "
        "takes the mean action has the error beside it."
    )
    return f"<h2>Open-loop error of each dimension</h2><p>{text}</p>{html_table(HEAD, errors.rows())}"


def _traces(errors: OpenLoop) -> str:
    trace = errors.trace
    drawn = [
        plots.figure(
            f"{name} ({unit})",
            plots.curve_plot(
                {
                    "recorded": list(zip(trace.steps, recorded, strict=True)),
                    "policy": list(zip(trace.steps, policy, strict=True)),
                },
                x_label="step", height=110,
            ),
            ("recorded", "policy"),
        )
        for name, unit, recorded, policy in zip(errors.names, errors.units, trace.recorded, trace.policy, strict=True)
    ]  # fmt: skip
    return "<h2>One held-out episode</h2>" + "".join(drawn)


def _robots(contract: Contract, watch: str) -> str:
    rows = [
        [name, "new" if name == watch else "kept", f"{robot.control_hz:g} Hz", ", ".join(robot.roles),
         f"{contract.statistics[name].num_episodes:,}"]
        for name, robot in contract.embodiments.items()
    ]  # fmt: skip
    return "<h2>Robots of the checkpoint</h2>" + html_table(
        ["robot", "", "rate", "cameras", "episodes of its statistics"], rows
    )
