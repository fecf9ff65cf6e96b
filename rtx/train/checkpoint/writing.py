"""One save, from the arrays on the devices to a numbered folder, by all processes of the run together.

`Save.start` is all that the loop waits for; `Save.finish` may run in a thread beside it. See the package for the phases.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from rtx import __version__
from rtx.errors import UserError, WorldError
from rtx.files import disk_errors, read_json, write_json
from rtx.train import pytree
from rtx.train.checkpoint.meeting import Meeting
from rtx.train.checkpoint.retention import check_keep, retain, set_aside, sweep
from rtx.train.checkpoint.side import CODE, SideFiles
from rtx.train.checkpoint.sound import FORMAT, MANIFEST, sha256, share, threaded, verify
from rtx.versions import versions

log = logging.getLogger(__name__)


def _without_traceback(record: logging.LogRecord) -> bool:
    if "_SignalingThread" in str(record.msg):
        record.exc_info = None
    return True


# Orbax's threads log the error they hand over, with a hundred lines of traceback; the one line that says what to do drowns.
logging.getLogger("absl").addFilter(_without_traceback)

_SIDE_BYTES = 1 << 18  # side files and Orbax's own


def save(root: Path, *, step: int, state: Mapping[str, Any], side: SideFiles, keep: int = 2) -> Path:
    """Writes `root/<step>` and then removes all but the newest `keep` (at least 2) sound checkpoints. Returns its path.

    `state` is a mapping of pytrees of arrays. A sound checkpoint of the same step is left as it is; a damaged one is set
    aside as `<step>.damaged-<n>`. Raises WorldError if it cannot be written; what was there before is then untouched.
    """
    check_keep(keep)
    final, meeting = root / str(step), Meeting()
    if final.exists() and not verify(final):
        return final
    meeting.lead(lambda: sweep(root))
    one = Save(root, step=step, side=side, keep=keep, meeting=meeting)
    one.start(state)
    return one.finish()


class Save:
    """One checkpoint on its way. The same calls are made in every process; whatever fails in one fails in all of them."""

    def __init__(self, root: Path, *, step: int, side: SideFiles, keep: int, meeting: Meeting, pinned: int = -1) -> None:
        """`pinned`: step of a checkpoint that stays however old it is."""
        self.step, self._pinned = step, pinned
        self._root, self._final, self._saving = root, root / str(step), root / f".saving-{step}"
        self._side, self._keep, self._meeting = side, keep, meeting
        self._futures: Sequence[Any] = ()
        self._problem: Exception | None = None

    def start(self, state: Mapping[str, Any]) -> None:
        """Copies the arrays from the devices; when it returns they may be donated. Raises nothing: what went wrong is for
        `finish`, so that the other processes hear of it too."""
        try:
            # Every process makes it, for none may wait for another here. `array_metadatas` because Orbax's other processes
            # wait for process 0 to make it: 10 minutes, if that one failed.
            (arrays_of(self._saving) / "array_metadatas").mkdir(parents=True, exist_ok=True)
            _check_space(self._root, state)
            self._futures = _copy_to_host(arrays_of(self._saving), state)
        except Exception as error:
            self._problem = error

    def finish(self) -> Path:
        """Writes, hashes, renames, removes old ones. Returns the checkpoint's folder.

        Raises WorldError if it cannot be written; what was there before is then untouched.
        """
        try:
            self._meeting.all_do(self._write)
            self._meeting.lead(self._merge)
            of_each = self._meeting.all_tell(lambda: file_sizes(self._saving))
            sizes = of_each[0]  # a shared disk may show less to the others than to the leader
            told = self._meeting.all_tell(lambda: self._hash(sizes))
            self._meeting.lead(lambda: self._commit({name: entry for part in told for name, entry in part.items()}))
        finally:
            if self._meeting.index == 0:
                shutil.rmtree(self._saving, ignore_errors=True)
        try:
            retain(self._root, self._keep, self.step, self._meeting, pinned=self._pinned)
        except (WorldError, OSError) as error:  # the checkpoint is there all the same
            log.error("old checkpoints not removed: step=%d %s", self.step, error)
        return self._final

    def _write(self) -> None:
        """Waits for Orbax."""
        with _world_errors(self._root):
            if self._problem is not None:
                raise self._problem
            for future in self._futures:
                with _orbax_errors(self._root):
                    future.result()

    def _merge(self) -> None:
        """The arrays of all processes become one index; side files lie beside them."""
        with _world_errors(self._root):
            with _orbax_errors(self._root):
                ocp.PyTreeCheckpointHandler().finalize(arrays_of(self._saving))
            for name, data in {**self._side.to_json(), CODE: versions()}.items():
                write_json(self._saving / f"{name}.json", data)

    def _hash(self, sizes: Mapping[str, int]) -> dict[str, dict[str, Any]]:
        """This process's share of the manifest: path -> size and sha256, each file on the disk."""
        with _world_errors(self._root):
            return file_entries(self._saving, sizes, (self._meeting.index, self._meeting.size))

    def _commit(self, files: Mapping[str, Any]) -> None:
        with _world_errors(self._root):
            write_manifest(self._saving, self.step, files)
            if self._final.exists():
                if not verify(self._final):
                    log.info("checkpoint is there already: step=%d", self.step)
                    return
                set_aside(self._final)
            os.rename(self._saving, self._final)
            sync_folder(self._root)


