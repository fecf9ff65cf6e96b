"""Run-time shape checks for every annotated function of rtx, in tests only; programs compiled fast instead of well."""

import os
import tempfile
from pathlib import Path

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("rtx", "beartype.beartype")
# Tests run each program a few times: most of their time would be LLVM's optimizer. The arithmetic is the same.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
_CACHE = Path(os.environ.get("RTX_TEST_CACHE", Path(tempfile.gettempdir()) / "rtx-test-cache")) / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("RTX_CACHE", str(_CACHE.parent / "user"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
settings.register_profile("untimed", deadline=None)  # no test fails by the clock: machines are shared
settings.load_profile("untimed")
