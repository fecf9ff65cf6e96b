"""A PaliGemma-shaped network against transformers' (PyTorch) in one run on one machine, float32, the same random weights.

    python benchmarks/vla.py --size small --repeats 5            needs torch, transformers and rtx-robotics[weights]

Deciding: one picture of 224 pixels and 32 prompt tokens are read, 8 action tokens written, each the best of 256 ids. Ours is
one compiled program that multiplies those 256 rows of the head. Theirs twice: `generate`, and a lean loop over their own cache
with the head at one position a step; the ratio is to the faster. Training: loss of 16 answer tokens (their head at those
positions only, as ours), gradient, Adam. The answers and losses of both are compared first. Contenders take turns; the median
of the clock and of the processor is reported, and the share of the roofline: the time that the multiplications need at the
measured peak of a matrix product, and the weights of each further token at the measured speed of reading memory, over the time
taken. What both libraries need for the same bare products comes first: a program made of products cannot differ by much more.
Both use as many threads as the process may have cores. On a machine that others use too, give it one core, since
PyTorch's threads wait for each other by spinning: `taskset -c 0 python benchmarks/vla.py`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

THREADS = len(os.sched_getaffinity(0))
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

from rtx.models.vla.decoder_only import DecoderOnly, unrolled  # noqa: E402
from rtx.models.vla.gemma import GemmaConfig, gemma_2b  # noqa: E402
from rtx.models.vla.vit import ViTConfig, so400m  # noqa: E402
from rtx.models.vla.weights import paligemma  # noqa: E402

PIXELS, PROMPT, ANSWER, ACTION_TOKENS, BINS = 224, 32, 16, 8, 256
LEARNING_RATE = 1e-5
Program = Callable[[], Any]


class Size(NamedTuple):
    vision: ViTConfig
    language: GemmaConfig


SIZES = {
    "nano": Size(
        ViTConfig(patch=14, width=128, depth=4, mlp=512, heads=4),
        GemmaConfig(vocab=2048, width=192, depth=4, mlp=512, heads=4, kv_heads=1, head_dim=48, query_scale=48**-0.5),
    ),
    "small": Size(  # 144 M
        ViTConfig(patch=14, width=384, depth=6, mlp=1536, heads=6),
        GemmaConfig(vocab=32_000, width=768, depth=10, mlp=4096, heads=6, kv_heads=1, head_dim=128, query_scale=128**-0.5),
    ),
    "3b": Size(so400m(), gemma_2b()),
}


class Inputs(NamedTuple):
    pictures: np.ndarray  # uint8 [b, 1, h, w, 3]
    there: np.ndarray  # bool [b, 1]
    prompt: np.ndarray  # int32 [b, l]
    answer: np.ndarray  # int32 [b, m]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--batch", type=int, default=2, help="samples of a training step")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--part", choices=("deciding", "training", "both"), default="both")
    args = parser.parse_args()
    size = SIZES[args.size]
    net = DecoderOnly(size.vision, size.language)
    params = random_params(net)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    peak, bandwidth = measured_peak(), measured_bandwidth()
    print(f"{count / 1e6:,.0f} M parameters, float32; jax {jax.__version__} on {jax.devices()[0].platform}; {THREADS} threads")
    print(f"measured: {peak / 1e9:,.0f} GFLOP/s in a matrix product, {bandwidth / 1e9:.1f} GB/s read from memory")
    theirs = reference(params, size)
    bare_products(net, args.batch, args.repeats, Roof(peak, bandwidth))
    if args.part != "training":
        decide(net, params, theirs, args.repeats, Roof(peak, bandwidth))
    if args.part != "deciding":
        train(net, params, theirs, args.batch, args.repeats, Roof(peak, bandwidth))


def random_params(net: DecoderOnly) -> Any:
    """Nothing at zero, so that equal answers mean equal networks."""
    shapes = jax.eval_shape(net.init, jax.random.key(0), *inputs(net, 1))["params"]
    rng = np.random.default_rng(0)

    def leaf(like: Any) -> jax.Array:
        spread = 0.02 if like.shape[-1] * 3 > like.size or len(like.shape) < 3 else like.shape[-2] ** -0.5
        return jnp.asarray(rng.standard_normal(like.shape, np.float32) * spread)

    return jax.tree.map(leaf, shapes)


def inputs(net: DecoderOnly, size: int) -> Inputs:
    rng, vocab = np.random.default_rng(1), net.language.vocab
    return Inputs(
        rng.integers(0, 256, (size, 1, PIXELS, PIXELS, 3), dtype=np.uint8),
        np.ones((size, 1), bool),
        rng.integers(4, vocab, (size, PROMPT), dtype=np.int32),
        rng.integers(4, vocab, (size, ANSWER), dtype=np.int32),
    )


def reference(params: Any, size: Size) -> Any:
    """transformers' PaliGemma with these weights, through a file of its own format."""
    import torch
    import transformers

    torch.set_num_threads(THREADS)
    v, g = size
    vision = transformers.SiglipVisionConfig(
        hidden_size=v.width, intermediate_size=v.mlp, num_hidden_layers=v.depth, num_attention_heads=v.heads,
        image_size=PIXELS, patch_size=v.patch, vision_use_head=False,
    )  # fmt: skip
    text = transformers.GemmaConfig(
        vocab_size=g.vocab + paligemma.PADDING_ROWS, hidden_size=g.width, intermediate_size=g.mlp, num_hidden_layers=g.depth,
        num_attention_heads=g.heads, num_key_value_heads=g.kv_heads, head_dim=g.head_dim,
    )  # fmt: skip
    config = transformers.PaliGemmaConfig(
        vision_config=vision, text_config=text, image_token_id=g.vocab, projection_dim=g.width
    )
    with tempfile.TemporaryDirectory() as folder:
        paligemma.save_safetensors(Path(folder), params)
        config.save_pretrained(folder)
        print(f"theirs: transformers {transformers.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
        return transformers.PaliGemmaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)


