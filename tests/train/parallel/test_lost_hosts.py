"""What a process says that has lost another. Real deaths are in `tests/kill`."""

import jax
import pytest

from rtx.errors import WorldError
from rtx.train.parallel.hosts import lost_hosts

GLOO = "UNKNOWN: Gloo all-reduce failed: [external/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"


def test_a_lost_process_is_an_error_a_person_can_act_on(monkeypatch, caplog):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(WorldError, match=r"start all of them again .* \(jax: UNKNOWN: Gloo"), lost_hosts():
        raise jax.errors.JaxRuntimeError(GLOO)
    assert "another process of this run has ended" in caplog.text  # at once: leaving may take a while


@pytest.mark.parametrize(("count", "text"), [(1, GLOO), (2, "RESOURCE_EXHAUSTED: Out of memory")])
def test_other_errors_are_not_blamed_on_it(monkeypatch, count, text):
    monkeypatch.setattr(jax, "process_count", lambda: count)
    with pytest.raises(jax.errors.JaxRuntimeError), lost_hosts():
        raise jax.errors.JaxRuntimeError(text)
