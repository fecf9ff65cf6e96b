"""What a policy gone wrong may send, and what a network and a clock may do to it on the way."""

from __future__ import annotations

import collections

import numpy as np

from rtx.control.judge import Command
from rtx.errors import WorldError
from tests.control.witness import ID

KINDS = ("fine", "random", "nan", "inf", "huge", "frozen", "bang_bang", "wrong_length", "swapped_arms", "odd")
EVENTS = ("reorder", "duplicate", "clock_forward", "clock_backward", "stall", "restart")


class Adversary:
    """Sends `commands` to a guard by turns of the kinds above; every event of the kinds above happens now and then.

    `expiry`: until when command k, told by its gripper opening k / ID, may be executed.
    """

    def __init__(self, guard, arm, clock, space, *, seed, lies=False, rest=0.0):
        """`lies`: what is sent says that it may be executed forever. `rest`: the action about which fine ones lie."""
        self.lies, self.rest = lies, rest
        self.guard, self.arm, self.clock, self.space = guard, arm, clock, space
        self.rng = np.random.default_rng(seed)
        self.period_s = 1 / arm.embodiment.control_hz
        self.grippers = [i for i, f in enumerate(space.fields) for _ in range(f.width) if f.kind == "gripper"]
        self.at = {f.name: s for f, s in zip(space.fields, space.slices.values(), strict=True)}
        self.number, self.expiry, self.sent = 0, {}, collections.Counter()
        self.happened, self.rearmed, self.held_back = collections.Counter(), 0, []
        self.last = np.zeros(space.width)

    def run(self, commands):
        while self.number < commands:
            self._turn()
        return self

    def _turn(self):
        self.clock.advance(self.period_s * self.rng.choice([0.3, 0.6, 1.0, 1.0, 1.0, 1.1, 1.7]))
        if self.rng.random() < 0.01:
            self._event(str(self.rng.choice(EVENTS)))
        if self.guard.status.mode == "stopped":
            self._rearm()
        batch = [self._command() for _ in range(self.rng.choice([0, 1, 1, 1, 1, 1, 2, 3]))]
        for command in batch:
            self.guard.submit(command)
        self.guard.tick(self.clock())
        if self.rng.random() < 0.3:
            self.clock.advance(max(0.0, (self.guard.next_ns - self.clock()) * 1e-9))
            self.guard.tick(self.clock())

    def _rearm(self):
        self.rearmed += 1
        try:
            self.guard.arm(self.clock())
        except WorldError:
            self.arm.fails = False
            self.guard.arm(self.clock())

    def _event(self, name):
        self.happened[name] += 1
        if name == "reorder" and self.held_back:
            for command in self.rng.permutation(np.array(self.held_back, object)):
                self.guard.submit(command)
        elif name == "duplicate" and self.held_back:
            self.guard.submit(self.held_back[-1])
            self.guard.submit(self.held_back[-1])
        elif name == "clock_forward":
            self.clock.advance(float(self.rng.choice([0.5, 30.0, 86400.0])))
        elif name == "clock_backward":
            self.clock.advance(-float(self.rng.choice([0.2, 5.0, 3600.0])))
        elif name == "stall":
            self.clock.advance(5.0)  # nobody ticks meanwhile: the guard itself was not scheduled
            for command in self.held_back[-3:]:
                self.guard.submit(command)
        elif name == "restart":  # of the server: silence while the guard goes on, then answers of before
            for _ in range(20):
                self.clock.advance(0.1)
                self.guard.tick(self.clock())
            for command in self.held_back[-5:]:
                self.guard.submit(command)

    def _command(self):
        kind = str(self.rng.choice(KINDS))
        self.number += 1
        self.sent[kind] += 1
        stamp = self.clock() - round(self.rng.choice([0.0, 0.1, 0.5, 3.0, -0.2], p=[0.5, 0.2, 0.1, 0.1, 0.1]) * 1e9)
        valid = stamp + round(self.rng.choice([1.0, 3.0, 100.0]) * self.period_s * 1e9)
        values = self._values(kind)
        number_id = self.number % ID
        if isinstance(values, np.ndarray) and values.shape == (self.space.width,) and kind not in ("nan", "inf"):
            values[self._gripper] = number_id / ID
            self.expiry[number_id] = min(valid, stamp + 5 * 10**9), stamp
        said = 1 << 62 if self.lies else valid
        command = Command(number=self.number, values=values, stamp_ns=stamp, valid_until_ns=said)
        self.held_back = [*self.held_back[-9:], command]
        return command

    @property
    def _gripper(self):
        return self.at["gripper"]

    def _values(self, kind):
        width, rng = self.space.width, self.rng
        small = self.rest + rng.normal(0, 0.02, width)
        if kind == "random":
            small = self.rest + rng.normal(0, 1, width) * rng.choice([0.1, 1.0, 10.0])
        if kind == "nan":
            small[rng.integers(width)] = np.nan
        if kind == "inf":
            small[rng.integers(width)] = rng.choice([np.inf, -np.inf])
        if kind == "huge":
            small = small * 1e6
        if kind == "frozen":
            small = self.last.copy()
        if kind == "bang_bang":
            small = np.full(width, (-1.0) ** self.number)
        if kind == "wrong_length":
            return rng.normal(0, 0.02, rng.choice([0, 1, width - 1, width + 1, 100]))
        if kind == "swapped_arms":
            small = self._swapped(small + rng.normal(0, 0.5, width) * rng.choice([0.0, 1.0]))
        if kind == "odd":
            odd = (None, "action", [[1, 2], [3]], np.zeros((2, width)), np.array([None] * width, object), 3.0, {"a": 1})
            return odd[int(rng.integers(len(odd)))]
        self.last = small.copy()
        return small

    def _swapped(self, values):
        """Each arm gets what the other was to get; of one arm the halves of its vector change places."""
        left = [name for name in self.at if name.startswith("left_")]
        if not left:
            return np.roll(values, self.space.width // 2)
        swapped = values.copy()
        for name in left:
            here, there = self.at[name], self.at[name.removeprefix("left_")]
            swapped[here], swapped[there] = values[there], values[here]
        return swapped

    def stale_executed(self):
        """Ids that the driver executed after their time, or before they were made."""
        found = []
        for number, when in self.arm.executed_ids:
            if number in self.expiry:
                until, stamp = self.expiry[number]
                if not stamp <= when <= until:
                    found.append((number, when, until, stamp))
        return found

    def executed_twice(self):
        known = [number for number, _ in self.arm.executed_ids if number in self.expiry]
        return [number for number, times in collections.Counter(known).items() if times > 1]
