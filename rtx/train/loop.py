"""The training run, as one story: open the data, build the model, restore or start, then step, look and save.

    train(config, run_dir)      the same call goes on after any kill, with the batches and numbers that would have come

On any number of devices and hosts (`rtx.train.parallel`): every process makes this call.

Nothing in the loop waits for the device but the log line (every `log_every` steps), validation and saving, and the next
batch is on its way there before any of them.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
from jax.sharding import Mesh

from rtx import progress
from rtx.data.loader import Loader, LoaderState
from rtx.errors import UserError
from rtx.models.families import build_model, model_to_json, reads
from rtx.models.protocol import Model
from rtx.spec import Batch, to_json
from rtx.train import checkpoint, imitation, pytree, starts
from rtx.train.cache import keep_compiled_programs
from rtx.train.checkpoint.meeting import Meeting
from rtx.train.config import TrainConfig, config_to_json, fingerprint
from rtx.train.early import Best
from rtx.train.inputs import Inputs, describe, empty_batch, open_inputs, takes_any_width, train_batches
from rtx.train.metrics import MetricsFile, NoMetrics
from rtx.train.observe import Validation, Window
from rtx.train.parallel import rules
from rtx.train.parallel.hosts import Hosts, lost_hosts, share
from rtx.train.parallel.mesh import build_mesh, check_batch, layout_of
from rtx.train.parallel.stop import StopSign
from rtx.train.preemption import Preempted, Preemption
from rtx.train.prefetch import Prefetch
from rtx.train.profile import Profile
from rtx.train.programs import init_of, jit_init, jit_step
from rtx.train.run_dir import CHECKPOINTS, claim
from rtx.train.saver import Saver
from rtx.train.sinks import open_metrics
from rtx.train.speed import StepFlops
from rtx.train.start import starting_variables
from rtx.train.state import TrainState, from_tree, to_tree
from rtx.versions import versions

T = TypeVar("T")

log = logging.getLogger(__name__)


def train(config: TrainConfig, run_dir: Path, *, profile: int = 0) -> Path:
    """Trains to the end, from the newest checkpoint in `run_dir` if there is one. Returns the last checkpoint's folder.

    Raises UserError for data, a folder or a configuration that does not fit, WorldError for a disk that cannot be
    written at the end or gradients that stay non-finite, `Preempted` (exit code 75) after SIGTERM, with the state saved.
    With `run.patience` it ends where validation no longer gets better; the best checkpoint is kept (`rtx.train.early`).
    `profile`: so many steps are traced (`rtx.train.profile`).
    """
    keep_compiled_programs()
    hosts, mesh = Hosts.here(), build_mesh(config.run.mesh)
    check_batch(mesh, config.data.batch_size, parts=config.train.num_parts)
    meeting, rows = Meeting(), share(mesh)
    with lost_hosts(), Preemption() as preemption, contextlib.ExitStack() as stack:
        meeting.lead(lambda: stack.enter_context(claim(run_dir, config)))
        inputs = _first_alone(meeting, lambda: open_inputs(config, origin=_origin(config, run_dir)))
        names = list(inputs.contract.embodiments)
        model = build_model(inputs.model)
        optimizer = imitation.make_optimizer(config.train)
        loader = stack.enter_context(train_batches(inputs, config, share=rows))
        init = init_of(config, model, optimizer)
        state, start = _restore_or_init(config, run_dir, inputs, model, init, loader, mesh)
        _first_lines(config, inputs, loader, state, start, mesh, model)
        last, best = config.train.num_steps, Best.of_run(run_dir, config.run, up_to=start)
        if start == last or best.is_over:
            log.info("nothing to do: step %d of %d is saved", start, last)
            return run_dir / CHECKPOINTS / str(start)

        if hosts.is_first:
            starts.note(run_dir, step=start, config=config, inputs=inputs, state=state, mesh=dict(mesh.shape))
        steps = profile if hosts.is_first else 0
        profiled = stack.enter_context(Profile(run_dir / "profile", num_steps=steps, start=start, last=last))
        step_fn = imitation.make_step(model, optimizer, config.train, num_sets=len(names), mesh=mesh)
        step_fn = jit_step(step_fn, layout_of(state), mesh)
        metrics = stack.enter_context(open_metrics(run_dir, config, step=start) if hosts.is_first else NoMetrics())
        validation = Validation(config, inputs, model, mesh)
        saver = stack.enter_context(_saver(config, run_dir, inputs, model, metrics))

        def placed(batch: Batch) -> imitation.Groups:
            said = imitation.spelled(model, batch)
            narrow = takes_any_width(config, num_hosts=hosts.count)
            return imitation.place_groups(said, num_groups=config.train.groups, narrow=narrow, mesh=mesh)

        window, batches = Window(config, metrics, names), Prefetch(loader, placed)
        flops = StepFlops(model, optimizer, config.train)
        advance = stack.enter_context(progress.bar("train", last, done=start) if hosts.is_first else progress.nowhere())
        stop = StopSign(preemption, mesh)
        stack.enter_context(lost_hosts())  # said before the saver is waited for

        for step in range(start + 1, last + 1):
            batch, wait_s = batches.take()
            if step == start + 1:
                _compile_together(meeting, step_fn, state, batch, stop.raised())
            with profiled.step(step):
                state, values, stopping = step_fn(state, batch, stop.raised())
            is_last, is_stopping = step == last, stop.seen(stopping)
            if not (is_last or is_stopping):
                batches.prepare(values["loss"])
            window.add(step, values, wait_s=wait_s, flops=flops(state, batch))
            profiled.after(step, values)
            saver.poll()
            if is_last or is_stopping or step % config.run.log_every == 0:
                window.log()
            advance(1, window.note)
            window.pause()
            if is_last or (config.run.eval_every and step % config.run.eval_every == 0):
                best.add(step, validation.log(state, step, metrics))
            is_last = is_last or best.is_over
            if is_last or is_stopping or step % config.run.save_every == 0:
                saver.save(state, step, batches.state(), must=is_last or is_stopping, pinned=best.pinned)
            window.resume()
            if best.is_over:
                log.info("stopped: step=%d of %d best=%d held-out error=%.4g", step, last, best.step, best.figure)
                return run_dir / CHECKPOINTS / str(step)
            if is_stopping and not is_last:
                raise Preempted
    return run_dir / CHECKPOINTS / str(last)


def _origin(config: TrainConfig, run_dir: Path) -> Path | None:
    """Where the tokenizer comes from if it is not made anew: a run that has begun no longer needs what it began from."""
    if not config.train.start:
        return None
    return run_dir if checkpoint.steps(run_dir / CHECKPOINTS) else Path(config.train.start)


def _first_alone(meeting: Meeting, work: Callable[[], T]) -> T:
    """Of several processes the first goes ahead: what is prepared on the way is there for the others."""
    result: list[T] = []
    meeting.lead(lambda: result.append(work()))
    return result[0] if result else work()


def _compile_together(meeting: Meeting, step_fn: Any, *args: Any) -> None:
    """Several processes start their first step together, however much longer the compiler takes in one of them: between CPUs
    a device waits 30 s for the others and then gives up."""
    if meeting.size > 1:
        step_fn.lower(*args).compile()  # the call finds it
        meeting.say("compiled")


def _restore_or_init(
    config: TrainConfig,
    run_dir: Path,
    inputs: Inputs,
    model: Model,
    init: Callable[..., TrainState],
    loader: Loader,
    mesh: Mesh,
) -> tuple[TrainState, int]:
    """The state to go on from, each part of it made or read where it lies, with the loader at its place, and the steps it has
    behind it.

    Raises UserError where the data are not those of the run.
    """
    example = empty_batch(inputs, config, batch_size=1)
    shapes = jax.eval_shape(init, example)
    layout = rules.state_shardings(mesh, shapes, model.param_axes())
    target = pytree.abstract(to_tree(shapes), to_tree(layout))
    restored = checkpoint.restore(run_dir / CHECKPOINTS, target)
    if restored is None:
        wanted = pytree.flatten(target["variables"])
        given = starting_variables(config.train, wanted) if config.train.start else {}
        return jit_init(init, layout)(example, _in_parts(given, wanted)), 0
    _check_same_data(restored, inputs, model)
    loader.restore(LoaderState(**restored.side.data))
    return from_tree(restored.state), restored.step


def _in_parts(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Host arrays, of each of which a device gets only what it will hold."""
    return {
        path: jax.make_array_from_callback(leaf.shape, wanted[path].sharding, leaf.__getitem__) for path, leaf in given.items()
    }