def their_inputs(net: DecoderOnly, given: Inputs, *, answer: bool) -> dict[str, Any]:
    import torch

    size, tokens = len(given.prompt), net.vision.num_tokens(PIXELS, PIXELS)
    ids = np.concatenate([np.full((size, tokens), net.language.vocab), given.prompt], 1)
    types = np.zeros(ids.shape)
    if answer:
        ids = np.concatenate([ids, given.answer[:, :-1]], 1)
        types = np.concatenate([types, np.ones((size, ANSWER - 1))], 1)
    pixels = given.pictures[:, 0].transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    return {
        "input_ids": torch.from_numpy(ids).long(),
        "token_type_ids": torch.from_numpy(types).long(),
        "pixel_values": torch.from_numpy(pixels),
    }


def decide(net: DecoderOnly, params: Any, theirs: Any, repeats: int, roof: Roof) -> None:
    given, apart = inputs(net, 1), {"params": unrolled(params)}
    first = net.language.vocab - BINS  # the bins' ids end the vocabulary
    ours = our_acting(net, first, apart, jax.device_put(given[:3]))
    theirs_lean, generate = their_acting(theirs, their_inputs(net, given, answer=False), first)
    found, expected = np.asarray(ours.whole()), theirs_lean.whole().numpy()
    print(f"action tokens ours {found.tolist()}, theirs {'the same' if (found == expected).all() else expected.tolist()}")
    language, rest = work(net)
    tokens = net.vision.num_tokens(PIXELS, PIXELS)
    reading = roof.seconds(2 * (language * (tokens + PROMPT) + rest * tokens), 0)
    writing = roof.seconds(0, (ACTION_TOKENS - 1) * 4 * language)
    compare("prefill", {"ours": ours.prefill, "lean": theirs_lean.prefill}, repeats, reading)
    compare("7 more tokens", {"ours": ours.more, "lean": theirs_lean.more}, repeats, writing)
    whole = {"ours": ours.whole, "lean": theirs_lean.whole, "generate": generate}
    compare("prefill and 8 tokens", whole, repeats, reading + writing)


class Acting(NamedTuple):
    prefill: Program  # up to the first token
    more: Program  # the seven others, from a cache that was filled before
    whole: Program


