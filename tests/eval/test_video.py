"""Recorded videos: decodable, in the form browsers want, bounded in size, whole or absent."""

import av
import numpy as np
import pytest

from rtx.eval.video import MAX_BITS_PER_S, SIZE, compose, data_url, encode, encoder


def pictures(count: int) -> list[np.ndarray]:
    eye = np.full((128, 128, 3), 90, np.uint8)
    return [
        compose(np.full((256, 256, 3), 30 + 8 * i, np.uint8), [eye, eye], title="reach the red cube", status=f"step {i}")
        for i in range(count)
    ]


def write(path, frames, hz=5.0):
    with encoder(path, hz=hz) as (container, stream):
        for frame in frames:
            encode(container, stream, frame)


def test_it_decodes_to_what_was_drawn(tmp_path):
    drawn = pictures(12)
    write(tmp_path / "v.mp4", drawn)
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == 5.0
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == 12
    for wanted, got in zip(drawn, decoded, strict=True):
        assert got.shape == (SIZE[1], SIZE[0], 3)
        assert np.abs(wanted.astype(int) - got).mean() < 4  # levels of 255: lossy, and recognisable


def test_the_index_comes_first_so_that_it_plays_while_loading(tmp_path):
    write(tmp_path / "v.mp4", pictures(5))
    data = (tmp_path / "v.mp4").read_bytes()
    assert data[4:8] == b"ftyp"
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert data_url(tmp_path / "v.mp4").startswith("data:video/mp4;base64,AAAA")


def test_even_noise_stays_within_the_rate(tmp_path):
    rng = np.random.default_rng(0)
    write(tmp_path / "v.mp4", [rng.integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8) for _ in range(50)])
    seconds = 10
    assert (tmp_path / "v.mp4").stat().st_size < 1.5 * MAX_BITS_PER_S / 8 * seconds


def test_an_interrupted_recording_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "v.mp4", (frame if i < 2 else 1 / 0 for i, frame in enumerate(pictures(3))))
    assert list(tmp_path.iterdir()) == []


def test_the_text_is_drawn_and_long_text_is_shortened_not_overflowing():
    blank = np.zeros((10, 10, 3), np.uint8)
    plain = compose(blank, [], title="", status="")
    assert (compose(blank, [], title="reach", status="") != plain).any()
    long = compose(blank, [], title="push the red cube " * 20, status="", verdict="solved")
    assert (long[:, -8:] == plain[:, -8:]).all()
