"""What a policy is fed at the robot is, bit for bit, what the loader fed it in training."""

import dataclasses

import numpy as np
import pytest

from rtx.data.loader import one_pass
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.tokenizers import Tokenizers
from rtx.models.text import WordTokenizer
from rtx.serve.inputs import Inputs
from rtx.spec import Observation
from tests.data.tiny_sets import picture, tiny_set

LOST = {"both": (("wrist", 2), ("primary", 9)), "one": ()}  # frames without a picture, inside their episodes


def seen_at(prepared, step, *, frames):
    """The last `frames` frames of the episode up to `step`, as a robot would hand them over: raw pictures and numbers."""
    split = prepared.split("train")
    first = max(split.episode_start[split.episode_start <= step].max(), step - frames + 1)
    steps = range(int(first), step + 1)
    return Observation(
        images={role: np.stack([picture(prepared.name, role, i) for i in steps]) for role in prepared.embodiment.roles},
        image_mask={
            role: np.array([(role, i) not in LOST[prepared.name] for i in steps]) for role in prepared.embodiment.roles
        },
        proprio=np.asarray(split.proprio[first : step + 1]),
        instruction=prepared.languages[split.language_id[step, 0]],
        stamp_ns=0,
    )


def sets(folder):
    """A set with both cameras and one whose robot has no wrist camera."""
    both = tiny_set(folder / "both", name="both", absent=LOST["both"])
    one = tiny_set(folder / "one", name="one", roles=("primary",), channel_order="bgr")
    blind = dataclasses.replace(one.embodiment, cameras=one.embodiment.cameras[:1])
    return both, dataclasses.replace(one, embodiment=blind)


@pytest.mark.parametrize(("frames", "fit"), [(3, "stretch"), (5, "pad"), (99, "stretch")])
def test_every_row_of_training_is_the_same_at_the_robot(tmp_path, frames, fit):
    prepared = sets(tmp_path)
    mixture = Mixture(entries=tuple(MixtureEntry(prepared=each) for each in prepared))
    roles, size, tokenizer = ("primary", "wrist"), (4, 4), WordTokenizer.from_texts(["do both", "undo one"])
    shape = {"roles": roles, "image_size": size, "fit": fit, "history": 3, "chunk": 2}
    trained = next(one_pass(mixture, batch_size=26, split="train", tokenizers=Tokenizers.alike(tokenizer.encode), **shape))
    inputs = Inputs(mixture.contract(**shape), tokenizer)
    rows = [(each, step) for each in prepared for step in range(13)]
    observations = [seen_at(each, step, frames=frames) for each, step in rows]
    served = inputs.batch(observations, [inputs.robot(each.name) for each, _ in rows], size=26)
    for name in ("history_mask", "proprio", "text", "embodiment"):
        np.testing.assert_array_equal(getattr(served, name), getattr(trained, name), err_msg=name)
    for role in roles:
        np.testing.assert_array_equal(served.image_mask[role], trained.image_mask[role], err_msg=role)
        np.testing.assert_array_equal(served.images[role], trained.images[role], err_msg=role)
    bars = served.images["primary"][..., 3:, :]  # 8 x 6 in 4 x 4: three columns, and a black one to the right
    assert bars.any() == (fit == "stretch")
    assert served.images["primary"].dtype == trained.images["primary"].dtype
    assert not served.image_mask["wrist"].all()
    assert served.image_mask["wrist"].any()
