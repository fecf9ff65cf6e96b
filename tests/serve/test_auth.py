"""Strangers need a token, and the token is never where others read it."""

import ssl
import subprocess
import urllib.error
import urllib.request

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from rtx.errors import UserError
from rtx.serve.auth import check_exposure, is_allowed, is_local, read_token, tls_context
from rtx.serve.server import Options
from rtx_client.wire import pack, unpack
from tests.serve.test_connections import message
from tests.small_policy import echo_policy

TOKEN = "a-long-enough-token"


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (f"Bearer {TOKEN}", True), (f"bearer  {TOKEN} ", True), (f"Api-Key {TOKEN}", True), (f"Basic {TOKEN}", False),
        (TOKEN, False), (f"Bearer {TOKEN}x", False), ("Bearer", False), ("", False), (None, False), ("Bearer \udcff", False),
    ],
)  # fmt: skip
def test_headers(header, allowed):
    assert is_allowed(header, TOKEN) is allowed
    assert is_allowed(header, None)


def test_the_token_comes_from_a_file_or_the_environment(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert read_token(file, {"RTX_TOKEN": "another-long-enough-one"}) == TOKEN
    assert read_token(None, {"RTX_TOKEN": TOKEN}) == TOKEN
    assert read_token(None, {}) is None
    for text in ("short", "", "two words in a long token", "täääääääääääääääääääken"):
        file.write_text(text)
        with pytest.raises(UserError, match="at least 16 ASCII characters"):
            read_token(file, {})
    with pytest.raises(UserError, match="at least 16"):
        read_token(None, {"RTX_TOKEN": "short"})
    with pytest.raises(UserError, match="no such token file"):
        read_token(tmp_path / "none", {})


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("gpu-box", False),
    ],
)
def test_what_strangers_can_reach(host, local):
    assert is_local(host) is local
    check_exposure(host, token=TOKEN, tls=None)
    check_exposure(host, token=None, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    if not local:
        with pytest.raises(UserError, match=r"whoever reaches this port moves the robot.*--token-file FILE.*--cert"):
            check_exposure(host, token=None, tls=None)


def test_without_the_token_nothing_but_the_signs_of_life(serving):
    with serving(echo_policy(), options=Options(token=TOKEN)) as server:
        base = f"http://127.0.0.1:{server.port}"
        assert get(f"{base}/healthz") == 200
        assert get(f"{base}/readyz") == 200
        for headers in ({}, {"Authorization": "Bearer wrong-but-just-as-long"}):
            assert get(f"{base}/metrics", headers) == 401
            with pytest.raises(InvalidStatus, match="401"):
                connect(server.url, proxy=None, additional_headers=headers)
        for scheme in ("Bearer", "Api-Key"):
            headers = {"Authorization": f"{scheme} {TOKEN}"}
            assert get(f"{base}/metrics", headers) == 200
            with connect(server.url, proxy=None, additional_headers=headers, compression=None) as raw:
                assert unpack(raw.recv())["type"] == "hello"


def test_over_tls(serving, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    with serving(echo_policy(), options=Options(tls=tls_context(cert, key))) as server:
        assert server.url.startswith("wss://")
        with connect(server.url, ssl=ssl.create_default_context(cafile=str(cert)), proxy=None, compression=None) as raw:
            raw.recv()
            raw.send(pack(message(id=1)))
            assert unpack(raw.recv())["type"] == "actions"
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(server.url, proxy=None)


def test_files_that_are_no_certificate(tmp_path):
    assert tls_context(None, None) is None
    with pytest.raises(UserError, match="both"):
        tls_context(tmp_path, None)
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("")
    with pytest.raises(UserError, match="cannot use the certificate"):
        tls_context(nothing, nothing)


def get(url, headers=()):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
