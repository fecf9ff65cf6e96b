"""Plans then actions, row by row, against a network that says what a table tells it."""

from collections import deque

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rtx.models.vla.action_tokens import BinnedActions
from rtx.models.vla.decode import Reader, nearest_to_mean, write_planned, write_text

VOCAB, IDS = 12, (8, 9, 10, 11)
ACTIONS = BinnedActions(chunk=1, action_dims=3, ids=IDS, terminate=2)
END = (5, 6)
NEVER = 3  # where the table wants an id that is not allowed


class Scripted(nn.Module):
    """A backbone without parameters. Wants `table[row][step]`; bins come second best in the order 9, 8, 10, 11."""

    table: tuple[tuple[int, ...], ...]
    written: deque | None = None  # not a list: the module would copy it

    def write(self, tokens, memory):
        if self.written is not None:
            jax.debug.callback(lambda step: self.written.append(int(step)), memory)
        return states(len(self.table), memory + 1)[:, None], memory + 1

    def logits(self, hidden, ids=None):
        row, step = hidden[..., 0].astype(int), hidden[..., 1].astype(int)
        wanted = jnp.asarray(self.table)[row, jnp.minimum(step, len(self.table[0]) - 1)]
        order = jnp.zeros(VOCAB).at[jnp.array([9, 8, 10, 11])].set(jnp.array([4.0, 3, 2, 1]))
        logits = order + 10 * jax.nn.one_hot(wanted, VOCAB)
        return logits if ids is None else logits[..., ids]


def states(rows, step):
    """(row, step) of each row: all that the backbone looks at."""
    return jnp.stack([jnp.arange(rows), jnp.full(rows, step)], 1).astype(jnp.float32)


def reader_of(table, written=None):
    return Reader(Scripted(tuple(map(tuple, table)), written), {})


def planned(table):
    return jax.jit(
        lambda: write_planned(reader_of(table), ACTIONS, states(len(table), 0), jnp.int32(0), plan_end=END, max_plan=5)
    )()


def text(table, max_tokens, written=None):
    run = lambda: write_text(reader_of(table, written), states(len(table), 0), jnp.int32(0), max_tokens=max_tokens)  # noqa: E731
    return jax.jit(run)()


def test_each_row_acts_after_its_own_plan():
    found = planned([
        [4, 5, 6, 9, 10, 11, 0, 0],  # a plan, terminate, then the other two dimensions
        [5, 6, NEVER, 11, 8, 7, 7, 7],  # terminate may be bin 0 or 1 only
        [5, 4, 4, 5, 6, 8, 8, 11],  # ends with the last token there is room for
    ])  # fmt: skip
    assert found.plan.tolist() == [[4, 5, 6, 0, 0], [5, 6, 0, 0, 0], [5, 4, 4, 5, 6]]
    assert found.bins.tolist() == [[1, 2, 3], [1, 3, 0], [0, 0, 3]]
    assert found.is_action.tolist() == [True] * 3


def test_a_plan_without_an_end_is_no_action():
    found = planned([[4, 5, 1, 9, 9, 9, 9, 9], [4, 4, 4, 4, 5, 6, 9, 9], [6, 5, 6, 8, 10, 10, 9, 9], [0, 5, 6, 8, 8, 8, 8, 8]])
    assert found.is_action.tolist() == [False, False, True, True]
    assert found.plan[0].tolist() == [4, 5, 1, 0, 0]
    assert found.plan[3].tolist() == [9, 5, 6, 0, 0]  # padding is nothing to say: the next best
    assert found.bins[2].tolist() == [0, 2, 2]


def test_nothing_failed_in_company_differs_from_alone():
    table = [[4, 5, 6, 9, 10, 11, 0, 0], [4, 4, 4, 1, 0, 0, 0, 0], [5, 6, 8, 8, 8, 0, 0, 0]]
    together = planned(table)
    for i, row in enumerate(table):
        alone = planned([row])
        assert bool(alone.is_action[0]) == bool(together.is_action[i])
        np.testing.assert_array_equal(alone.plan[0], together.plan[i])
        if alone.is_action[0]:
            np.testing.assert_array_equal(alone.bins[0], together.bins[i])


def test_a_plan_goes_on_where_it_was_begun():
    table = [[9, 10, 11, 0, 0], [6, 8, 8, 11, 0], [7, 8, 8, 8, 0], [4, 5, 6, 9, 9]]
    said = jnp.array([[4, 5, 6, 0, 0], [5, 0, 0, 0, 0], [4, 4, 4, 4, 0], [0, 0, 0, 0, 0]])
    found = jax.jit(
        lambda: write_planned(reader_of(table), ACTIONS, states(4, 0), jnp.int32(0), plan_end=END, max_plan=5, said=said)
    )()
    assert found.plan.tolist() == [[4, 5, 6, 0, 0], [5, 6, 0, 0, 0], [4, 4, 4, 4, 7], [4, 5, 6, 0, 0]]
    assert found.is_action.tolist() == [True, True, False, True]
    assert found.bins.tolist()[:2] == [[1, 2, 3], [0, 0, 3]]


def test_text_ends_with_its_row():
    found = text([[4, 1, 7, 7], [7, 7, 7, 7], [1, 7, 7, 7]], 4)
    assert found.tolist() == [[4, 1, 0, 0], [7, 7, 7, 7], [1, 0, 0, 0]]


def test_the_loop_ends_with_the_last_row():
    written = deque()
    jax.block_until_ready(text([[4, 1, 7, 7, 7, 7], [1, 7, 7, 7, 7, 7]], 6, written))
    jax.effects_barrier()
    assert list(written) == [0]


def test_the_bin_nearest_to_the_mean():
    """A third of the chance on one bin, two thirds on two others: the mean lies between those; not where it is forbidden."""
    logits = jnp.log(jnp.array([[0.34, 0.0, 0.0, 0.0, 0.33, 0.0, 0.33], [0.1, 0.0, 0.8, 0.1, 0.0, 0.0, 0.0]]) + 1e-9)
    assert nearest_to_mean(logits, 0).tolist() == [3, 2]  # 3.3 and 1.9
    two = jnp.array([[0.0, -jnp.inf, -jnp.inf, 0.1]])  # as "terminate" is said
    assert nearest_to_mean(two, 0).tolist() == [3]
    assert nearest_to_mean(logits.astype(jnp.bfloat16), 0).tolist() == [3, 2]
