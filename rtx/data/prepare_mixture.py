"""`prepare_mixture`: several data sets one after the other, each into its own folder; a broken one does not stop the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rtx.data import catalogue
from rtx.data.prepare import prepare
from rtx.data.prepared import PreparedSet
from rtx.data.record import DatasetRecord
from rtx.data.storage import Location, children, location
from rtx.errors import UserError, WorldError


def prepare_mixture(
    names: Sequence[str],
    source_root: str | Location,
    out_root: str | Path,
    *,
    records: Path | None = None,
    num_workers: int | None = None,
    cluster: str = "",
    quarantine: bool = False,
    max_quarantined: float = 0.001,
) -> list[PreparedSet]:
    """Prepares each set of `names` from the TFDS root `source_root` into `out_root/<name>`; those up to date cost a look.

    `records`: a user's file with further records; the other arguments as in `rtx.data.prepare.prepare`. Raises UserError for
    an unknown name before anything is read. Sets that fail do not stop the others; at the end one error names each with
    its reason, a WorldError if data was at fault.
    """
    found = [catalogue.find(name, records) for name in dict.fromkeys(names)]
    root, prepared, errors = location(source_root), [], {}
    folders = {place.name for place in children(root)}
    for record in found:
        try:
            prepared.append(
                prepare(
                    record, _source(root, folders, record), Path(out_root) / record.name, num_workers=num_workers,
                    cluster=cluster, quarantine=quarantine, max_quarantined=max_quarantined,
                )
            )  # fmt: skip
        except (UserError, WorldError) as error:
            errors[record.name] = error
    if errors:
        kind = WorldError if any(isinstance(error, WorldError) for error in errors.values()) else UserError
        raise kind(
            f"{len(errors)} of {len(found)} data sets were not prepared, the others are ready in {out_root}:\n"
            + "\n".join(f"  {name}: {error}" for name, error in errors.items())
        )
    return prepared


def _source(root: Location, folders: set[str], record: DatasetRecord) -> Location:
    """Copies of a set lie under other names too."""
    return next((root / name for name in (record.name, *record.other_names) if name in folders), root / record.name)
