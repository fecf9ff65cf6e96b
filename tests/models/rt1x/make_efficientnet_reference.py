"""Writes efficientnet_reference.npz: what the EfficientNet-B3 of `transformers` (PyTorch) makes of one picture.

    python -m tests.models.rt1x.make_efficientnet_reference        with torch==2.13.0 and transformers==5.23.0

Both grids: `depthwise_padding=[5, 18]` is the Keras network for 300 px, which pads as "same" does; without it every strided
layer pads k/2-1 before and k/2 after. In batch statistics of the picture itself ("train") and in given ones ("eval").
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import EfficientNetConfig, EfficientNetModel

from tests.models.rt1x.efficientnet_weights import leaf, picture

CHANNELS = slice(0, 1536, 48)  # 32 of 1,536 are kept
_NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}


def our_name(name: str) -> str:
    """`encoder.blocks.2.expansion.expand_bn.weight` -> `MBConvBlock_2/batch_normalization_0/scale`."""
    *parts, last = name.split(".")
    if parts[0] == "embeddings" or parts[1].startswith("top"):
        root = "Stem_0" if parts[0] == "embeddings" else "Head_0"
        return f"{root}/conv2d/kernel" if "conv" in parts[-1] else f"{root}/batch_normalization/{_NORM[last]}"
    number, module = int(parts[2]), parts[-1]
    block, shift = f"MBConvBlock_{number}", 0 if number > 1 else 1  # the first two blocks do not expand
    norms = {"expand_bn": 0, "depthwise_norm": 1 - shift, "project_bn": 2 - shift}
    if module in norms:
        return f"{block}/batch_normalization_{norms[module]}/{_NORM[last]}"
    if parts[3] == "squeeze_excite":
        return f"{block}/SqueezeExcite_0/{module}_conv2d_0/{'kernel' if last == 'weight' else 'bias'}"
    convolutions = {"expand_conv": "expand_conv2d_0/kernel", "project_conv": "project_conv2d_0/kernel"}
    return f"{block}/{convolutions.get(module, 'depthwise_conv2d/depthwise_kernel')}"


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    state = {}
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = value
            continue
        path, shape = our_name(name), tuple(value.shape)
        if len(shape) == 4:  # [out, in, h, w] there, [h, w, in, out] here; depthwise [c, 1, h, w] there, [h, w, c, 1] here
            order = (2, 3, 0, 1) if path.endswith("depthwise_kernel") else (2, 3, 1, 0)
            ours = leaf(path, tuple(shape[i] for i in order))
            state[name] = torch.from_numpy(np.ascontiguousarray(ours.transpose(np.argsort(order))))
        else:
            state[name] = torch.from_numpy(leaf(path, shape))
    return state


def main() -> None:
    found, pixels = {}, torch.from_numpy(picture().transpose(0, 3, 1, 2).copy())
    for grid, padding in (("same", [5, 18]), ("tf", [])):
        config = EfficientNetConfig(
            image_size=300, width_coefficient=1.2, depth_coefficient=1.4, hidden_dim=1536, depthwise_padding=padding,
            drop_connect_rate=0.0,
        )  # fmt: skip
        model = EfficientNetModel(config)
        model.load_state_dict(weights(model))
        with torch.no_grad():
            for mode in ("eval", "train"):  # in this order: training moves the statistics
                out = model.train(mode == "train")(pixels).last_hidden_state
                found[f"{grid}_{mode}"] = out[0].permute(1, 2, 0)[..., CHANNELS].numpy()
                print(grid, mode, tuple(out.shape), f"std {out.std():.3g} max {out.abs().max():.3g}")
    np.savez_compressed(Path(__file__).with_name("efficientnet_reference.npz"), **found)


if __name__ == "__main__":
    main()
