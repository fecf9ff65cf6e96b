"""Run-time shape checks for every annotated function of rtx, in tests only, and one compilation cache for all of them."""

import os
import tempfile
from pathlib import Path

from jaxtyping import install_import_hook

install_import_hook("rtx", "beartype.beartype")
_CACHE = Path(os.environ.get("RTX_TEST_CACHE", Path(tempfile.gettempdir()) / "rtx-test-cache")) / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