def our_acting(net: DecoderOnly, first: int, variables: Any, given: tuple[jax.Array, ...]) -> Acting:
    ids = jnp.arange(first, first + BINS)

    def choose(variables: Any, hidden: jax.Array) -> jax.Array:
        return ids[jnp.argmax(net.apply(variables, hidden, ids, method="logits"), -1)].astype(jnp.int32)

    def prefill(variables: Any, given: tuple[jax.Array, ...]) -> Any:
        hidden, memory = net.apply(variables, *given, room=ACTION_TOKENS - 1, method="read")
        return choose(variables, hidden), memory

    def more(variables: Any, token: jax.Array, memory: Any) -> jax.Array:
        def step(state: Any, _: None) -> Any:
            hidden, memory = net.apply(variables, state[0][:, None], state[1], method="write")
            return (choose(variables, hidden[:, 0]), memory), state[0]

        (last, _), before = jax.lax.scan(step, (token, memory), None, length=ACTION_TOKENS - 1)
        return jnp.concatenate([before.T, last[:, None]], 1)

    reads = jax.jit(prefill).lower(variables, given).compile()
    filled = reads(variables, given)
    writes = jax.jit(more).lower(variables, *filled).compile()
    whole = jax.jit(lambda variables, given: more(variables, *prefill(variables, given))).lower(variables, given).compile()
    return Acting(partial(reads, variables, given), partial(writes, variables, *filled), partial(whole, variables, given))


def their_acting(theirs: Any, given: dict[str, Any], first: int) -> tuple[Acting, Program]:
    """A lean loop, and their `generate`."""
    import torch

    theirs.eval()
    suffix, length = torch.ones(1, 1, dtype=torch.long), given["input_ids"].shape[1]

    def choose(out: Any) -> Any:
        return out.logits[:, -1, first : first + BINS].argmax(-1, keepdim=True) + first

    @torch.inference_mode()
    def prefill() -> Any:
        out = theirs(**given, use_cache=True, logits_to_keep=1)
        return choose(out), out.past_key_values

    @torch.inference_mode()
    def more(token: Any, cache: Any) -> Any:
        if (written := cache.get_seq_length() - length) > 0:  # by the turn before
            cache.crop(-written)
        chosen = [token]
        for _ in range(ACTION_TOKENS - 1):
            out = theirs(
                input_ids=chosen[-1], token_type_ids=suffix, past_key_values=cache, use_cache=True, logits_to_keep=1
            )  # fmt: skip
            chosen.append(choose(out))
        return torch.cat(chosen, 1)

    @torch.inference_mode()
    def generate() -> Any:
        return theirs.generate(**given, max_new_tokens=ACTION_TOKENS, min_new_tokens=ACTION_TOKENS, do_sample=False)

    return Acting(prefill, partial(more, *prefill()), lambda: more(*prefill())), generate


def train(net: DecoderOnly, params: Any, theirs: Any, batch: int, repeats: int, roof: Roof) -> None:
    """Both go on from step to step; the first losses are compared."""
    import torch

    given = inputs(net, batch)
    adam = optax.adam(LEARNING_RATE)

    def loss_of(params: Any) -> jax.Array:
        hidden = net.apply({"params": params}, *given)
        logits = net.apply({"params": params}, hidden, method="logits")
        return optax.softmax_cross_entropy_with_integer_labels(logits, given.answer).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, state = adam.update(grads, state)
        return optax.apply_updates(params, updates), state, loss

    state: list[Any] = [jax.tree.map(jnp.copy, params), adam.init(params)]

    def ours() -> Any:
        *state[:], loss = step(*state)
        return loss

    theirs.train()
    optimizer = torch.optim.Adam(theirs.parameters(), lr=LEARNING_RATE, fused=True)
    of_theirs, labels = their_inputs(net, given, answer=True), torch.from_numpy(given.answer).long()

    def their_step() -> Any:
        optimizer.zero_grad()
        logits = theirs(**of_theirs, logits_to_keep=ANSWER, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1)[:, : net.language.vocab], labels.flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    programs = {"ours": ours, "theirs": their_step}
    print(f"first losses: ours {float(ours()):.5f}, theirs {their_step():.5f}")
    language, rest = work(net)
    tokens = net.vision.num_tokens(PIXELS, PIXELS)
    flops = (
        6
        * batch
        * (language * (tokens + PROMPT + ANSWER - 1) + rest * tokens + ANSWER * net.language.vocab * net.language.width)
    )
    compare(f"training step, batch {batch}", programs, repeats, roof.seconds(flops, 0))


