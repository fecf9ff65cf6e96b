"""`rtx data ...` as one types it: what is printed, and what wrong input ends with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rtx.cli import EXIT_USER, EXIT_WORLD, main
from tests.fakes import write_widowx


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_catalogue_lists_every_published_set(capsys):
    code, out, _ = run("data", "list", capsys=capsys)
    assert code == 0
    assert len(out.splitlines()) == 2 + 72 + 1 + 7 + 5, (
        "head, 72 published sets, DROID by its joints, 7 simulated, 5 public suites"
    )
    assert "fractal20220817_data" in out


def test_a_record_with_unsettled_conventions_offers_the_switch(capsys):
    _, out, _ = run("data", "info", "taco_play", capsys=capsys)
    assert "--choose gripper=one_is_open (default)" in out
    assert "robot_obs[6]" in out


def test_mixtures_and_one_of_them(capsys):
    assert "rt_x" in run("data", "mixtures", capsys=capsys)[1]
    _, out, _ = run("data", "mixtures", "rt_x", capsys=capsys)
    assert "fractal20220817_data" in out
    assert "150" in out
    assert "did you mean 'octo'" in run("data", "mixtures", "otco", capsys=capsys)[2]


def test_a_set_at_half_its_rate(tmp_path: Path, capsys):
    source = write_widowx(tmp_path / "source", "sim_vx300s")
    code, out, err = run(
        "data", "prepare", "sim_vx300s", source, tmp_path / "out", "--hz", 2.5, "--workers", 1, "--quarantine", capsys=capsys
    )
    assert (code, "prepared:" in out) == (0, True), err
    assert "all good" in run("data", "verify", tmp_path / "out", capsys=capsys)[1]
    assert "training episodes" in run("data", "stats", tmp_path / "out", capsys=capsys)[1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["bridge_dataset", "nowhere", "out", "--choose", "gripper"], EXIT_USER, "expected SWITCH=OPTION"),
        (["bridge_dataset", "nowhere", "out", "--choose", "gripper=open"], EXIT_USER, "unknown switch 'gripper'"),
        (["taco_play", "nowhere", "out", "--choose", "gripper=one_is_opne"], EXIT_USER, "did you mean 'one_is_open'"),
        (["rt_x", "nowhere", "out", "--hz", "5"], EXIT_USER, "rt_x is a mixture"),
        (["rt_x", "nowhere", "out", "--without", "bridge_dataset"], EXIT_USER, "unknown data set of the mixture rt_x"),
        (["rt_x", "nowhere", "out"], EXIT_USER, "12 of 12 data sets were not prepared"),
        (["bridge", "ftp://somewhere", "out"], EXIT_USER, "no way to read that"),
    ],
)
def test_wrong_input_to_prepare_is_one_sentence(arguments, code, message, capsys):
    got, _, err = run("data", "prepare", *arguments, capsys=capsys)
    assert got == code
    assert message in err
    assert "Traceback" not in err
    assert code != EXIT_WORLD


def test_a_listing_cut_short_by_its_reader_ends_quietly():
    program = "from rtx.cli import main; main(['data', 'list'])"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()  # as `| head` does after its lines
        assert running.stderr.read() == b""
        assert running.wait() == 0
