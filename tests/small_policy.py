"""Policies small enough to compile in a second: a real RT-1 with random weights, and a model whose answers can be foreseen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from rtx.embodiment import CANONICAL
from rtx.models.protocol import Model
from rtx.models.text import WordTokenizer
from rtx.robots.sim_arms import SIM_ARMS
from rtx.serve.policy import Policy
from rtx.spec import Contract, FieldStatistics, Observation, Statistics

TOKENIZER = WordTokenizer.from_texts(["push the red cube to the left"], max_length=8)


def statistics(low, high, width):
    """Of data spread evenly over [low, high] in every dimension."""
    middle, spread = (low + high) / 2, high - low
    columns = {"mean": middle, "std": spread / 4, "min": low, "max": high, "q01": low, "q99": high}
    return FieldStatistics(**{name: (float(value),) * width for name, value in columns.items()}, count=100)


def contract(*, history=2, chunk=3, roles=("primary", "wrist"), image_size=(16, 16)):
    """A Panda, whose data spread over [-1, 3], and an iiwa without a wrist camera, at 4 Hz, over [-2, 2]."""
    iiwa = dataclasses.replace(SIM_ARMS["sim_iiwa"], cameras=SIM_ARMS["sim_iiwa"].cameras[:1])
    return Contract(
        roles=roles, image_size=image_size, history=history, chunk=chunk,
        embodiments={"sim_panda": SIM_ARMS["sim_panda"], "sim_iiwa": iiwa},
        layouts=dict.fromkeys(("sim_panda", "sim_iiwa"), CANONICAL),
        statistics={
            "sim_panda": Statistics(
                action=statistics(-0.1, 0.3, 8), proprio=statistics(-1, 3, 10), num_episodes=2, source="a test"
            ),
            "sim_iiwa": Statistics(
                action=statistics(-0.2, 0.2, 8), proprio=statistics(-2, 2, 10), num_episodes=2, source="a test"
            ),
        },
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Echo:
    """Says what it was fed: each action's first seven numbers describe the newest frame, the eighth is 0.

    proprio x | proprio y | primary mean / 255 | wrist mean / 255 | share of valid history | is the wrist there | robot index
    """

    chunk: int = 3

    def act(self, variables, batch, rng):
        seen = [
            batch.proprio[:, -1, 0], batch.proprio[:, -1, 1],
            batch.images["primary"][:, -1].astype(jnp.float32).mean((1, 2, 3)) / 255,
            batch.images["wrist"][:, -1].astype(jnp.float32).mean((1, 2, 3)) / 255,
            batch.history_mask.mean(1), batch.image_mask["wrist"][:, -1], batch.embodiment,
        ]  # fmt: skip
        row = jnp.stack([jnp.asarray(value, jnp.float32) for value in seen] + [jnp.zeros_like(seen[0])], -1)
        return jnp.repeat(row[:, None] * variables["params"]["gain"], self.chunk, axis=1)

    @property
    def config(self):
        return self

    def init(self, rng, batch):
        return {"params": {"gain": jnp.ones(8)}}

    def loss(self, variables, batch, rng, *, train):
        raise AssertionError("it has nothing to learn")

    def param_axes(self):
        return ()


assert isinstance(Echo(), Model)


def echo_policy(gain=1.0, **changes):
    promised = contract(**changes)
    return Policy(
        model=Echo(chunk=promised.chunk), variables={"params": {"gain": jnp.full(8, gain)}}, contract=promised,
        tokenizer=TOKENIZER, name="echo",
    )  # fmt: skip


def rt1_policy():
    """Random weights: its actions mean nothing, but they depend on all of its input."""
    from rtx.models.rt1.config import RT1Config
    from rtx.models.rt1.model import RT1

    config = RT1Config(
        history=2, chunk=3, text_length=8, text_vocabulary=16, max_embodiments=4, text_width=16, text_heads=2,
        sentence_width=16, stem_width=8, conv_width=8, num_conv_blocks=1, tokens_per_image=2, token_hidden=8, width=16,
        num_layers=1, num_heads=2, head_width=8, mlp_width=16, num_bins=32, expectation_radius_bins=4,
    )  # fmt: skip
    model = RT1(config)
    blank = Policy(model=model, variables={}, contract=contract(), tokenizer=TOKENIZER).blank_batch()
    rng, shapes = np.random.default_rng(0), jax.eval_shape(model.init, jax.random.key(0), blank)  # compiling init takes seconds
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.2, leaf.shape).astype(leaf.dtype), shapes)
    return Policy(model=model, variables=variables, contract=contract(), tokenizer=TOKENIZER, name="small rt1")


def observation(
    *, robot="sim_panda", steps=1, size=(24, 32), level=100, instruction="push the red cube", stamp_ns=10**9, state=0.5
):
    """Flat grey pictures of `level` (the wrist's 20 brighter), a state of `state` in all dimensions."""
    roles = {"sim_panda": ("primary", "wrist"), "sim_iiwa": ("primary",)}[robot]
    brightness = {"primary": level, "wrist": level + 20}
    return Observation(
        images={role: np.full((steps, *size, 3), brightness[role], np.uint8) for role in roles},
        image_mask={role: np.ones(steps, bool) for role in roles},
        proprio=np.full((steps, 10), state, np.float32),
        instruction=instruction,
        stamp_ns=stamp_ns,
    )
