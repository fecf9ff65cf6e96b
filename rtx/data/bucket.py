"""Objects in buckets and on web servers: size and version, a range of bytes, what a folder holds. One request each.

    gs://bucket/key   s3://bucket/key   http(s)://server/path      through obstore (Rust's object_store), extra `cloud`

Requests release the GIL, so threads run them side by side. What may pass (a dropped connection, a 5xx, a time-out) is tried
again with growing waits, counted and logged; what will not is one sentence. Credentials are those of the environment, of the
machine, or of boto3 where it is installed; where there are none, objects are asked for as anybody, which public sets allow.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from rtx.errors import UserError, WorldError

log = logging.getLogger(__name__)
SCHEMES = ("gs", "s3", "http", "https")
_ATTEMPTS = 6  # of one request: 0.2 + 0.4 + ... + 3.2 s of waiting, more or less
_FIRST_WAIT_S = 0.2
_PASSING_STATUS = {408, 429}  # of the 4xx; every 5xx is taken to pass
_STATUS = re.compile(r"\bstatus: (\d{3})")
_REQUEST = re.compile(r"Error performing \w+ \S+ in \S+ - ")
_CAUSE = re.compile(r'\b(?:message|error): "([^"]+)"')
_LASTING = ("NotPartial", "StartTooLarge", "EndTooLarge", "RangeNotSupported")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class ObjectStat:
    """What a store says of an object. `version`: generation or entity tag, "" where the server names none."""

    size: int
    mtime_ns: int
    version: str


class _Counter:
    def __init__(self) -> None:
        self.value, self._lock = 0, threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.value += 1


_retried = _Counter()


def num_retried() -> int:
    """Requests of this process that were sent again because of a passing fault."""
    return _retried.value


def stat(url: str) -> ObjectStat:
    """Raises FileNotFoundError if there is no such object, UserError or WorldError if it cannot be asked for."""
    store, key = _store_and_key(url)
    meta = _request(url, lambda: _obstore().head(store, key))
    return ObjectStat(
        size=meta["size"],
        mtime_ns=int(meta["last_modified"].timestamp() * 1e9),
        version=(meta["version"] or meta["e_tag"] or "").strip('"'),
    )


def read_range(url: str, offset: int, num_bytes: int) -> memoryview:
    """Bytes `offset` to `offset + num_bytes` of the object; fewer, or none, if it ends before. Errors as of `stat`."""
    store, key = _store_and_key(url)
    return memoryview(_request(url, lambda: _obstore().get_range(store, key, start=offset, length=num_bytes)))


def read(url: str) -> bytes:
    """The whole object, in memory. Errors as of `stat`."""
    store, key = _store_and_key(url)
    return bytes(_request(url, lambda: _obstore().get(store, key).bytes()))


def children(url: str) -> list[str]:
    """Names directly below `url`, sorted; none if nothing is there. A web server lists nothing and has none either.

    Raises UserError for a bucket that does not exist, else as `stat`.
    """
    if url.startswith("http"):
        return []
    store, key = _store_and_key(url)
    try:
        listing = _request(url, lambda: _obstore().list_with_delimiter(store, key or None))
    except FileNotFoundError as error:  # of a folder that is not there the listing is empty
        raise UserError(f"{url}: no such bucket") from error
    paths = [*listing["common_prefixes"], *(meta["path"] for meta in listing["objects"])]
    return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)


def _request(url: str, send: Callable[[], _Result]) -> _Result:
    from obstore.exceptions import BaseError, NotSupportedError, PermissionDeniedError, UnauthenticatedError

    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return send()
        except FileNotFoundError as error:
            raise FileNotFoundError(2, "no such object", url) from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise UserError(_refused(url, str(error))) from error
        except (BaseError, TimeoutError, ConnectionError) as error:
            text = str(error)
            if _status(text) == 404:
                raise FileNotFoundError(2, "no such object", url) from error
            if isinstance(error, NotSupportedError) or _will_last(text):
                raise WorldError(f"cannot read {url}: {_first_line(text)}{_hint(text)}") from error
            if attempt == _ATTEMPTS:
                raise WorldError(f"cannot read {url}, tried {attempt} times: {_first_line(text)}{_hint(text)}") from error
            _retried.add()
            log.warning("%s: %s; trying again", url, _first_line(text))
        time.sleep(_FIRST_WAIT_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))
    raise AssertionError("the last attempt returns or raises")


def _will_last(text: str) -> bool:
    if status := _status(text):
        return 300 <= status < 500 and status not in _PASSING_STATUS
    return any(word in text for word in _LASTING)


def _status(text: str) -> int:
    found = _STATUS.search(text)
    return int(found[1]) if found else 0


def _first_line(text: str) -> str:
    """What went wrong, of the pages obstore writes: its first line without the address, and the system's own words."""
    line = _REQUEST.sub("", text.strip().split("\n")[0])[:300].rstrip(": ")
    cause = _CAUSE.search(text)
    return f"{line} ({cause[1]})" if cause else line


