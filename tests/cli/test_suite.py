"""`rtx suite`: the words reach the library; what no expert can show is refused before a suite is imported."""

import pytest

from rtx.cli import EXIT_USER, main


def refused(capsys, *words):
    with pytest.raises(SystemExit) as exit_:
        main(["suite", *words])
    assert exit_.value.code == EXIT_USER
    return capsys.readouterr().err


def test_list_says_how_each_is_installed(capsys):
    main(["suite", "list"])
    out = capsys.readouterr().out
    assert "Meta-World (50 tasks; by default those of MT10); 50 tasks; expert: the package's scripted policies" in out
    assert "RTX_LIBERO_PYTHON" in out


@pytest.mark.parametrize("command", [["replay", "robosuite"], ["record", "robosuite", "out"]])
def test_a_task_without_an_expert_is_refused(command, capsys):
    assert "has an expert for Lift, Stack only, not for 'Door'" in refused(capsys, *command, "--tasks", "Lift,Door")
    assert "did you mean 'Stack'" in refused(capsys, *command, "--tasks", "stack")


def test_a_suite_that_there_is_not_is_refused(capsys):
    assert "did you mean 'maniskill'" in refused(capsys, "probe", "mani-skill", "PickCube-v1")