@contextlib.contextmanager
def _world_errors(root: Path) -> Iterator[None]:
    """Every OSError is a WorldError that names the folder, also one for which there is no advice."""
    try:
        with disk_errors(root):
            yield
    except OSError as error:
        raise WorldError(f"cannot write {root}: {error}") from error


@contextlib.contextmanager
def _orbax_errors(root: Path) -> Iterator[None]:
    """Orbax reports a disk that refuses as a ValueError of the storage layer below it."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        text = str(error)
        if "No space left" in text or "RESOURCE_EXHAUSTED" in text or "ENOSPC" in text:
            text = "the disk became full; free some space and go on"
        raise WorldError(f"cannot write {root}: {text}") from error


def arrays_of(folder: Path) -> epath.Path:
    """Orbax takes absolute paths only, of its own kind."""
    return epath.Path((folder / "state").absolute())


def _check_space(root: Path, state: Mapping[str, Any]) -> None:
    """Before Orbax finds out, who cannot say how much is needed."""
    needed = int(1.05 * sum(leaf.nbytes for leaf in pytree.flatten(state).values())) + _SIDE_BYTES
    free = shutil.disk_usage(root).free
    if free < needed:
        raise WorldError(
            f"cannot write {root}: the disk is full ({free / 1e6:,.1f} MB free, a checkpoint needs {needed / 1e6:,.1f} MB). "
            "Free some space; a run that has stopped carries on with the same command"
        )


def _copy_to_host(path: epath.Path, state: Mapping[str, Any]) -> Sequence[Any]:
    """Returns when the arrays of this process are in host memory, with futures of their way into `path`."""
    args = ocp.args.PyTreeSave(pytree.nest(pytree.flatten(state)))
    # Compressing takes 2 s of a core for each GB, which the loader needs, and makes float32 parameters 8 % smaller.
    return _run(ocp.PyTreeCheckpointHandler(use_compression=False).async_save(path, args=args)) or ()


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: where training is called from a notebook an event loop runs in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def file_sizes(folder: Path) -> dict[str, int]:
    """`path -> bytes` of all files in a folder."""
    return {str(file.relative_to(folder)): file.stat().st_size for file in sorted(folder.rglob("*")) if file.is_file()}


def file_entries(folder: Path, sizes: Mapping[str, int], part: tuple[int, int] = (0, 1)) -> dict[str, dict[str, Any]]:
    """`path -> {"bytes", "sha256"}` of a share of the files in a folder, flushed to disk."""
    names = share(sizes, part)
    digests = threaded(lambda name: sha256(folder / name, sync=True), names)
    return {name: {"bytes": sizes[name], "sha256": digest} for name, digest in zip(names, digests, strict=True)}


def write_manifest(folder: Path, step: int, files: Mapping[str, Any]) -> None:
    entries = {name: files[name] for name in sorted(files)}
    for inner in (entry for entry in folder.rglob("*") if entry.is_dir()):
        sync_folder(inner)
    write_json(folder / MANIFEST, {"format": FORMAT, "rtx": __version__, "step": step, "files": entries})
    sync_folder(folder)


def sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # some network file systems cannot, for folders
            raise
    finally:
        os.close(handle)


def copy_with_tokenizer(folder: Path, run: Path, tokenizer: Mapping[str, Any]) -> Path:
    """The checkpoint in `folder` with another tokenizer, as a checkpoint of the run folder `run`. Returns the copy.

    Its arrays are the same files where the file system can link them. Raises UserError where that step is there already.
    """
    root = run / "checkpoints"
    final, saving = root / folder.name, root / f".saving-{folder.name}"
    if final.exists():
        raise UserError(f"{final} is there already; give a new folder")
    with disk_errors(root):
        try:
            shutil.copytree(folder, saving, copy_function=_link_or_copy)
            for name in ("tokenizer.json", MANIFEST):
                (saving / name).unlink()  # they may be links
            write_json(saving / "tokenizer.json", tokenizer)
            write_manifest(saving, read_json(folder / MANIFEST)["step"], file_entries(saving, file_sizes(saving)))
            os.rename(saving, final)
            sync_folder(root)
        finally:
            shutil.rmtree(saving, ignore_errors=True)
    return final


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
