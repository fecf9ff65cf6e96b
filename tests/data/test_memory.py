"""Memory that is used again must never be somebody's still."""

from __future__ import annotations

import gc

import jax
import numpy as np

from rtx.data.memory import PictureMemory


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_memory_comes_back_when_nobody_holds_it():
    memory = PictureMemory(max_free=2)
    first = memory.array((4, 8, 3))
    assert (first.shape, first.dtype, first.flags.writeable, address(first) % 64) == ((4, 8, 3), np.uint8, True, 0)
    place = address(first)
    assert address(memory.array((4, 8, 3))) != place
    del first
    gc.collect()
    again = [memory.array((8, 4, 3)) for _ in range(2)]  # the shape may be another, the size decides
    assert place in {address(array) for array in again}


def test_any_view_holds_it():
    memory = PictureMemory(max_free=2)
    for hold in (lambda a: a[1], lambda a: a[:, ::2].T, lambda a: memoryview(a)[1:], lambda a: a.reshape(-1)[5:].view(np.int8)):
        array = memory.array((4, 8, 3))
        place, held = address(array), hold(array)
        del array
        gc.collect()
        others = [memory.array((4, 8, 3)) for _ in range(3)]
        assert place not in {address(other) for other in others}
        del held, others


def test_what_jax_took_over_stays_as_it_was():
    memory = PictureMemory(max_free=4)
    taken = []
    for i in range(20):
        array = memory.array((64, 64, 3))
        array[...] = i
        taken.append(jax.device_put(array))
        del array
    for i, array in enumerate(taken):
        assert (np.asarray(array) == i).all()


def test_no_more_waits_than_was_asked_for():
    memory = PictureMemory(max_free=2)
    arrays = [memory.array((5, 5, 3)) for _ in range(6)]
    places = {address(array) for array in arrays}
    del arrays
    gc.collect()
    assert len(places) == 6
    assert [len(free) for free in memory._free.values()] == [2]
