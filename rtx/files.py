"""Files that are whole or absent: write beside, flush to disk, rename. A full or read-only disk gives one clear WorldError."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

from rtx.errors import UserError, WorldError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder, then run the same command again: it carries on",
    errno.EDQUOT: "the disk quota is used up; free some space, then run the same command again: it carries on",
    errno.EROFS: "the file system is read-only; choose a folder you can write to",
    errno.EACCES: "no permission to write there; choose a folder you own",
}


def advice(error: OSError) -> str | None:
    """What a person can do about it, None if that is not known."""
    return _ADVICE.get(error.errno or 0)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an OSError a person can act on into a WorldError that names `path` and what to do; others pass through."""
    try:
        yield
    except OSError as error:
        if (text := advice(error)) is None:
            raise
        raise WorldError(f"cannot write {path}: {text}") from error


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears under `path` only if the block ends well, with its bytes on disk."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")  # machines that share a disk share process ids
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    with atomic(path) as file:
        file.write(json.dumps(data, indent=1).encode() + b"\n")


@runtime_checkable
class Readable(Protocol):
    """A Path, or something like it that is not on a disk."""

    def read_bytes(self) -> bytes: ...


def read_json(path: Readable) -> Any:
    """Raises UserError if the file is missing, WorldError if it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path}") from error
    except json.JSONDecodeError as error:
        raise WorldError(f"{path} is damaged: {error}; delete it and run the command that wrote it again") from error
