"""`rtx ckpt ...`: what wrong input ends with. What the verbs do is tested where they are: `rtx.serve.released`, `rtx.train`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx.cli import EXIT_USER, main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "nowhere"], "no such folder: nowhere"),
        (["convert", "rt1x", "here", "out"], "here is no released checkpoint"),
        (["teach", "nowhere", "out", "wipe the table", "--encoder", "use"], "no such folder: nowhere"),
    ],
)
def test_wrong_input_is_one_sentence(arguments, message, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    with pytest.raises(SystemExit) as exit_:
        main(["ckpt", *arguments])
    assert exit_.value.code == EXIT_USER
    assert message in capsys.readouterr().err
