"""A small object server, a process of its own: files below a folder over HTTP with Range, and as S3 and GCS serve theirs.

    python object_server.py ROOT          prints its port

GET and HEAD of /bucket/key with size, entity tag and Last-Modified; GET /bucket?list-type=2 lists as S3 and GCS do; /denied/
is refused. GET /_counts: requests and bytes sent by file name. PUT /_faults?drop=2&busy=1 sets how many of the next
GETs of shards break after half their bytes (drop) or answer 503 (busy); with down=1 nothing but 503 is to be had;
together=1 makes GETs of shards wait for each other, four at a time.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import json
import re
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

LOCK = threading.Lock()
REQUESTS: Counter[str] = Counter()
SENT: Counter[str] = Counter()
FAULTS: Counter[str] = Counter()
BARRIER = threading.Barrier(4)
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path

    def log_message(self, *_: Any) -> None:
        pass

    def do_PUT(self) -> None:
        with LOCK:
            FAULTS.clear()
            FAULTS.update({name: int(values[0]) for name, values in parse_qs(urlsplit(self.path).query).items()})
        self._answer(200, b"")

    def do_HEAD(self) -> None:
        self._object(with_body=False)

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if self.path == "/_counts":
            with LOCK:
                self._answer(200, json.dumps({"requests": REQUESTS, "bytes": SENT}).encode())
        elif "list-type" in query:
            self._list(query.get("prefix", [""])[0])
        else:
            self._object(with_body=True)

    def _object(self, *, with_body: bool) -> None:
        key = unquote(urlsplit(self.path).path).lstrip("/")
        path = self.root / key
        fault = self._fault(path.name) if with_body else ""
        if key.startswith("denied/"):
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>", with_body=with_body)
        elif not path.is_file():
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", with_body=with_body)
        elif fault == "busy":
            self._answer(503, b"slow down")
        else:
            if with_body and FAULTS["together"] and "tfrecord" in path.name:
                BARRIER.wait(timeout=20)  # a BrokenBarrierError ends the connection: the client sees a fault
            self._send(path, with_body=with_body, half=fault == "drop")

    def _fault(self, name: str) -> str:
        if FAULTS["down"]:
            return "busy"
        if "tfrecord" not in name:
            return ""
        with LOCK:
            for fault in ("busy", "drop"):
                if FAULTS[fault] > 0:
                    FAULTS[fault] -= 1
                    return fault
        return ""

    def _send(self, path: Path, *, with_body: bool, half: bool) -> None:
        stat = path.stat()
        asked = RANGE.fullmatch(self.headers.get("Range", "")) if with_body else None
        start, end = 0, stat.st_size
        if asked:
            start, end = int(asked[1]), min(stat.st_size, int(asked[2]) + 1 if asked[2] else stat.st_size)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{stat.st_size}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", f'"{hashlib.md5(f"{stat.st_mtime_ns} {stat.st_size}".encode()).hexdigest()}"')
        self.send_header("Last-Modified", email.utils.formatdate(stat.st_mtime, usegmt=True))
        self.end_headers()
        if with_body:
            self._body(path, start, (end - start) // 2 if half else end - start)
        if half:
            self.close_connection = True

    def _body(self, path: Path, start: int, num_bytes: int) -> None:
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read(num_bytes)
        with LOCK:
            REQUESTS[path.name] += 1
            SENT[path.name] += len(data)
        self.wfile.write(data)

    def _list(self, prefix: str) -> None:
        """Keys and folders directly below `prefix`, in one page, as ListObjectsV2 answers."""
        bucket = self.root / unquote(urlsplit(self.path).path).strip("/")
        if not bucket.is_dir():
            return self._answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        folder = bucket / prefix
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        items = []
        for entry in entries:
            key = escape(entry.relative_to(bucket).as_posix())
            if entry.is_dir():
                items.append(f"<CommonPrefixes><Prefix>{key}/</Prefix></CommonPrefixes>")
            else:
                items.append(
                    f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                    f'<ETag>"0"</ETag><Size>{entry.stat().st_size}</Size></Contents>'
                )
        body = "".join(items)
        head = (
            f"<Name>x</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(items)}</KeyCount><IsTruncated>false</IsTruncated>"
        )
        return self._answer(200, f"<ListBucketResult>{head}{body}</ListBucketResult>".encode())

    def _answer(self, code: int, body: bytes, *, with_body: bool = True) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


class ObjectServer:
    """The tests' end of it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def counts(self) -> dict[str, dict[str, int]]:
        """{"requests": by file name, "bytes": by file name}, since the start."""
        with urllib.request.urlopen(f"{self.url}/_counts") as answer:
            return json.loads(answer.read())

    def fail_next(self, **faults: int) -> None:
        request = urllib.request.Request(f"{self.url}/_faults?{'&'.join(f'{k}={n}' for k, n in faults.items())}", method="PUT")
        urllib.request.urlopen(request).close()


@contextlib.contextmanager
def serve(root: Path) -> Iterator[ObjectServer]:
    command = [sys.executable, __file__, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield ObjectServer(int(process.stdout.readline()))
        finally:
            process.terminate()


if __name__ == "__main__":
    Handler.root = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