def _hint(text: str) -> str:
    if "NotPartial" in text or "Range request not supported" in text:
        return "; the server does not serve parts of files (HTTP Range), which reading single images needs"
    if "redirect" in text.lower() or "PermanentRedirect" in text:
        return "; set AWS_REGION to the bucket's region"
    return ""


def _refused(url: str, text: str) -> str:
    scheme = url.partition("://")[0]
    known = _has_credentials(scheme)
    ways = {
        "gs": "set GOOGLE_APPLICATION_CREDENTIALS or run `gcloud auth application-default login`",
        "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or install boto3 for profiles and single sign-on",
    }
    missing = f"no credentials were found, so it was asked for as anybody; {ways.get(scheme, 'use a link that needs none')}"
    advice = "the credentials in use may not read it" if known and scheme in ways else missing
    return f"{url}: the store refuses access ({_first_line(text)}): {advice}. Some stores answer so for what does not exist"


def _store_and_key(url: str) -> tuple[Any, str]:
    scheme, _, rest = url.partition("://")
    place, _, key = rest.partition("/")
    return _store(scheme, place), unquote(key) if scheme.startswith("http") else key  # the store quotes it again


@functools.lru_cache(maxsize=64)
def _store(scheme: str, place: str) -> Any:
    """One client per bucket or server: it keeps connections open. Retries are ours, so that they are counted."""
    _obstore()
    from obstore.store import GCSStore, HTTPStore, S3Store

    # Plain http is only ever spoken where a URL or an endpoint in the environment says so.
    options: dict[str, Any] = {
        "client_options": {"allow_http": True, "timeout": "120s", "connect_timeout": "10s"},
        "retry_config": {"max_retries": 0},
    }
    if scheme in ("http", "https"):
        return HTTPStore.from_url(f"{scheme}://{place}", **options)
    if not _has_credentials(scheme):
        options["skip_signature"] = True
    if scheme == "gs":
        return GCSStore(place, **options)
    if (session := _boto3_session()) is not None and "skip_signature" not in options:
        from obstore.auth.boto3 import Boto3CredentialProvider

        options["credential_provider"] = Boto3CredentialProvider(session)
        if session.region_name:
            options["region"] = session.region_name
    return S3Store(place, **options)


def _has_credentials(scheme: str) -> bool:
    """Whether requests would be signed: told from the environment and the machine, without asking the network."""
    if scheme == "gs":
        default = Path("~/.config/gcloud/application_default_credentials.json").expanduser()
        names = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT")  # the latter also with _PATH or _KEY
        return any(name.startswith(names) for name in os.environ) or default.exists() or _machine_is("Google")
    if scheme == "s3":
        named = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        session = _boto3_session()
        found = session is not None and session.get_credentials() is not None
        return any(name in os.environ for name in named) or found or _machine_is("Amazon EC2")
    return False


@functools.cache
def _boto3_session() -> Any:
    """Knows profiles and single sign-on, which obstore alone does not. None without boto3."""
    try:
        import boto3
    except ImportError:
        return None
    return boto3.Session()


def _machine_is(vendor: str) -> bool:
    try:
        return vendor in Path("/sys/class/dmi/id/sys_vendor").read_text()
    except OSError:
        return False


def _obstore() -> Any:
    try:
        import obstore
    except ImportError as error:
        raise UserError(
            "reading from gs://, s3:// and http:// needs a package that is not installed: pip install rtx-robotics[cloud]"
        ) from error
    return obstore