def _check_same_data(restored: checkpoint.Restored, inputs: Inputs, model: Model) -> None:
    """The paths of the data may change when a run goes on; what is found there may not."""
    now = _side_files(inputs, model, config={}, loader_state={})
    # As text, because the order of the data sets in the contract is the model's embodiment index.
    texts = [{name: json.dumps(data) for name, data in side.to_json().items()} for side in (restored.side, now)]
    changed = [name for name in ("contract", "tokenizer", "model") if texts[0][name] != texts[1][name]]
    if changed:
        raise UserError(
            f"the data are not those this run was trained on: {' and '.join(changed)} differ from {restored.path}. "
            "Point data.sets at the same prepared data, or start a new run folder"
        )


def _side_files(
    inputs: Inputs, model: Model, *, config: Mapping[str, Any], loader_state: Mapping[str, Any]
) -> checkpoint.SideFiles:
    return checkpoint.SideFiles(
        contract=inputs.contract,
        model=model_to_json(model),
        tokenizer=inputs.tokenizer.to_json(),
        data=loader_state,
        config=config,
    )


def _saver(config: TrainConfig, run_dir: Path, inputs: Inputs, model: Model, metrics: MetricsFile) -> Saver:
    def side(position: LoaderState) -> checkpoint.SideFiles:
        return _side_files(inputs, model, config=config_to_json(config), loader_state=to_json(position))

    def failed(step: int, reason: str) -> None:
        metrics.write(step=step, kind="event", event="save failed", reason=reason)

    return Saver(run_dir / CHECKPOINTS, keep=config.run.keep, side=side, failed=failed)


