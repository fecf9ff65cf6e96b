"""From the data part of a configuration to what the loop consumes: mixture, tokenizer, contract, loaders."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.data.catalogue import find
from rtx.data.loader import Loader, one_pass
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.oxe.rt1x_bounds import RT1X_BOUNDS
from rtx.data.prepare import prepare
from rtx.data.prepared import PreparedSet
from rtx.data.storage import location
from rtx.data.tokenizers import Texts, Tokenizers
from rtx.errors import UserError
from rtx.models.blank import blank_batch
from rtx.models.families import reads
from rtx.models.text import InstructionEncoder
from rtx.spec import Batch, Contract
from rtx.train.cache import cache_dir
from rtx.train.checkpoint import read_contract
from rtx.train.config import DataSet, TrainConfig
from rtx.train.fitted import fitted
from rtx.train.instructions import instruction_encoder, tokenizers


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """`model`: the config of the model, with what follows from data and tokenizer filled in."""

    mixture: Mixture
    tokenizer: InstructionEncoder
    contract: Contract
    model: Any
    tokenizers: Tokenizers


def open_inputs(config: TrainConfig, *, origin: Path | None = None) -> Inputs:
    """Opens (and first prepares, where asked to) every data set. Raises UserError for a set that is not where it should be.

    `origin`: run folder or checkpoint whose tokenizer is used, and whose robots come first with `train.keep_robots`.
    """
    sets = [_open_set(one, f"data.sets.{i}") for i, one in enumerate(config.data.sets)]
    filters, bounds = config.data.filters, RT1X_BOUNDS if config.data.bounds == "rt1x" else {}
    entries = tuple(
        MixtureEntry(prepared=s, weight=one.weight, filters=filters, bounds=bounds.get(s.name, {}))
        for s, one in zip(sets, config.data.sets, strict=True)
    )
    known = read_contract(origin) if config.train.keep_robots and origin is not None else None
    mixture = Mixture(entries=entries, balance=config.data.balance, robot_share=config.data.robot_share, known=known)
    _check_fit(config, mixture)
    shape = {name: getattr(config.data, name) for name in ("roles", "image_size", "fit", "history", "chunk")}
    tokenizer, contract = instruction_encoder(config, mixture, origin), mixture.contract(**shape)
    return Inputs(
        mixture=mixture,
        tokenizer=tokenizer,
        contract=contract,
        model=fitted(config, tokenizer, contract, mixture),
        tokenizers=tokenizers(tokenizer, config.data.template),
    )


def _open_set(one: DataSet, where: str) -> PreparedSet:
    if not one.record:
        return PreparedSet.open(Path(one.prepared))
    record = find(one.record).choose(dict(choice.split("=", 1) for choice in one.choose))
    if one.hz is not None:
        record = record.at_hz(one.hz)
    if not one.source:
        raise UserError(
            f"{where}.source is not set: where are the TFRecord shards of {one.record}? "
            f"Add --set {where}.source=FOLDER (the folder with dataset_info.json)"
        )
    source = location(one.source)
    key = hashlib.sha256(f"{source} {record.options()} {record.stride}".encode()).hexdigest()[:12]
    out = Path(one.prepared) if one.prepared else cache_dir() / "prepared" / f"{one.record}-{key}"
    return prepare(record, source, out)


def _check_fit(config: TrainConfig, mixture: Mixture) -> None:
    """What would otherwise come out after hours."""
    if config.run.eval_samples and not any(mixture.num_steps("val")):
        raise UserError(
            f"no data set has held-out episodes ({', '.join(mixture.names)}); prepare again, or set run.eval_samples=0"
        )
    names = [*dict.fromkeys([*(mixture.known.embodiments if mixture.known else ()), *mixture.names])]
    model = config.model
    if len(names) > getattr(model, "max_embodiments", len(names)):  # not every model tells robots apart
        raise UserError(f"model.max_embodiments {model.max_embodiments} is less than the {len(names)} data sets: {names}")


def train_batches(inputs: Inputs, config: TrainConfig, *, share: tuple[int, int] = (0, 1)) -> Loader:
    """The endless stream of training batches, at its beginning; of the rows of each, the index-th of `count` equal parts
    (`rtx.train.parallel.hosts.share`)."""
    return Loader(
        inputs.mixture,
        **_shape(inputs, config, share),
        seed=config.data.seed,
        cache_bytes=config.data.cache_bytes,
    )


def validation_batches(inputs: Inputs, config: TrainConfig, *, share: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
    """One pass over held-out samples of every data set, the same each time."""
    return one_pass(inputs.mixture, **_shape(inputs, config, share), split="val", max_samples=config.run.eval_samples)


def _shape(inputs: Inputs, config: TrainConfig, share: tuple[int, int]) -> dict[str, Any]:
    data = config.data
    names = ("batch_size", "history", "chunk", "roles", "image_size", "fit", "num_threads")
    same = {name: getattr(data, name) for name in names}
    hosts = {"host_index": share[0], "num_hosts": share[1]}
    return {**same, **hosts, "tokenizers": inputs.tokenizers, "frame_actions": data.frame_actions}


def takes_any_width(config: TrainConfig, *, num_hosts: int = 1) -> bool:
    """Whether the texts of a batch may be narrower than the configuration says: padding means nothing to such a model. Several
    hosts, who see other rows each, would have to agree on a width first: theirs are as wide as can be."""
    return num_hosts == 1 and reads(config.model) == "vla"


def empty_batch(inputs: Inputs, config: TrainConfig, batch_size: int) -> Batch:
    """A batch of zeros with the loader's shapes and dtypes: what a model is initialised from."""
    contract, texts = inputs.contract, Texts(inputs.tokenizers, inputs.mixture)
    return blank_batch(
        texts.empty_text(batch_size),
        roles=contract.roles,
        image_size=contract.image_size,
        history=contract.history,
        proprio=sum(field.width for field in contract.proprio),
        action=(contract.history if config.data.frame_actions else contract.chunk, contract.action.width),
        target=texts.empty_target(batch_size),
    )


def describe(inputs: Inputs) -> list[dict[str, Any]]:
    """One row per data set: name, share of the samples, train episodes and steps."""
    mixture = inputs.mixture
    columns = zip(mixture.entries, mixture.shares(), mixture.num_steps("train"), strict=True)
    return [
        {"name": e.prepared.name, "share": share, "episodes": e.prepared.split("train").num_episodes, "steps": steps}
        for e, share, steps in columns
    ]
