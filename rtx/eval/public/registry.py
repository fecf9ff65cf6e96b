"""The public suites by name."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from rtx.errors import unknown_name
from rtx.eval.public import aloha, language_table, libero, maniskill, metaworld, robosuite_tasks, simpler
from rtx.eval.public.environment import PublicEnvironment, build
from rtx.eval.public.suite import PublicSuite

PUBLIC_SUITES: Mapping[str, PublicSuite] = {
    suite.name: suite
    for suite in (
        metaworld.SUITE,
        robosuite_tasks.SUITE,
        aloha.SUITE,
        language_table.SUITE,
        maniskill.SUITE,
        libero.SUITE,
        simpler.WIDOWX,
        simpler.GOOGLE,
    )
}


def find_public(name: str) -> PublicSuite:
    """Raises UserError with the nearest names if there is no such suite."""
    if name not in PUBLIC_SUITES:
        raise unknown_name("public suite", name, PUBLIC_SUITES)
    return PUBLIC_SUITES[name]


def list_text() -> str:
    """Of each suite two lines: what it is, and how it is installed."""
    return "\n".join(
        f"{suite.name:15} {suite.title}; {len(suite.tasks)} tasks; expert: {suite.expert or 'none'}\n{'':15} {suite.install}"
        for suite in PUBLIC_SUITES.values()
    )


def public_environment(name: str, arm: str) -> PublicEnvironment:
    suite = find_public(name)
    assert arm == suite.arm
    return build(suite)


def maker(name: str) -> functools.partial[PublicEnvironment]:
    """What a worker process is sent to build the suite's environments."""
    return functools.partial(public_environment, name)