def _first_lines(
    config: TrainConfig, inputs: Inputs, loader: Loader, state: TrainState, start: int, mesh: Mesh, model: Model
) -> None:
    """What an operator wants to know before waiting."""
    device = jax.devices()[0]
    log.info("versions: %s", " ".join(f"{name}={number}" for name, number in versions().items()))
    log.info(
        "devices: platform=%s kind=%s count=%d hosts=%d",
        device.platform, device.device_kind, jax.device_count(), jax.process_count(),
    )  # fmt: skip
    log.info("mesh: %s", " ".join(f"{name}={size}" for name, size in mesh.shape.items()))
    log.info("config: fingerprint=%s contract=%s", fingerprint(config), inputs.contract.fingerprint())
    for row in describe(inputs):
        log.info("data set: name=%s share=%.4g episodes=%d steps=%d", row["name"], row["share"], row["episodes"], row["steps"])
    share = inputs.mixture.robots()
    if 0 < share < 1:
        asked = "as the weights say" if config.data.robot_share is None else f"data.robot_share={config.data.robot_share:g}"
        log.info("mixture: robots=%.4g web=%.4g (%s)", share, 1 - share, asked)
    log.info("loader: %s", loader.memory())
    log.info("instructions: texts=%d read_as=%s", len(inputs.mixture.languages), reads(config.model))
    log.info("parameters: count=%d", pytree.num_elements(state.variables["params"]))
    for line in config.train.parts.table(state.variables["params"], ema=config.train.ema is not None).splitlines():
        log.info("parameters: %s", line)
    for line in rules.table(mesh, state, model.param_axes()).splitlines():
        log.info("sharding: %s", line)
    log.info("start: step=%d of %d %s", start, config.train.num_steps, "resumed" if start else "new run")
