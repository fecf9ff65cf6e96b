"""Every number of a vision-language-action model in one frozen object, nested as the network is, and small presets.

    VLAConfig
      |-- vision: ViTConfig
      |-- language: GemmaConfig      PaliGemmaConfig, decoder-only: [pictures | prompt | answer] in one prefix-LM
      `-- language: T5Config         PaLIConfig, encoder-decoder: [pictures | prompt] are read, the answer is written

An answer is [plan] + action tokens + EOS for a robot, and text + EOS for a question. Ids 0 (padding) and 1 (EOS) mean the
same in every vocabulary these models come with.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from rtx.embodiment import CAMERA_ROLES
from rtx.errors import UserError
from rtx.models.remat import REMATS, Remat
from rtx.models.vla.fast import Merges, symbol_limit
from rtx.models.vla.gemma import GemmaConfig
from rtx.models.vla.t5 import T5Config
from rtx.models.vla.vit import ViTConfig

PADDING, EOS = 0, 1

Head = Literal["tokens", "parallel", "l1", "diffusion", "flow"]
BinChoice = Literal["likeliest", "mean"]
_CHOICES = {
    "bins": ("uniform", "quantile", "fast"),
    "head": ("tokens", "parallel", "l1", "diffusion", "flow"),
    "bin_choice": ("likeliest", "mean"),
    "compute_dtype": ("float32", "bfloat16"),
    "remat": REMATS,
}


@dataclass(frozen=True, kw_only=True)
class VLAConfig:
    """Fields in the order of the data's way through the network. The first group must agree with the batches."""

    roles: tuple[str, ...] = ("primary",)
    history: int = 1  # frames t; RT-2 sees one, RT-2-X two
    chunk: int = 1  # actions k written at once
    image_size: tuple[int, int] = (224, 224)  # (height, width) of the pictures as they are fed
    action_dims: int = 8  # of the mixture; 8 = `CANONICAL_ARM`
    proprio_dims: int = 0  # of the newest state, written into the prompt as bins; 0 = the model does not see it
    text_length: int = 32  # ids of a prompt, at most
    answer_length: int = 32  # ids of `Batch.target`, at most: an answer with its EOS, or a plan with its "Action:"

    vision: ViTConfig
    language: GemmaConfig | T5Config
    compute_dtype: Literal["float32", "bfloat16"] = "float32"  # softmax, norms and loss are float32 always
    remat: Remat = "dots"  # what the backward pass keeps of a layer, and does not compute again: `rtx.models.remat`

    num_bins: int = 256  # of an action dimension; with bins="fast" all tokens there are, symbols and merges
    bins: Literal["uniform", "quantile", "fast"] = "uniform"  # "fast": a chunk as frequencies, in as few tokens as it needs
    bin_values: tuple[tuple[float, ...], ...] = ()  # of quantile bins, [a][num_bins] in model space: `quantile_values` of data
    fast_scale: float = 10.0  # of FAST: steps of a coefficient per unit of model space
    merges: Merges = ()  # of FAST: pairs of tokens that are joined, `fit_merges` of data
    terminate: int | None = 7  # the action dimension that ends an episode, said first and in two bins; none = there is none
    action_ids: tuple[int, ...] = ()  # the bins' ids in order of value; () = the last `num_bins` of the vocabulary
    head: Head = "tokens"  # "parallel": all action tokens in one pass; the others: numbers from hidden states (`heads/`)
    head_width: int = 256  # of the hidden layers of "l1", "diffusion" and "flow"
    bin_choice: BinChoice = "likeliest"  # which bin is said: the likeliest, or the one nearest to the mean over all of them

    plan: bool = False  # write a plan before the action
    plan_end: tuple[int, ...] = ()  # ids of the words that end a plan ("Action:"); a plan is `answer_length` ids at most
    plan_steps: int = 1  # control steps that a plan is kept for when acting in a session
    plan_lasting: tuple[int, ...] = ()  # ids of the words that end the part kept ("MOVE REASONING:"); () = all of it is

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise UserError("vision-language-action config: " + "; ".join(problems))

    @property
    def bin_ids(self) -> tuple[int, ...]:
        """`action_ids`, or what () stands for."""
        return self.action_ids or tuple(range(self.language.vocab - self.num_bins, self.language.vocab))

    @property
    def num_pictures(self) -> int:
        """Pictures of a sample: history x roles, oldest frame first."""
        return self.history * len(self.roles)

    @property
    def says_actions(self) -> bool:
        """Whether actions are tokens, one after another or all at once; else a head makes numbers."""
        return self.head in ("tokens", "parallel")

    @property
    def num_action_tokens(self) -> int:
        """n = k a; of FAST the most there can be."""
        return self.chunk * self.action_dims

    @property
    def num_fast_tokens(self) -> int:
        """Symbols and merges: so many of `bin_ids` are used."""
        return 2 * symbol_limit(self.chunk, self.fast_scale) + 1 + len(self.merges)

    @property
    def target_length(self) -> int:
        """Widest `Batch.target` the model is given: FAST's tokens and their EOS are written there, behind a plan if any."""
        if self.bins != "fast":
            return self.answer_length
        said = self.num_action_tokens + 1
        return self.answer_length + said if self.plan else max(self.answer_length, said)

    def _problems(self) -> list[str]:
        at_least = {
            "history": 1, "chunk": 1, "action_dims": 1, "proprio_dims": 0, "text_length": 1, "answer_length": 1, "num_bins": 2,
            "plan_steps": 1, "head_width": 1,
        }  # fmt: skip
        problems = [f"{n} {getattr(self, n)} must be at least {low}" for n, low in at_least.items() if getattr(self, n) < low]
        if not self.roles or len(set(self.roles)) != len(self.roles) or set(self.roles) - set(CAMERA_ROLES):
            problems.append(f"roles {self.roles} must be distinct cameras out of {', '.join(CAMERA_ROLES)}")
        if self.terminate is not None and not 0 <= self.terminate < self.action_dims:
            problems.append(f"terminate {self.terminate} is no dimension of action_dims {self.action_dims}; or set it to none")
        if self.bins != "quantile" and self.bin_values:
            problems.append(f"bin_values are given but bins is {self.bins!r}; set bins='quantile'")
        patch = self.vision.patch
        if any(side < 1 or side % patch for side in self.image_size):
            problems.append(f"image_size {self.image_size} must be multiples of vision.patch {patch}")
        problems += [
            f"{n} {getattr(self, n)!r} must be one of {', '.join(choices)}"
            for n, choices in _CHOICES.items()
            if getattr(self, n) not in choices
        ]
        if self.bin_choice == "mean" and (self.plan or self.bins == "fast" or not self.says_actions):
            problems.append("bin_choice='mean' is for actions in bins, without a plan: words and FAST's tokens have no mean")
        return problems + self._part_problems() + self._id_problems() + self._plan_problems() + self._fast_problems()

    def _part_problems(self) -> list[str]:
        """Of the parts as they are now: single leaves of a frozen tree may have been set since it was built."""
        problems = []
        for name in ("vision", "language"):
            try:
                dataclasses.replace(getattr(self, name))
            except UserError as error:
                problems.append(f"{name}: {error}")
        return problems

    def _id_problems(self) -> list[str]:
        ids, vocab = self.action_ids, self.language.vocab
        if not ids:
            fits = self.num_bins <= vocab - 2
            return [] if fits else [f"num_bins {self.num_bins} leaves no ids for text in a vocabulary of {vocab}"]
        problems = []
        if len(ids) != self.num_bins or len(set(ids)) != len(ids):
            problems.append(f"action_ids has {len(set(ids))} distinct ids, expected num_bins = {self.num_bins}")
        if bad := [i for i in ids if not EOS < i < vocab]:
            problems.append(f"action_ids {bad[:5]} must lie between {EOS + 1} and {vocab - 1}")
        return problems

    def _plan_problems(self) -> list[str]:
        if self.plan and not 0 < len(self.plan_end) < self.answer_length:
            return [
                f"plan needs plan_end: 1..{self.answer_length - 1} ids of the words that end a plan, got {self.plan_end} "
                "(the tokenizer's for 'Action:')"
            ]
        if self.plan and self.head != "tokens":
            return [f"plan needs head='tokens', got {self.head!r}: a plan is written token by token"]
        if bad := [i for i in (*self.plan_end, *self.plan_lasting) if not EOS < i < self.language.vocab]:
            return [f"plan_end and plan_lasting {bad} must lie between {EOS + 1} and {self.language.vocab - 1}"]
        return []

    def _fast_problems(self) -> list[str]:
        if self.bins != "fast":
            return [f"merges are given but bins is {self.bins!r}; set bins='fast'"] if self.merges else []
        if self.head != "tokens":
            return [f"bins='fast' needs head='tokens', got {self.head!r}: how many tokens there are follows from the tokens"]
        if not 0 < self.fast_scale < math.inf:
            return [f"fast_scale {self.fast_scale} must be above 0"]
        if self.chunk > 0 and (needed := self.num_fast_tokens) > self.num_bins:
            return [f"num_bins {self.num_bins} must be at least {needed}: FAST's symbols at this chunk and scale, and merges"]
        return []


