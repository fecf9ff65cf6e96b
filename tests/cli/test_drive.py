"""`rtx drive` and `rtx stop` say what is wrong before anything moves."""

import pytest

from rtx.cli import main

DRIVE = ["drive", "ws://127.0.0.1:9", "--robot", "sim_panda", "--driver", "sim", "--instruction", "push"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (
            [*DRIVE, "--limits-off", "yes"],
            2,
            "limits stay on: to turn them off, write exactly 'I know the arm may hit something'",
        ),
        ([*DRIVE[:3], "sim_pandda", *DRIVE[4:]], 2, "did you mean 'sim_panda'"),
        ([*DRIVE[:5], "simm", *DRIVE[6:]], 2, "unknown driver 'simm'"),
        ([*DRIVE, "--camera", "primary"], 2, "expected ROLE=SOURCE"),
        ([*DRIVE, "--stop-after", "0"], 2, "stop_after_s 0.0 must be positive"),
        ([*DRIVE, "--record-gb", "-1"], 2, "--record-gb -1: expected more than 0"),
        (["film", "."], 2, "it has no records.py"),
        (DRIVE, 1, "start one with `rtx serve CHECKPOINT`"),
    ],
)
def test_what_is_wrong_is_one_message(arguments, code, text, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code
    assert text in capsys.readouterr().err


def test_a_stop_that_nobody_heard_is_no_success(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["stop", str(tmp_path)])
    assert ended.value.code == 1
    assert "nothing was stopped; use the robot's own emergency stop" in capsys.readouterr().err
