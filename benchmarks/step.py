"""How much of a run's time is not spent in the compiled step: the loop as `rtx train` runs it against its own step alone.

    python benchmarks/step.py configs/tiny.py:bridge --set data.sets.0.source=SOURCE

The configuration's run, over its real data, with log lines and an asynchronous save every `--save-every` steps, early in a
segment. Every `--segment` steps the loop is held and the same compiled program runs `--alone` times on the batch and a copy of
the state it just had, so that both are measured in the same minutes on the same machine; the loader fills its queue meanwhile,
hence the first steps behind each stop do not count. The share is 1 - (step alone, before and behind) / (loop), in seconds of
the clock and of the processor (all threads of the process; other programs hardly change them), pooled and as the median of
the segments. On a CPU both hold the decoding of pictures and the writing of checkpoints, which take turns with the step there
and run beside it on an accelerator.

What does not depend on that is printed first: the share of the loop's clock in which no compiled step was in flight, from the
moment one was done (a thread of its own waits for that) to the moment the next was sent. Goal: at most 3 % of the clock.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rtx.data.assemble import Assembler
from rtx.train import loop
from rtx.train.observe import Window
from rtx.train.overrides import load_config, override
from rtx.train.prefetch import Prefetch
from rtx.train.saver import Saver

SETTLE = 10  # steps behind each stop that do not count
SWITCH_S = 2e-4  # after so long a thread hands Python over, not 5 ms: what waits for steps must wake when they are done


@dataclass
class Seconds:
    """Of the clock and of the processor, of all threads of this process."""

    clock: float = 0.0
    processor: float = 0.0
    _since: tuple[float, float] | None = None

    def go(self) -> None:
        self._since = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        if self._since is not None:
            self.clock += time.perf_counter() - self._since[0]
            self.processor += time.process_time() - self._since[1]
        self._since = None

    @contextmanager
    def running(self) -> Iterator[None]:
        self.go()
        yield
        self.stop()


class Gaps:
    """How long no step was in flight: a thread waits for each in turn and notes when it was done."""

    def __init__(self) -> None:
        self.seconds, self.dry, self.sent = 0.0, 0, 0
        self._done_at, self._values = 0.0, None
        self._steps: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while True:
            jax.block_until_ready(values := self._steps.get())
            self._done_at, self._values = time.perf_counter(), values

    def before(self, last: Any) -> None:
        """A step is about to be sent; `last`: what the one before will give."""
        self.sent += 1
        if all(one.is_ready() for one in jax.tree.leaves(last)):
            while self._values is not last:
                time.sleep(0)  # the thread is on its way
            self.dry += 1
            self.seconds += max(0.0, time.perf_counter() - self._done_at)

    def after(self, values: Any) -> None:
        self._steps.put(values)


@dataclass
class Watch:
    """What is measured while the loop runs."""

    warm_up: int  # steps before the first stop
    segment: int
    alone: int
    loop: list[Seconds] = field(default_factory=list)
    step: list[Seconds] = field(default_factory=list)  # of `alone` steps each
    parts: dict[str, float] = field(default_factory=dict)  # seconds of the clock in which the loop does not feed the device
    beside: dict[str, list[float]] = field(default_factory=dict)  # processor seconds outside the step, by what they were for
    gaps: Gaps = field(default_factory=Gaps)
    is_on: bool = False
    values: Any = None  # of the last step sent
    _since: float | None = None  # when it was sent, by the clock of the loop's thread

    def note(self, part: str, seconds: float) -> None:
        if self.is_on:
            self.parts[part] = self.parts.get(part, 0.0) + seconds

    def in_thread(self, part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method, with its thread's processor seconds noted."""
        spent = self.beside.setdefault(part, [])

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            result = method(*args, **kwargs)
            if self.is_on:
                spent.append(time.thread_time() - start)
            return result

        return timed

    def around(self, part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method, timed from when the device has done what it was given: waiting for that is no loss."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            jax.block_until_ready(self.values)
            start = time.perf_counter()
            result = method(*args, **kwargs)
            self.note(part, time.perf_counter() - start)
            return result

        return timed

    def step_of(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """The loop's step, which holds the loop now and then and runs alone."""
        calls = 0

        def counted(state: Any, batch: Any, *rest: Any) -> Any:
            nonlocal calls
            at = (calls - self.warm_up) % self.segment if calls >= self.warm_up else -1
            if at == 0:
                self._hold(step, state, batch, rest)
            if at == SETTLE:
                self.loop.append(Seconds())
                self.loop[-1].go()
                self.is_on = True
            elif self.is_on:
                self.gaps.before(self.values)
            calls += 1
            self._own()
            result = step(state, batch, *rest)
            self.values = result[1]
            self.gaps.after(self.values)
            self._since = time.thread_time()
            return result

        return counted

    def _own(self) -> None:
        """What the loop's thread itself has computed since it sent the last step."""
        if self.is_on and self._since is not None:
            self.beside.setdefault("the loop itself: batches to the device, figures, log lines", []).append(
                time.thread_time() - self._since
            )
        self._since = None

    def _hold(self, step: Callable[..., Any], state: Any, batch: Any, rest: tuple[Any, ...]) -> None:
        jax.block_until_ready((self.values, state))
        if self.loop:
            self.loop[-1].stop()
        self.is_on = False
        copy = jax.block_until_ready(jax.tree.map(jnp.copy, state))
        copy, *_ = step(copy, batch, *rest)  # on memory of its own
        jax.block_until_ready(copy)
        self.step.append(Seconds())
        with self.step[-1].running():
            for _ in range(self.alone):
                copy, *_ = step(copy, batch, *rest)
            jax.block_until_ready(copy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="configs/FILE.py:function")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--segments", type=int, default=20)
    parser.add_argument("--segment", type=int, default=50, help="steps between two stops (default: %(default)s)")
    parser.add_argument("--alone", type=int, default=15, help="steps alone at each stop (default: %(default)s)")
    parser.add_argument("--save-every", type=int, default=500, help="steps (default: %(default)s)")
    parser.add_argument(
        "--apart", action="store_true", help="on a CPU: the compiled step on a core of its own, as on an accelerator"
    )
    args = parser.parse_args()
    if args.apart:
        _step_on_one_core()
    sys.setswitchinterval(SWITCH_S)
    if args.segment <= SETTLE:
        parser.error(f"--segment must be above {SETTLE}")
    warm_up = 20 + (args.save_every - 20 - SETTLE - (args.segment - SETTLE) // 4) % args.segment
    steps = warm_up + args.segments * args.segment + 1
    config = override(
        load_config(args.config, args.set),
        [f"train.num_steps={steps}", f"run.save_every={args.save_every}", "run.eval_samples=0"],
    )
    watch = Watch(warm_up=warm_up, segment=args.segment, alone=args.alone)
    _watch(watch)
    with tempfile.TemporaryDirectory() as folder:
        loop.train(config, Path(folder) / "run")
    print(report(watch, segment=args.segment - SETTLE, saves=steps // args.save_every))


def _step_on_one_core() -> None:
    """XLA makes as many threads as its process may have cores, and they stay where they were made."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])
    jax.block_until_ready(jax.jit(jnp.sin)(jnp.ones(1 << 20)))
    os.sched_setaffinity(0, cores[1:])


def _watch(watch: Watch) -> None:
    """Puts the watch into the loop. What it wraps is what every run calls."""
    compiled, take = loop.jit_step, Prefetch.take

    def taken(self: Prefetch) -> Any:
        batch, wait_s = take(self)
        watch.note("waiting for data", wait_s)
        return batch, wait_s

    loop.jit_step = lambda *args, **kwargs: watch.step_of(compiled(*args, **kwargs))  # type: ignore[assignment]
    Prefetch.take = taken  # type: ignore[method-assign]
    Window.log = watch.around("log lines", Window.log)  # type: ignore[method-assign]
    Assembler.fill = watch.in_thread("reading and decoding", Assembler.fill)  # type: ignore[method-assign]
    Saver._finish = watch.in_thread("writing saves", Saver._finish)  # type: ignore[method-assign]
    Saver.save = watch.around("saves (held for the copy)", Saver.save)  # type: ignore[method-assign]


def report(watch: Watch, *, segment: int, saves: int) -> str:
    device = jax.devices()[0]
    lines = [
        f"device {device.platform} {device.device_kind}, jax {jax.__version__}; {len(watch.loop)} segments of {segment} steps"
    ]
    gaps, total = watch.gaps, sum(one.clock for one in watch.loop)
    lines.append(
        f"  no step in flight: {100 * gaps.seconds / total:.2f} % of the loop's clock; "
        f"{gaps.dry} of {gaps.sent} steps were sent when the one before was done"
    )
    for unit in ("clock", "processor"):
        loop_s = np.array([getattr(one, unit) for one in watch.loop]) / segment
        alone_s = np.array([getattr(one, unit) for one in watch.step]) / watch.alone
        step_s = (alone_s[:-1] + alone_s[1:]) / 2  # before and behind each segment
        low, middle, high = np.percentile(100 * (1 - step_s / loop_s), (25, 50, 75))
        lines.append(
            f"  {unit:9}  loop {1e3 * loop_s.mean():8.2f} ms a step, step alone {1e3 * step_s.mean():8.2f} ms: "
            f"{100 * (1 - step_s.mean() / loop_s.mean()):5.1f} % not in the step (segments: median {middle:.1f}, "
            f"half of them {low:.1f} to {high:.1f})"
        )
    lines.append(f"  of the loop's clock, with {saves} save(s) in all:")
    lines += [f"    {100 * seconds / total:5.2f} % {part}" for part, seconds in sorted(watch.parts.items())]
    busy = sum(one.processor for one in watch.loop)
    lines.append("  of the loop's processor seconds:")
    lines += [f"    {100 * sum(spent) / busy:5.2f} % {part}" for part, spent in sorted(watch.beside.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
