"""Where compiled programs and data prepared on the fly are kept between runs: below the user's cache folder.

$RTX_CACHE, else $XDG_CACHE_HOME/rtx, else ~/.cache/rtx        jax/  compiled programs    prepared/  step tables
                                                                weights/  hashes of checkpoints
"""

from __future__ import annotations

import os
from pathlib import Path

import jax


def cache_dir() -> Path:
    if chosen := os.environ.get("RTX_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rtx"


def keep_compiled_programs(folder: Path | None = None) -> None:
    """Lets jax keep compiled programs in `folder`, so that the second start of a run skips most of the compilation.

    Does nothing where the user has chosen a place already (JAX_COMPILATION_CACHE_DIR). Safe to call more than once.
    """
    if folder is None and jax.config.values["jax_compilation_cache_dir"]:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder or cache_dir() / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
