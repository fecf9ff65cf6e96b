"""The network is the released tree leaf for leaf, and its checkpoint is read from both formats or refused by name."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import serialization

from rtx.errors import UserError, WorldError
from rtx.models.rt1x.config import RT1XConfig, rt1, rt1x
from rtx.models.rt1x.released import expected_tree, read_released
from tests.models.rt1x.small import CONFIG

RELEASED = Path(__file__).with_name("released_tree.txt")
FFN = "params/Transformer_0/TransformerBlock_0/Dense_1/kernel"


def released_leaves() -> dict[str, tuple[int, ...]]:
    """Path -> shape, all float32, as the published code initialises them."""
    lines = [line.split() for line in RELEASED.read_text().splitlines() if not line.startswith("#")]
    return {path: tuple(map(int, shape.split("x"))) for path, shape in lines}


def nested(leaves: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def random_leaves(shapes: dict[str, tuple[int, ...]], *, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {path: rng.standard_normal(shape, np.float32) for path, shape in shapes.items()}


def counts(config: RT1XConfig) -> tuple[int, int]:
    sizes = {path: math.prod(leaf.shape) for path, leaf in expected_tree(config).items()}
    parts = [sum(size for path, size in sizes.items() if path.startswith(name)) for name in ("params/", "batch_stats/")]
    return parts[0], parts[1]


def test_every_leaf_of_the_release_by_name_shape_and_dtype() -> None:
    ours = expected_tree(rt1x())
    assert len(ours) == 735
    assert {path: leaf.shape for path, leaf in ours.items()} == released_leaves()
    assert {str(leaf.dtype) for leaf in ours.values()} == {"float32"}


def test_parameter_counts() -> None:
    """Measured on the published code: RT-1-X, RT-1 with the first feed-forward layer, RT-1 as its class defaults say."""
    assert counts(rt1x()) == (56_896_809, 87_296)
    assert counts(rt1()) == (35_116_448, 87_296)
    assert counts(dataclasses.replace(rt1(), ffn="swiglu")) == (39_310_752, 87_296)


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    """A random network of the small size, as nested plain dictionaries of numpy."""
    return nested(random_like_leaves())


def random_like_leaves() -> dict[str, Any]:
    return random_leaves({path: leaf.shape for path, leaf in expected_tree(CONFIG).items()})


def write_msgpack(path: Path, tree: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(serialization.msgpack_serialize(tree))
    return path


def write_orbax(path: Path, tree: Any) -> Path:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(path.absolute(), args=ocp.args.PyTreeSave(tree))
    return path


def differing(found: Any, tree: Any) -> list[str]:
    """Paths of leaves that are not equal to the bit, or that only one of the two has; `tree` may hold more than a network."""
    ours, theirs = (
        {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(one)}
        for one in (found, {name: tree[name] for name in ("params", "batch_stats")})
    )
    one_sided = ours.keys() ^ theirs.keys()
    return sorted(one_sided | {path for path in ours.keys() & theirs.keys() if not np.array_equal(ours[path], theirs[path])})


def test_messagepack_as_a_file_and_as_its_folder(tmp_path: Path, small: dict[str, Any]) -> None:
    """As released: a file called checkpoint; the step and the optimizer beside the network are left out."""
    path = write_msgpack(tmp_path / "rt_1_x_jax" / "checkpoint", small | {"step": np.int32(7), "opt_state": {"0": {}}})
    assert differing(read_released(path, CONFIG), small) == []
    assert differing(read_released(path.parent, CONFIG), small) == []


def test_orbax_folder_and_the_folder_it_lies_in(tmp_path: Path, small: dict[str, Any]) -> None:
    path = write_orbax(tmp_path / "run" / "default", small | {"step": np.int32(7), "opt_state": {"mu": np.zeros(3)}})
    assert differing(read_released(path, CONFIG), small) == []
    assert differing(read_released(path.parent, CONFIG), small) == []


@pytest.mark.parametrize("write", [write_msgpack, write_orbax])
@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (np.zeros((16, 21), np.float32), r"float32\[16, 21\], expected float32\[16, 20\]"),
        (np.zeros((16, 20), np.float16), r"float16\[16, 20\], expected float32\[16, 20\]"),
        (np.full((16, 20), np.nan, np.float32), "not finite"),
        (None, r"missing, expected float32\[16, 20\]"),
    ],
)
def test_the_first_leaf_that_differs_is_named(tmp_path: Path, write: Any, leaf: Any, message: str) -> None:
    leaves = random_like_leaves()
    if leaf is None:
        leaves.pop(FFN)
    else:
        leaves[FFN] = leaf
    with pytest.raises(WorldError, match=f"{FFN}: .*{message}"):
        read_released(write(tmp_path / "checkpoint", nested(leaves)), CONFIG)


def test_another_network_is_refused_at_its_first_leaf(tmp_path: Path) -> None:
    leaves = random_like_leaves()
    renamed = {path.replace("TransformerBlock_1", "TransformerBlock_7"): leaf for path, leaf in leaves.items()}
    message = r"TransformerBlock_1/Dense_0/kernel: missing, .* \(\d+ of \d+ leaves differ\)"
    with pytest.raises(WorldError, match=message):
        read_released(write_msgpack(tmp_path / "checkpoint", nested(renamed)), CONFIG)


def test_what_is_no_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        read_released(tmp_path / "none", CONFIG)
    with pytest.raises(UserError, match=r"is no released checkpoint.*it has nothing"):
        read_released(tmp_path, CONFIG)
    whole = write_msgpack(tmp_path / "checkpoint", nested(random_like_leaves()))
    whole.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(WorldError, match="damaged"):
        read_released(whole, CONFIG)
    with pytest.raises(WorldError, match="no params and no batch_stats in it; it has weights"):
        read_released(write_msgpack(tmp_path / "checkpoint", {"weights": np.zeros(3)}), CONFIG)


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_msgpack, write_orbax])
def test_the_whole_release_with_random_values(tmp_path: Path, write: Any) -> None:
    """735 leaves, 228 MB, in the exact layout."""
    tree = nested(random_leaves(released_leaves()))
    assert differing(read_released(write(tmp_path / "checkpoint", tree), rt1x()), tree) == []
