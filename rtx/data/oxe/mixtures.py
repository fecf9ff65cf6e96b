"""The published mixtures by name: RT-X, Octo's and OpenVLA's, and how a mixture of prepared sets is opened.

    Mixture of prepared sets  <--open_mixture-- name or [(data set, weight), ...]  and a folder holding <data set>/ for each

Weights are as each project writes them. RT-X's are per sample; Octo and OpenVLA multiply theirs by the number of steps
(`balance`). Sources: the mixture tables of the Open X-Embodiment notebook, octo/data/oxe/oxe_dataset_mixes.py and
prismatic/vla/datasets/rlds/oxe/mixtures.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.prepared import MANIFEST, PreparedSet
from rtx.errors import UserError, look_up, unknown_name

_LONG = "_converted_externally_to_rlds"


@dataclass(frozen=True, kw_only=True)
class NamedMixture:
    """Weights of a published mixture. `balance`: they multiply each set's number of steps."""

    name: str
    title: str
    weights: Mapping[str, float]  # data set -> weight
    balance: bool


def _weights(table: Mapping[str, int | float]) -> dict[str, float]:
    """A star stands for the long ending that most names of later sets have."""
    return {name.replace("*", _LONG): float(weight) for name, weight in table.items()}


_RT_X = _weights({
    "fractal20220817_data": 150, "kuka": 20, "bridge": 50, "taco_play": 5, "jaco_play": 20, "berkeley_cable_routing": 20,
    "roboturk": 10, "nyu_door_opening_surprising_effectiveness": 5, "viola": 3, "berkeley_autolab_ur5": 5,
    "language_table": 30, "toto": 5,
})  # fmt: skip
_OCTO = _weights({
    "austin_buds_dataset*": 1, "austin_sailor_dataset*": 1, "austin_sirius_dataset*": 1, "bc_z": 0.2,
    "berkeley_autolab_ur5": 2, "berkeley_cable_routing": 1, "berkeley_fanuc_manipulation": 2, "bridge_dataset": 1,
    "cmu_stretch": 1, "dlr_edan_shared_control*": 1, "fractal20220817_data": 0.54087122203,
    "furniture_bench_dataset*": 0.1, "iamlab_cmu_pickup_insert*": 1, "jaco_play": 1, "kuka": 0.8341046294,
    "language_table": 0.1, "nyu_door_opening_surprising_effectiveness": 1, "nyu_franka_play_dataset*": 3, "roboturk": 2,
    "stanford_hydra_dataset*": 2, "taco_play": 2, "toto": 1, "ucsd_kitchen_dataset*": 2, "utaustin_mutex": 1, "viola": 2,
})  # fmt: skip
_OPENVLA = _weights({
    "austin_buds_dataset*": 1, "austin_sailor_dataset*": 1, "austin_sirius_dataset*": 1, "berkeley_autolab_ur5": 2,
    "berkeley_cable_routing": 1, "berkeley_fanuc_manipulation": 2, "bridge_dataset": 1, "cmu_stretch": 1,
    "dlr_edan_shared_control*": 1, "fractal20220817_data": 0.54087122203, "furniture_bench_dataset*": 0.1,
    "iamlab_cmu_pickup_insert*": 1, "jaco_play": 1, "kuka": 0.8341046294, "language_table": 0.1,
    "nyu_franka_play_dataset*": 3, "roboturk": 2, "stanford_hydra_dataset*": 2, "taco_play": 2, "toto": 1,
    "ucsd_kitchen_dataset*": 2, "utaustin_mutex": 1, "viola": 2,
})  # fmt: skip
_OPENVLA_PLUS = _OPENVLA | _weights({"bc_z": 0.2, "dobbe": 0.2, "droid": 0.06, "fmb": 1})

MIXTURES: Mapping[str, NamedMixture] = {
    mixture.name: mixture
    for mixture in (
        NamedMixture(name="rt_x", title="RT-1-X and RT-2-X, twelve sets (arXiv 2310.08864)", weights=_RT_X, balance=False),
        NamedMixture(name="octo", title="Octo's magic soup, 25 sets (arXiv 2405.12213)", weights=_OCTO, balance=True),
        NamedMixture(name="openvla", title="OpenVLA's magic soup (arXiv 2406.09246)", weights=_OPENVLA, balance=True),
        NamedMixture(
            name="openvla_plus",
            title="OpenVLA's magic soup plus, with DROID, DobbE, FMB and BC-Z",
            weights=_OPENVLA_PLUS,
            balance=True,
        ),
    )
}


def find_mixture(name: str) -> NamedMixture:
    """Raises UserError with the nearest names."""
    return look_up("mixture", name, MIXTURES)


def open_mixture(
    mixture: str | Sequence[tuple[str, float]], root: Path, *, balance: bool | None = None, without: tuple[str, ...] = ()
) -> Mixture:
    """The mixture over the sets prepared in `root`/<data set> (`rtx data prepare MIXTURE` puts them there).

    `mixture`: a name, or weights of your own. `balance`: weights times steps; default as the named mixture does, False for
    weights of your own. `without` leaves sets out. Raises UserError naming every set that is not prepared yet.
    """
    if isinstance(mixture, str):
        named = find_mixture(mixture)
        weights, default = dict(named.weights), named.balance
    else:
        weights, default = dict(mixture), False
    for name in without:
        if name not in weights:
            raise unknown_name("data set of the mixture", name, weights)
        del weights[name]
    root = Path(root).expanduser()
    missing = [name for name in weights if not (root / name / MANIFEST).is_file()]
    if missing:
        raise UserError(
            f"{len(missing)} of the mixture's {len(weights)} data sets are not prepared in {root}: {', '.join(missing)}. "
            "Prepare them (rtx data prepare MIXTURE SOURCE_ROOT OUT_ROOT), or leave them out (without=...)"
        )
    entries = tuple(MixtureEntry(prepared=PreparedSet.open(root / name), weight=weight) for name, weight in weights.items())
    return Mixture(entries=entries, balance=default if balance is None else balance)
