"""What a run says about itself: the log line every few steps, and the validation figures of every data set."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rtx.errors import WorldError
from rtx.models.protocol import Model
from rtx.train.config import TrainConfig
from rtx.train.imitation import make_evaluate, place
from rtx.train.inputs import Inputs, validation_batches
from rtx.train.metrics import Mean, MetricsFile, merge_means
from rtx.train.state import TrainState

log = logging.getLogger(__name__)

MAX_AHEAD = 3
"""Steps sent to the device and not yet known to be done: enough to keep it busy, few enough that the batches waiting for
it stay few."""


class Window:
    """Collects the steps since the last log line without waiting for them, and writes the line when asked."""

    def __init__(self, config: TrainConfig, metrics: MetricsFile) -> None:
        self._config = config
        self._metrics = metrics
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self._elapsed_s = self._wait_s = 0.0
        self._num_timed = 0
        self._is_first = True
        self._clock = time.monotonic()
        self.note = ""  # for the progress bar

    def add(self, step: int, values: dict[str, jax.Array], *, wait_s: float) -> None:
        """`values` of a step that may not have run yet; `wait_s` is how long the loop waited for its batch."""
        self._pending.append((step, values))
        if self._is_first:  # compilation and the filling of the loader's queue are no measure of the run
            self._is_first = False
            jax.block_until_ready(values["loss"])
            log.info("first step: seconds=%.1f (with compilation)", time.monotonic() - self._clock)
            self.resume()
            return
        self._wait_s += wait_s
        self._num_timed += 1
        if len(self._pending) > MAX_AHEAD:
            jax.block_until_ready(self._pending[-1 - MAX_AHEAD][1]["loss"])

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
        means: dict[str, Mean] = {}
        for one in values:
            means = merge_means(means, {n: Mean(total=float(v), weight=1.0) for n, v in one.items() if np.isfinite(v)})
        summary = {name: mean.value for name, mean in means.items() if not name.startswith("nonfinite")}
        summary["lr"] = float(values[-1]["lr"])
        summary.setdefault("loss", float("nan"))  # every step of the window was skipped
        rate = self._num_timed * self._config.data.batch_size / max(self._elapsed_s, 1e-9)
        self._metrics.write(
            step=step,
            kind="train",
            **summary,
            samples_per_s=rate,
            data_wait=min(self._wait_s / max(self._elapsed_s, 1e-9), 1.0),
            nonfinite=int(values[-1]["nonfinite_so_far"]),
        )
        self.note = f"loss {summary['loss']:.3f}, {rate:.0f} samples/s"
        self._pending.clear()
        self._elapsed_s = self._wait_s = 0.0
        self._num_timed = 0
        self.resume()

    def _report_skipped(self, values: Sequence[dict[str, Any]]) -> None:
        size = self._config.data.batch_size
        for (step, _), one in zip(self._pending, values, strict=True):
            if not one["nonfinite"]:
                continue
            log.warning(
                "update skipped, loss or gradient not finite: step=%d loss=%s grad_norm=%s samples=%d..%d",
                step, one["loss"], one["grad_norm"], (step - 1) * size, step * size - 1,
            )  # fmt: skip
            if one["nonfinite_in_a_row"] >= self._config.train.max_nonfinite:
                raise WorldError(
                    f"stopped at step {step}: {int(one['nonfinite_in_a_row'])} updates in a row were not finite "
                    "(train.max_nonfinite). The last checkpoint is from before them: look at samples "
                    f"{(step - 1) * size}..{step * size - 1}, or start again with a lower train.lr"
                )


class Validation:
    """Loss and token accuracy of held-out data, per data set; always the same samples."""

    def __init__(self, config: TrainConfig, inputs: Inputs, model: Model) -> None:
        self._config = config
        self._inputs = inputs
        self._names = list(inputs.contract.embodiments)
        self._evaluate = jax.jit(make_evaluate(model, len(self._names)))

    def log(self, state: TrainState, step: int, metrics: MetricsFile) -> None:
        if not self._config.run.eval_samples:
            return
        sums = [self._evaluate(state, place(batch)) for batch in validation_batches(self._inputs, self._config)]
        per_set = _per_set(jax.device_get(sums), self._names)
        overall: dict[str, Mean] = {}
        for means in per_set.values():
            overall = merge_means(overall, means)
        sets = {name: {metric: mean.value for metric, mean in means.items()} for name, means in per_set.items()}
        metrics.write(step=step, kind="val", **{name: mean.value for name, mean in overall.items()}, sets=sets)


def _per_set(sums: Sequence[dict[str, np.ndarray]], names: Sequence[str]) -> dict[str, dict[str, Mean]]:
    """Sets of which no held-out sample came up are left out rather than shown as zero."""
    found: dict[str, dict[str, Mean]] = {}
    for batch in sums:
        for i, name in enumerate(names):
            weight = float(batch["weight"][i])
            if weight:
                means = {m: Mean(total=float(total[i]), weight=weight) for m, total in batch.items() if m != "weight"}
                found[name] = merge_means(found.get(name, {}), means)
    return found
