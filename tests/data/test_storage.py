"""Buckets and web servers, proven on a small server of our own: the same data set as from the disk, in as many bytes."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from rtx.data import bucket, storage
from rtx.data.catalogue import RECORDS
from rtx.data.frames import ShardFiles
from rtx.data.loader import Loader
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.prepare import prepare
from rtx.data.prepared import PreparedSet
from rtx.data.storage import Url, location
from rtx.data.verify import verify
from rtx.errors import UserError, WorldError
from tests.data.object_server import serve
from tests.data.test_prepare import column_bytes
from tests.data.tiny_sets import LETTERS
from tests.fakes import WIDOWX_FEATURES, widowx_episode, write_rlds, write_widowx

pytest.importorskip("obstore", reason="needs the extra `cloud`")
BRIDGE = RECORDS["bridge_dataset"]
SHARD = "bridge_dataset-train.tfrecord-00000-of-00002"


@pytest.fixture
def server(tmp_path_factory, monkeypatch):
    """Serves `server.root`; requests are signed by nobody, and waits between attempts are short."""
    root = tmp_path_factory.mktemp("objects")
    monkeypatch.setattr(bucket, "_FIRST_WAIT_S", 0.001)
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    with serve(root) as running:
        running.root = root
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        monkeypatch.setenv("GOOGLE_BASE_URL", running.url)
        yield running
    bucket._store.cache_clear()


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ("gs://bucket/set/1.0.0/", Url("gs://bucket/set/1.0.0")),
        (Path("s3://bucket/set"), Url("s3://bucket/set")),  # as an argument of type Path has it
        ("http://host:1/a", Url("http://host:1/a")),
        (Url("gs://a/b"), Url("gs://a/b")),
        ("/data/gs:", Path("/data/gs:")),
        ("data", Path.cwd() / "data"),
    ],
)
def test_a_place_is_a_folder_or_a_url(place, wanted):
    assert location(place) == wanted


def test_urls_are_used_as_paths_are():
    url = Url("gs://bucket/set") / "1.0.0" / "x.json"
    assert (str(url), url.name, url.parent) == ("gs://bucket/set/1.0.0/x.json", "x.json", Url("gs://bucket/set/1.0.0"))
    assert (
        storage.relative(url, Url("gs://bucket/set")) == storage.relative(Path("/a/1.0.0/x.json"), Path("/a")) == "1.0.0/x.json"
    )
    with pytest.raises(UserError, match=r"ftp://a/b: no way to read that; .*gs://"):
        location("ftp://a/b")


@pytest.mark.parametrize("scheme", ["http", "s3", "gs"])
def test_a_set_on_a_server_is_the_set_on_the_disk(server, tmp_path, scheme):
    source = write_widowx(server.root / "box", shards=(3, 2), steps=6)
    place = f"{server.url}/box/bridge_dataset/1.0.0" if scheme == "http" else f"{scheme}://box"
    near = prepare(BRIDGE, source, tmp_path / "near", num_workers=1)
    before = server.counts()["bytes"].get(SHARD, 0)
    far = prepare(BRIDGE, place, tmp_path / "far", num_workers=2 if scheme == "s3" else 1)
    assert server.counts()["bytes"][SHARD] - before == (source / SHARD).stat().st_size  # once, whole
    assert str(far.source) == f"{place.removesuffix('/bridge_dataset/1.0.0')}/bridge_dataset/1.0.0"
    assert column_bytes(tmp_path / "far") == column_bytes(tmp_path / "near")
    assert (far.statistics, far.languages, far.counts) == (near.statistics, near.languages, near.counts)
    assert far == PreparedSet.open(tmp_path / "far")
    read = server.counts()["bytes"][SHARD]
    assert prepare(BRIDGE, place, tmp_path / "far", num_workers=1) == far
    assert server.counts()["bytes"][SHARD] == read  # up to date: told by size and entity tag
    assert verify(far).num_problems == 0


def test_the_loader_reads_pictures_by_their_ranges(server, tmp_path):
    source = write_widowx(server.root / "box", shards=(3, 3), steps=6)
    near = prepare(BRIDGE, source, tmp_path / "near", num_workers=1)
    far = prepare(BRIDGE, f"{server.url}/box/bridge_dataset/1.0.0", tmp_path / "far", num_workers=1)
    before = sum(server.counts()["bytes"].values())
    for ours, theirs in zip(batches(far), batches(near), strict=True):
        for role, images in ours.images.items():
            np.testing.assert_array_equal(images, theirs.images[role])
    train = far.split("train")
    pictures = sum(int(train.image(role).length.sum()) for role in far.roles)
    rounds = 2 * 32 * 2 / train.num_steps  # batches of 32 windows of 2 frames, drawn from all steps
    sent = sum(server.counts()["bytes"].values()) - before
    assert 0 < sent < 1.5 * rounds * pictures  # with pictures of 600 bytes, the few between them are a share


def batches(prepared):
    mixture = Mixture(entries=(MixtureEntry(prepared=prepared),))
    loader = Loader(
        mixture, batch_size=32, history=2, chunk=2, roles=("primary", "secondary"), image_size=(16, 16), tokenizers=LETTERS,
        seed=0, num_threads=2,
    )  # fmt: skip
    with loader:
        return [next(loader) for _ in range(2)]


def test_passing_faults_are_tried_again_counted_and_told(server, tmp_path, caplog):
    source = write_widowx(server.root / "box", shards=(3, 2), steps=6)
    near = prepare(BRIDGE, source, tmp_path / "near", num_workers=1)
    server.fail_next(drop=3, busy=2)
    far = prepare(BRIDGE, f"{server.url}/box/bridge_dataset/1.0.0", tmp_path / "far", num_workers=1)
    assert column_bytes(tmp_path / "far") == column_bytes(tmp_path / "near")
    assert caplog.text.count("trying again") == 5
    assert (near.counts["train"]["retried"], far.counts["train"]["retried"]) == (0, 5)
    server.fail_next(drop=2, busy=2)
    for ours, theirs in zip(batches(far), batches(near), strict=True):
        np.testing.assert_array_equal(ours.images["primary"], theirs.images["primary"])
    assert caplog.text.count("trying again") == 9


def test_requests_are_under_way_side_by_side(server, tmp_path, monkeypatch):
    """The server answers none of four requests before all four are there."""
    monkeypatch.setattr(bucket, "_ATTEMPTS", 1)
    monkeypatch.setattr(storage, "_BLOCK_BYTES", 1000)
    data = np.random.default_rng(0).bytes(8000)
    (server.root / "x.tfrecord").write_bytes(data)
    place = Url(f"{server.url}/x.tfrecord")
    server.fail_next(together=1)
    with storage.open_file(place) as file:
        assert file.read() == data
    files = ShardFiles()
    reads = [files.start(place, 1000 * i, 10) for i in range(4)]
    assert [bytes(read()) for read in reads] == [data[1000 * i :][:10] for i in range(4)]
    files.close()


def test_a_fault_that_lasts_ends_with_a_sentence(server, tmp_path):
    write_widowx(server.root / "box", shards=(3, 2))
    place = f"{server.url}/box/bridge_dataset/1.0.0"
    server.fail_next(down=1)
    with pytest.raises(WorldError, match=r"cannot read .*dataset_info.json, tried 6 times: .*503"):
        prepare(BRIDGE, place, tmp_path / "out")
    server.fail_next()
    (server.root / "box" / "bridge_dataset" / "1.0.0" / SHARD).unlink()
    with pytest.raises(WorldError, match=rf"1 shards that dataset_info.json lists are not there, the first is {SHARD}"):
        prepare(BRIDGE, place, tmp_path / "out")


def test_a_server_that_is_not_there_is_told_in_the_systems_words(tmp_path, monkeypatch):
    monkeypatch.setattr(bucket, "_FIRST_WAIT_S", 0.001)
    with pytest.raises(WorldError, match=r"cannot read http://127\.0\.0\.1:9/.*, tried 6 times: .*Connection refused"):
        prepare(BRIDGE, "http://127.0.0.1:9/set", tmp_path / "out")


def test_what_is_not_there_and_what_is_refused_are_told_apart(server, tmp_path):
    (server.root / "box").mkdir()
    with pytest.raises(UserError, match=r"no features\.json there; a web server lists no folders"):
        prepare(BRIDGE, f"{server.url}/box", tmp_path / "out")
    with pytest.raises(UserError, match=r"s3://box/nothing does not exist"):
        prepare(BRIDGE, "s3://box/nothing", tmp_path / "out")
    with pytest.raises(UserError, match=r"gs://denied/.*refuses access \(.*403.*no credentials were found.*gcloud auth"):
        prepare(BRIDGE, "gs://denied/set", tmp_path / "out")
    with pytest.raises(UserError, match=r"s3://nobody: no such bucket"):
        prepare(BRIDGE, "s3://nobody", tmp_path / "out")
    with pytest.raises(UserError, match=r"mapped into memory, so it goes to a folder"):
        prepare(BRIDGE, write_widowx(tmp_path), "gs://bucket/out")


def test_an_object_replaced_after_prepare_is_noticed(server, tmp_path):
    source = write_widowx(server.root / "box", shards=(3, 2), steps=6)
    place = f"{server.url}/box/bridge_dataset/1.0.0"
    prepare(BRIDGE, place, tmp_path / "out", num_workers=1)
    whole = (source / SHARD).read_bytes()
    (source / SHARD).write_bytes(whole[:-100])
    with pytest.raises(WorldError, match=r"bytes, \d+ when it was prepared: it was replaced"):
        PreparedSet.open(tmp_path / "out").split("train")
    rng = np.random.default_rng(8)
    other = [[widowx_episode(rng, 6) for _ in range(n)] for n in (3, 2)]
    changed = write_rlds(tmp_path / "other", "bridge_dataset", WIDOWX_FEATURES, {"train": other})
    (source / SHARD).write_bytes((changed / SHARD).read_bytes())
    again = prepare(BRIDGE, place, tmp_path / "out", num_workers=1)
    clean = prepare(BRIDGE, source, tmp_path / "clean", num_workers=1)
    assert again.statistics == clean.statistics


def test_names_with_blanks_and_signs_are_found(server):
    for name, quoted in (("a b=1%.json", "a%20b=1%25.json"), ("x+y.json", "x+y.json")):
        (server.root / "box").mkdir(exist_ok=True)
        (server.root / "box" / name).write_bytes(name.encode())
        for url in (f"{server.url}/box/{quoted}", f"s3://box/{name}", f"gs://box/{name}"):
            assert Url(url).read_bytes() == name.encode()
    assert [place.name for place in storage.children(Url("s3://box"))] == ["a b=1%.json", "x+y.json"]


def test_a_stream_gives_any_bytes_in_any_steps(server, monkeypatch):
    monkeypatch.setattr(storage, "_BLOCK_BYTES", 1000)
    data = np.random.default_rng(0).bytes(12_345)
    (server.root / "x").write_bytes(data)
    with storage.open_file(Url(f"{server.url}/x")) as file:
        pieces = [file.read(n) for n in (0, 1, 999, 1, 2500, 3)]
        assert b"".join(pieces) == data[:3504]
        assert file.tell() == 3504
        assert file.seek(-45, 2) == 12_300
        assert file.read(100) == data[12_300:]
        assert file.read(100) == b""
        file.seek(7)
        assert file.read() == data[7:]
    assert len(server.counts()["requests"]) == 1


def test_a_machine_without_the_extra_is_told_its_name(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UserError, match=r"pip install rtx-robotics\[cloud\]"):
        prepare(BRIDGE, "gs://bucket/set", tmp_path / "out")
