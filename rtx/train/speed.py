"""How fast a run is: operations that a step needs, counted once for each shape of batch, against what its devices can do."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import jax
import optax

from rtx.models.protocol import Model
from rtx.train import flops
from rtx.train.accelerators import peak_flops
from rtx.train.config import OptimizationConfig
from rtx.train.imitation import Groups, make_step
from rtx.train.state import TrainState

log = logging.getLogger(__name__)


class StepFlops:
    """Floating-point operations that steps need: of gradient and update, not of what is computed again to save memory, so
    that the share of the peak says how good the run is and not how busy."""

    def __init__(self, model: Model, optimizer: optax.GradientTransformation, config: OptimizationConfig) -> None:
        self._step = make_step(_Keeping(model), optimizer, config)
        self._known: dict[Any, float] = {}

    def __call__(self, state: TrainState, batch: Groups) -> float:
        """Over all devices. Only shapes matter; what is not known yet is traced, in the time of tracing the step. NaN where
        they cannot be counted, which is reported once."""
        key = tuple(leaf.shape for leaf in jax.tree.leaves(batch))
        if key not in self._known:
            self._known[key] = self._count(state, batch)
        return self._known[key]

    def _count(self, state: TrainState, batch: Groups) -> float:
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (state, batch))
        try:
            found = flops.count(self._step, *shapes)
        except Exception as error:  # of any model's any operation, for one figure of the progress bar: never stops a training
            log.error("operations of the step not counted, no MFU: %s: %s", type(error).__name__, error)
            return math.nan
        if not self._known:
            unsure = f" at least: {found.unknown_loops} loops of unknown length" if found.unknown_loops else ""
            unsure += f" without {', '.join(sorted(found.uncounted))}" if found.uncounted else ""
            log.info("step: flops=%.4g%s", found.total, unsure)
        return found.total


class _Keeping:
    """A model whose gradient keeps what it needs, for `make_step` to be counted with."""

    def __init__(self, model: Model) -> None:
        self._model, self.config = model, model.config
        self.init, self.act, self.param_axes = model.init, model.act, model.param_axes

    def loss(self, variables: Any, batch: Any, rng: Any, *, train: bool) -> Any:
        return flops.unrematerialised(lambda *args: self._model.loss(*args, train=train))(variables, batch, rng)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Steps that took `elapsed_s` on all devices together."""

    num_steps: int
    elapsed_s: float
    flops: float  # that they needed; NaN = not known

    def figures(self, *, batch_size: int) -> dict[str, float]:
        """For the log line; "mfu" only where the device's peak is known."""
        seconds = max(self.elapsed_s, 1e-9)
        found = {"step_s": seconds / max(self.num_steps, 1), "samples_per_s": self.num_steps * batch_size / seconds}
        if not math.isfinite(self.flops) or not self.flops:
            return found
        found["flops_per_s"] = self.flops / seconds
        peak = peak_flops(jax.devices()[0].device_kind)
        return found if peak is None else {**found, "mfu": found["flops_per_s"] / (peak * jax.device_count())}


def in_words(figures: dict[str, float]) -> str:
    """`142 ms, 450 samples/s, MFU 41%`; without a known peak the operations a second that were counted."""
    words = [_seconds(figures["step_s"]), f"{figures['samples_per_s']:.4g} samples/s"]
    if "mfu" in figures:
        words.append(f"MFU {figures['mfu']:.0%}")
    elif "flops_per_s" in figures:
        words.append(f"{figures['flops_per_s'] / 1e9:.3g} GFLOP/s")
    return ", ".join(words)


def _seconds(value: float) -> str:
    return f"{value:.2f} s a step" if value >= 1 else f"{value * 1e3:.3g} ms a step"