@dataclass(frozen=True, kw_only=True)
class PaliGemmaConfig(VLAConfig):
    """Decoder-only: ViT and Gemma, as PaliGemma 1 and 2; stands in for RT-2-PaLM-E."""

    language: GemmaConfig


@dataclass(frozen=True, kw_only=True)
class PaLIConfig(VLAConfig):
    """Encoder-decoder: ViT and T5 or UL2, as PaLI-X."""

    language: T5Config


def _nano_vit() -> ViTConfig:
    return ViTConfig(patch=16, width=128, depth=4, mlp=512, heads=4)


def _small_vit() -> ViTConfig:
    return ViTConfig(patch=16, width=384, depth=6, mlp=1536, heads=6)


def nano_paligemma() -> PaliGemmaConfig:
    """About 3 million parameters: tests and laptops. 64 tokens a picture at 128 pixels."""
    return PaliGemmaConfig(
        image_size=(128, 128),
        vision=_nano_vit(),
        language=GemmaConfig(
            vocab=2048, width=192, depth=4, mlp=512, heads=4, kv_heads=1, head_dim=48, query_scale=48**-0.5
        ),
    )  # fmt: skip


def small_paligemma() -> PaliGemmaConfig:
    """About 30 million parameters."""
    return PaliGemmaConfig(
        image_size=(128, 128),
        vision=_small_vit(),
        language=GemmaConfig(
            vocab=4096, width=384, depth=8, mlp=1536, heads=6, kv_heads=2, head_dim=64, query_scale=64**-0.5
        ),
    )  # fmt: skip


def nano_pali() -> PaLIConfig:
    """About 3 million parameters."""
    return PaLIConfig(
        image_size=(128, 128),
        vision=_nano_vit(),
        language=T5Config(vocab=2048, width=160, mlp=448, heads=4, head_dim=40, encoder_depth=2, decoder_depth=2),
    )


def small_pali() -> PaLIConfig:
    """About 30 million parameters."""
    return PaLIConfig(
        image_size=(128, 128),
        vision=_small_vit(),
        language=T5Config(vocab=4096, width=384, mlp=1024, heads=6, head_dim=64, encoder_depth=5, decoder_depth=4),
    )
