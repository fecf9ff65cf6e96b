"""`rtx ckpt ...`: what wrong input ends with, and the way of a released RT-1-X in its full size. What else the verbs do is
tested where they are: `rtx.serve.released`, `rtx.train`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx.cli import EXIT_USER, EXIT_WORLD, main
from rtx.errors import UserError
from rtx.serve.policy import load_policy
from tests.data.test_sentence_encoder import saved_model
from tests.models.rt1x.test_released import nested, random_leaves, released_leaves, write_msgpack
from tests.serve.frames import seen
from tests.train.checkpoints import flip, save


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "nowhere"], "no such folder: nowhere"),
        (["convert", "rt1x", "here", "out"], "here is no released checkpoint"),
        (["convert", "paligemma", "here", "out", "--tokenizer", "t", "--size", "paligemma3"], "unknown PaliGemma 'paligemma3'"),
        (["convert", "paligemma", "here", "out", "--tokenizer", "t"], "t is not a file"),
        (["merge", "nowhere", "out"], "no such folder: nowhere"),
        (["export", "nowhere", "out.npz"], "no such folder: nowhere"),
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


def test_verify_names_what_is_damaged(tmp_path: Path, capsys):
    root = tmp_path / "run" / "checkpoints"
    save(root, 1, 2)
    main(["ckpt", "verify", str(tmp_path / "run")])
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[3:]] == ["sound", "sound"]
    main(["ckpt", "verify", str(root / "1")])
    assert capsys.readouterr().out == f"sound: {root / '1'}\n"
    flip(root / "2" / "data.json")
    with pytest.raises(SystemExit) as exit_:
        main(["ckpt", "verify", str(tmp_path / "run")])
    assert exit_.value.code == EXIT_WORLD
    said = capsys.readouterr()
    assert f"damaged: {root / '2' / 'data.json'}: contents differ" in said.out
    assert "damaged checkpoints in" in said.err


@pytest.mark.slow
def test_the_release_is_converted_and_learns_an_instruction(tmp_path: Path, capsys):
    """735 leaves of random values in the released file's layout; the encoder is a SavedModel, run by TensorFlow."""
    released, out, taught = tmp_path / "rt_1_x_jax", tmp_path / "rt1x", tmp_path / "taught"
    write_msgpack(released / "checkpoint", nested(random_leaves(released_leaves())))
    encoder = saved_model(tmp_path / "encoder", "words")
    main(["ckpt", "convert", "rt1x", str(released), str(out)])
    main(["ckpt", "teach", str(out), str(taught), "wipe the table", "--encoder", str(encoder)])
    main(["ckpt", "info", str(taught)])
    said = capsys.readouterr().out
    assert f"serve it: rtx serve {taught}" in said
    assert "rt1x, 56,896,809 parameters" in said
    assert "primary at 256 x 320 (pad), 15 frame(s)" in said
    policy, frame = load_policy(taught), seen(1, instruction="wipe the table", size=(480, 640))
    for robot in ("bridge", "fractal20220817_data"):
        policy.check(frame, robot=robot)
    with pytest.raises(UserError, match="unknown instruction 'wipe the table'"):
        load_policy(out).check(frame, robot="bridge")
