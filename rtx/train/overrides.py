"""From the command line to a `TrainConfig`: the file and function to run, and the leaves to change.

    load_config("configs/tiny.py:bridge", ["train.lr=1e-4", "data.sets.0.source=/data/bridge_dataset/1.0.0"])

A configuration file is Python that the user names; it is run. Nothing read from data is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from rtx.errors import UserError, unknown_name
from rtx.python_file import guarded, run_file
from rtx.train import fields
from rtx.train.config import FROM_DATA, TrainConfig
from rtx.typed_json import hints


def override(config: TrainConfig, settings: Sequence[str]) -> TrainConfig:
    """`config` with each `path=value` applied in order. Raises UserError for a path that is no leaf or a value of another type.

    The result is validated once, at the end: two settings may be valid only together.
    """
    if not settings:
        return config
    groups = {name: getattr(config, name) for name in hints(TrainConfig)}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"{setting!r}: expected path=value, as in train.lr=1e-4")
        path = path.strip()
        name, _, rest = path.partition(".")
        if name not in groups or not rest:
            raise unknown_name("key", path, [leaf for group, v in groups.items() for leaf in fields.leaves(v, group)])
        if name == "model" and rest in FROM_DATA:
            raise UserError(f"{path} follows from the data; set data.{rest} instead")
        groups[name] = fields.replace_leaf(groups[name], rest, text, whole=path)
    return TrainConfig(**groups)


def load_config(target: str, settings: Sequence[str] = ()) -> TrainConfig:
    """The configuration that the function of `path.py:function` returns, with `settings` applied.

    `:function` may be left out where the file has only one. Raises UserError for what is missing or fails in the file.
    """
    name, colon, function = target.rpartition(":")
    path, function = (Path(name), function) if colon else (Path(target), "")
    functions = config_functions(_run_file(path))
    if not functions:
        raise UserError(f"{path} holds no configuration: expected a function without arguments annotated `-> TrainConfig`")
    if function and function not in functions:
        raise unknown_name(f"configuration in {path}", function, functions)
    if not function and len(functions) > 1:
        listed = ", ".join(f"{path}:{choice}" for choice in functions)
        raise UserError(f"{path} holds {len(functions)} configurations; choose one of {listed}")
    build = functions[function] if function else next(iter(functions.values()))
    config = guarded(path, build)
    if not isinstance(config, TrainConfig):
        raise UserError(f"{path}:{build.__name__} returned {type(config).__name__}, expected a TrainConfig")
    return override(config, settings)


def config_functions(module: ModuleType) -> dict[str, Callable[[], TrainConfig]]:
    """The public functions of a module that say they return a TrainConfig and need no argument, in the order of the file."""
    found: dict[str, Callable[[], TrainConfig]] = {}
    for name, value in vars(module).items():
        if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != module.__name__:
            continue
        signature = inspect.signature(value)
        needs = [p for p in signature.parameters.values() if p.default is p.empty]
        if signature.return_annotation in (TrainConfig, "TrainConfig") and not needs:
            found[name] = value
    return found


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        near = sorted(str(other) for other in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise UserError(f"no such configuration file: {path}" + (f"; {path.parent} has {', '.join(near)}" if near else ""))
    return run_file(path, "rtx_config_")
