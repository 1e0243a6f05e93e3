# SPDX-License-Identifier: MPL-2.0
"""PyTorchVideo's classifiers by name, with the view that its model zoo was trained for. Among them is SlowFast, with two pathways."""

from __future__ import annotations

from pathlib import Path

import torch

from ..preprocess import Metadata
from .checkpoint import load_into
from .errors import ExportError
from .inputs import TwoPathways
from .source import Source

# Frames of a window, frames of the stream from one to the next, and the side of the crop.
ARCHS = {
    "slow_r50": (8, 8, 256),
    "c2d_r50": (8, 8, 256),
    "i3d_r50": (8, 8, 256),
    "csn_r101": (32, 2, 256),
    "r2plus1d_r50": (16, 4, 256),
    "slowfast_r50": (32, 2, 256),
    "slowfast_r101": (32, 2, 256),
    "slowfast_16x8_r101_50_50": (64, 2, 256),
    "x3d_xs": (4, 12, 182),
    "x3d_s": (13, 6, 182),
    "x3d_m": (16, 5, 256),
    "x3d_l": (16, 5, 312),
    "mvit_base_16x4": (16, 4, 224),
    "mvit_base_32x3": (32, 3, 224),
}
ALPHA = 4  # of every published SlowFast


def build(arch: str | None, weights: str, classes: int | None, prefix: str | None = None) -> Source:
    if arch not in ARCHS:
        raise ExportError(f"expected --arch among {', '.join(ARCHS)} for pytorchvideo, found {arch or 'none'}; give one of these")
    try:
        from pytorchvideo.layers.swish import Swish
        from pytorchvideo.models import hub
    except ImportError as e:
        raise ExportError(f"expected the package pytorchvideo for {arch}, found none ({e}); pip install pytorchvideo") from None
    if weights == "DEFAULT":
        raise ExportError(f"expected --weights FILE for {arch}, found none; download a checkpoint, or take random weights with --weights none")
    torch.manual_seed(0)
    number = {"head_num_classes" if arch.startswith("mvit") else "model_num_class": classes} if classes else {}
    model = getattr(hub, arch)(pretrained=False, **number)
    if weights != "none":
        load_into(model, Path(weights), prefix=prefix)
    for module in list(model.modules()):
        # X3D's head ends in a softmax, and the contract asks for logits.
        if hasattr(module, "activation") and hasattr(module, "proj"):
            module.activation = None
        # X3D's swish is a function of Python's, which no archive can hold.
        for name, child in module.named_children():
            if isinstance(child, Swish):
                setattr(module, name, torch.nn.SiLU())
    window, step, side = ARCHS[arch]
    meta = Metadata(
        name=arch, window=window, frame_step=step, resize=side, crop=[side, side], mean=[0.45] * 3, std=[0.225] * 3
    )
    # Each pathway's own layers see that pathway alone, so the gradient at the input weighs the frames of SlowFast.
    two = arch.startswith("slowfast")
    layer = "none" if two else "patch_embed.patch_model" if arch.startswith("mvit") else "blocks.0"
    return Source((TwoPathways(model, ALPHA) if two else model).eval(), meta, layer=layer, fixed=arch.startswith("mvit"))