def bare_products(net: DecoderOnly, batch: int, repeats: int, roof: Roof) -> None:
    """The first matrix of Gemma's MLP in a training step: its product, and the products of both of its gradients."""
    import torch

    d, f = net.language.width, net.language.mlp
    n = batch * (net.vision.num_tokens(PIXELS, PIXELS) + PROMPT + ANSWER - 1)
    rng = np.random.default_rng(2)
    x, gradient = (rng.standard_normal((n, width), np.float32) for width in (d, f))
    kernel = rng.standard_normal((d, f), np.float32)
    ours = [jax.device_put(a) for a in (x, gradient, kernel)]
    theirs = [torch.from_numpy(a) for a in (x, gradient, kernel.T.copy())]  # each library's own way of keeping a kernel
    all_ours = jax.jit(lambda x, gradient, kernel: (x @ kernel, gradient @ kernel.T, x.T @ gradient))

    def all_theirs() -> Any:
        x, gradient, kernel = theirs
        return x @ kernel.T, gradient @ kernel, gradient.T @ x

    programs = {"ours": partial(all_ours, *ours), "theirs": all_theirs}
    compare(f"bare products, {n} x {d} x {f}", programs, repeats, roof.seconds(6 * n * d * f, 0))


def work(net: DecoderOnly) -> tuple[int, int]:
    """Multiplications a token: of a text or picture token in Gemma, of a picture token before it. Attention is left out."""
    v, g = net.vision, net.language
    language = g.depth * g.width * ((2 * g.heads + 2 * g.kv_heads) * g.head_dim + 3 * g.mlp)
    vision = v.depth * (4 * v.width**2 + 2 * v.width * v.mlp) + v.width * (3 * v.patch**2 + g.width)
    return language, vision


class Roof(NamedTuple):
    flops: float  # per second
    bandwidth: float  # bytes per second

    def seconds(self, flops: float, num_bytes: float) -> float:
        return flops / self.flops + num_bytes / self.bandwidth


def measured_peak() -> float:
    n = 2048
    product = jax.jit(lambda x: x @ x)
    return 2 * n**3 / best(product, jnp.ones((n, n)))


def measured_bandwidth() -> float:
    """Of a sum over 400 MB, which only reads, as a step over the weights does."""
    x = jnp.ones((1000, 100_000))
    return x.nbytes / best(jax.jit(jnp.sum), x)


def best(function: Callable[..., Any], *args: Any) -> float:
    jax.block_until_ready(function(*args))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        times.append(time.perf_counter() - start)
    return min(times)


def finish(result: Any) -> None:
    """Waits for JAX; PyTorch is done when it returns."""
    jax.block_until_ready([leaf for leaf in jax.tree.leaves(result) if isinstance(leaf, jax.Array)])


def compare(title: str, programs: Mapping[str, Program], repeats: int, roof_s: float) -> None:
    clock: dict[str, list[float]] = {name: [] for name in programs}
    processor: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(repeats + 1):
        for name, program in programs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            finish(program())
            if turn:  # the first warms up
                clock[name].append(time.perf_counter() - wall)
                processor[name].append(time.process_time() - cpu)
    print(f"{title}, median of {repeats}")
    for unit, times in (("clock", clock), ("processor", processor)):
        median = {name: float(np.median(values)) for name, values in times.items()}
        fastest = min(value for name, value in median.items() if name != "ours")
        shown = ", ".join(f"{name} {value * 1e3:,.0f} ms" for name, value in median.items())
        share = "".join(f", {name} {roof_s / value:.0%}" for name, value in median.items()) if unit == "clock" else ""
        print(
            f"  {unit:9} {shown}: ours {fastest / median['ours']:.2f} times"
            + (f"; of the roofline{share[1:]}" if share else "")
        )


if __name__ == "__main__":
    main()
