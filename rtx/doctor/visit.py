"""`rtx doctor CKPT --robot R --data EPISODES`: opens what is needed, examines, closes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from rtx.data import catalogue
from rtx.data.features import open_source
from rtx.data.prepared import PreparedSet
from rtx.data.record import DatasetRecord
from rtx.doctor.examine import Diagnosis, examine
from rtx.doctor.recording import Recorded, load_episodes
from rtx.doctor.replay import Served, serving
from rtx.errors import UserError, WorldError
from rtx.files import read_json
from rtx.serve.policy import Policy, load_policy

_TRAINED_EPISODES = 150  # for the pictures' comparison


def doctor(
    checkpoint: Path,
    *,
    robot: str,
    data: Path,
    records: Path | None = None,
    url: str | None = None,
    token: str | None = None,
    training: Path | None = None,
    num_episodes: int = 40,
    num_frames: int = 400,
) -> Diagnosis:
    """Examines RLDS episodes of `robot` (a name of the checkpoint's contract) against the checkpoint.

    `records`: a Python file with the DatasetRecord of `data`, for sets that rtx does not know. `url`: a server of that
    checkpoint that is running already, which may ask for `token`; without it one is started here. `training`: the prepared
    set the policy was trained on; without it, where the checkpoint's configuration says it was, if it is still there.

    Raises UserError and WorldError as loading does; ConnectionError as the client does.
    """
    policy = load_policy(checkpoint)
    episodes = load_episodes(data, _record(data, robot, records), most=num_episodes)
    trained = _trained(policy, robot, training)
    with contextlib.ExitStack() as stack:
        served = Served(url or stack.enter_context(serving(policy)), robot, policy.contract, token=token)
        stack.callback(served.close)
        _check_server(served, policy)
        return examine(
            episodes, policy.contract, robot, served, policy=policy.name, round_trips=served.round_trips_ms,
            doubts=policy.tokenizer.doubts, trained=trained, most_frames=num_frames,
        )  # fmt: skip


def _record(data: Path, robot: str, records: Path | None) -> DatasetRecord:
    """Of the set's own name if that is known, else of the robot's."""
    name = open_source(data).name
    return catalogue.find(name if records or name in catalogue.RECORDS else robot, records)


def _check_server(served: Served, policy: Policy) -> None:
    theirs, ours = served.fingerprint, policy.contract.fingerprint()
    if theirs != ours:
        raise UserError(
            f"the server's policy has another contract ({theirs}) than {policy.name} ({ours}): it serves another checkpoint; "
            "pass the one it was started with"
        )


def _trained(policy: Policy, robot: str, training: Path | None) -> Sequence[Recorded]:
    """Training episodes, none if they are not at hand; what was asked for by name must be there."""
    if training is not None:
        return _episodes_of(PreparedSet.open(training))
    config = Path(policy.name) / "config.json"
    sets = read_json(config).get("data", {}).get("sets", ()) if config.is_file() else ()
    for entry in sets:
        with contextlib.suppress(UserError, WorldError):  # it was on another machine, or has moved
            prepared = PreparedSet.open(Path(entry.get("prepared", "")))
            if prepared.name == robot:
                return _episodes_of(prepared)
    return ()


def _episodes_of(prepared: PreparedSet) -> Sequence[Recorded]:
    record = catalogue.find(prepared.name)
    episodes = load_episodes(str(prepared.source), record, most=_TRAINED_EPISODES)
    train = [episode for episode in episodes if episode.split == record.train_split]
    return train or episodes
