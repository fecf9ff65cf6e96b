"""`rtx robots`: the words reach the library, and the exit code says whether a robot may be driven."""

import pytest

from rtx.cli import EXIT_USER, main


def run(*words):
    main(["robots", *words])


def test_list_and_show(capsys):
    run("list")
    assert "widowx_250" in capsys.readouterr().out
    run("show", "aloha")
    assert "two arms, 50 Hz" in capsys.readouterr().out


def test_new_check_and_mend(tmp_path, capsys):
    path = tmp_path / "my_robot.py"
    run("new", str(path), "--like", "franka_droid_joints")
    assert f"rtx robots check {path}" in capsys.readouterr().out
    run("check", str(path))
    out = capsys.readouterr().out
    assert "problems: none" in out
    assert "turn -z" in out

    path.write_text(path.read_text().replace("control_hz=15.0", "control_hz=150.0"))
    with pytest.raises(SystemExit) as exit_:
        run("check", str(path))
    assert exit_.value.code == EXIT_USER
    captured = capsys.readouterr()
    assert "limits.max_step_m (line" in captured.out
    assert "to mend; it must not drive a robot like this" in captured.err


def test_new_refuses_to_overwrite(tmp_path, capsys):
    path = tmp_path / "my_robot.py"
    path.write_text("mine")
    with pytest.raises(SystemExit) as exit_:
        run("new", str(path))
    assert exit_.value.code == EXIT_USER
    assert path.read_text() == "mine"
    assert "exists and is left as it is" in capsys.readouterr().err


def test_a_file_that_is_no_python_names_its_line(tmp_path, capsys):
    path = tmp_path / "my_robot.py"
    path.write_text("x = 1\nROBOT = = 2\n")
    with pytest.raises(SystemExit) as exit_:
        run("check", str(path))
    assert exit_.value.code == EXIT_USER
    assert "my_robot.py, line 2: SyntaxError: invalid syntax" in capsys.readouterr().err
