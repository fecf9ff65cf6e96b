"""What a run says about itself: the log line every few steps, and the validation figures of every data set."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from rtx.errors import WorldError
from rtx.models.protocol import Answers, Model
from rtx.train.answers import has_questions, make_exact_match
from rtx.train.config import TrainConfig
from rtx.train.figures import Sums
from rtx.train.groups import narrowed
from rtx.train.imitation import make_evaluate, place, spelled
from rtx.train.inputs import Inputs, takes_any_width, validation_batches
from rtx.train.metrics import Mean, MetricsFile, merge_means
from rtx.train.parallel import hosts
from rtx.train.parallel.mesh import everywhere
from rtx.train.speed import Rate, in_words
from rtx.train.state import TrainState

log = logging.getLogger(__name__)

MAX_AHEAD = 3
"""Steps sent to the device and not yet known to be done: enough to keep it busy, few enough that the batches waiting for
it stay few."""


_NOTED = {"accuracy": "actions", "accuracy_text": "answers"}
"""Figures that the progress bar shows, and what it calls them."""


class Window:
    """Collects the steps since the last log line without waiting for them, and writes the line when asked."""

    def __init__(self, config: TrainConfig, metrics: MetricsFile, names: Sequence[str] = ()) -> None:
        """`names` of the data sets, in the order of the mixture."""
        self._config = config
        self._metrics = metrics
        self._names = names
        self._pending: list[tuple[int, dict[str, Any]]] = []
        self._elapsed_s = self._wait_s = self._flops = 0.0
        self._num_timed = 0
        self._is_first = True
        self._clock = time.monotonic()
        self.note = ""  # for the progress bar

    def add(self, step: int, values: dict[str, Any], *, wait_s: float, flops: float = math.nan) -> None:
        """`values` of a step that may not have run yet; `wait_s` is how long the device waited for its batch, `flops` what
        operations it needs."""
        self._pending.append((step, values))
        if self._is_first:  # compilation and the filling of the loader's queue are no measure of the run
            self._is_first = False
            jax.block_until_ready(values["loss"])
            log.info("first step: seconds=%.1f (with compilation)", time.monotonic() - self._clock)
            self.resume()
            return
        self._wait_s += wait_s
        self._flops += flops
        self._num_timed += 1
        if len(self._pending) > MAX_AHEAD:
            # Fetched while the device has steps to do: hundreds of figures at once would keep it waiting at the log line.
            done, figures = self._pending[-1 - MAX_AHEAD]
            self._pending[-1 - MAX_AHEAD] = (done, jax.device_get(figures))

    def pause(self) -> None:
        """What follows, until `resume`, is no training time."""
        self._elapsed_s += time.monotonic() - self._clock

    def resume(self) -> None:
        self._clock = time.monotonic()

    def log(self) -> None:
        """Waits for the steps collected, writes their means, reports updates that were skipped.

        Raises WorldError when more than the configured number were skipped in a row.
        """
        values = jax.device_get([values for _, values in self._pending])
        self.pause()
        step = self._pending[-1][0]
        self._report_skipped(values)
        sets = _values(_per_set([one.pop("sets") for one in values if "sets" in one], self._names))
        means: dict[str, Mean] = {}
        for one in values:
            means = merge_means(means, {n: Mean(total=float(v), weight=1.0) for n, v in one.items() if np.isfinite(v)})
        summary = {name: mean.value for name, mean in means.items() if not name.startswith("nonfinite")}
        summary["lr"] = float(values[-1]["lr"])
        summary.setdefault("loss", float("nan"))  # every step of the window was skipped
        rate = Rate(num_steps=self._num_timed, elapsed_s=self._elapsed_s, flops=self._flops)
        speed = rate.figures(batch_size=self._config.data.batch_size) if self._num_timed else {}
        waited = min(self._wait_s / max(self._elapsed_s, 1e-9), 1.0)
        self._metrics.write(
            step=step,
            kind="train",
            **summary,
            **speed,
            data_wait=waited,
            nonfinite=int(values[-1]["nonfinite_so_far"]),
            **({"sets": sets} if sets else {}),
        )
        right = "".join(f"{what} {summary[name]:.0%}, " for name, what in _NOTED.items() if name in summary)
        timed = f"{in_words(speed)}, data wait {waited:.0%}" if speed else "first step"
        self.note = f"loss {summary['loss']:.3f}, {right}{timed}"
        self._pending.clear()
        self._elapsed_s = self._wait_s = self._flops = 0.0
        self._num_timed = 0
        self.resume()

    def _report_skipped(self, values: Sequence[dict[str, Any]]) -> None:
        size = self._config.data.batch_size
        for (step, _), one in zip(self._pending, values, strict=True):
            if not one["nonfinite"]:
                continue
            first, last = (step - 1) * size, step * size - 1
            if hosts.Hosts.here().is_first:  # every host sees it; the first says it for all
                log.warning(
                    "update skipped, loss or gradient not finite: step=%d loss=%s grad_norm=%s samples=%d..%d",
                    step, one["loss"], one["grad_norm"], first, last,
                )  # fmt: skip
            self._metrics.write(step=step, kind="event", event="update skipped", reason=f"samples {first}..{last}")
            if one["nonfinite_in_a_row"] >= self._config.train.max_nonfinite:
                raise WorldError(
                    f"stopped at step {step}: {int(one['nonfinite_in_a_row'])} updates in a row were not finite "
                    "(train.max_nonfinite). The last checkpoint is from before them: look at samples "
                    f"{first}..{last}, or start again with a lower train.lr"
                )


class Validation:
    """Loss and token accuracy of held-out data, per data set, and how many questions are answered right by a model that
    answers; always the same samples."""

    def __init__(self, config: TrainConfig, inputs: Inputs, model: Model, mesh: Mesh | None = None) -> None:
        """`mesh`: where the state lies; none = on one device. Every process must make the same calls."""
        self._config = config
        self._inputs = inputs
        self._model = model
        self._mesh = mesh
        self._names = list(inputs.contract.embodiments)
        count, parts = len(self._names), config.train.parts
        jit = partial(jax.jit, out_shardings=None if mesh is None else everywhere(mesh))
        self._evaluate = jit(make_evaluate(model, count, parts=parts))
        self._exact = jit(make_exact_match(model, count, parts=parts)) if isinstance(model, Answers) else None
        self._num_hosts = jax.process_count()
        # Another host may have a question where this one has none, and all must run the same programs.
        self._asks_all = self._num_hosts > 1 and inputs.mixture.robots() < 1

    def log(self, state: TrainState, step: int, metrics: MetricsFile) -> dict[str, Any]:
        """Writes the line of this step and returns its figures; empty where none are asked for."""
        if not self._config.run.eval_samples:
            return {}
        sums: list[dict[str, Sums]] = []
        share = (0, 1) if self._mesh is None else hosts.share(self._mesh)
        for loaded in validation_batches(self._inputs, self._config, share=share):
            batch = spelled(self._model, loaded)
            any_width = takes_any_width(self._config, num_hosts=self._num_hosts)
            placed = place(narrowed(batch) if any_width else batch, self._mesh)
            sums.append(self._evaluate(state, placed))
            if self._exact is not None and (self._asks_all or has_questions(batch)):
                sums.append(self._exact(state, placed))
        per_set = _per_set(jax.device_get(sums), self._names)
        overall: dict[str, Mean] = {}
        for means in per_set.values():
            overall = merge_means(overall, means)
        line = {**_values({"": overall})[""], "sets": _values(per_set)}
        metrics.write(step=step, kind="val", **line)
        return line


def _per_set(sums: Sequence[dict[str, Sums]], names: Sequence[str]) -> dict[str, dict[str, Mean]]:
    """Sets of which no sample came up, and figures that a set has nothing of, are left out rather than shown as zero."""
    found: dict[str, dict[str, Mean]] = {}
    for batch in sums:
        for i, name in enumerate(names):
            means = {m: Mean(total=float(one.total[i]), weight=float(one.weight[i])) for m, one in batch.items()}
            if means := {metric: mean for metric, mean in means.items() if mean.weight}:
                found[name] = merge_means(found.get(name, {}), means)
    return {name: found[name] for name in names if name in found}


def _values(per_set: dict[str, dict[str, Mean]]) -> dict[str, dict[str, float]]:
    return {name: {metric: mean.value for metric, mean in means.items()} for name, means in per_set.items()}
