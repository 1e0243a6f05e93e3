# SPDX-License-Identifier: MPL-2.0
"""torchvision's video classifiers by name: the view of their weights, and the layer that weighs keyframes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from ..preprocess import Metadata
from .checkpoint import load_into
from .errors import ExportError
from .source import Source

# The usual clip lengths; s3d's average pool fails below 13 frames, and its weights name 14 as the minimum.
WINDOW = 16
# The enumeration of the weights, and what Source has fields for.
ZOO: dict[str, tuple[str, dict[str, Any]]] = {
    "r3d_18": ("R3D_18_Weights", {"layer": "stem"}),
    "mc3_18": ("MC3_18_Weights", {"layer": "stem"}),
    "r2plus1d_18": ("R2Plus1D_18_Weights", {"layer": "stem"}),
    "s3d": ("S3D_Weights", {"layer": "features.0", "min_window": 14}),
    "mvit_v2_s": ("MViT_V2_S_Weights", {"layer": "conv_proj", "fixed": True}),
    "swin3d_t": ("Swin3D_T_Weights", {"layer": "patch_embed", "channels_last": True}),
}


def torchvision_release() -> str:
    """What pip is to install: the releases go in pairs, 0.28 with torch 2.13."""
    version = torch.__version__.partition("+")[0].split(".")
    return f"'torchvision==0.{int(version[1]) + 15}.{version[2]}'" if version[0] == "2" else "torchvision"


def build(name: str, weights: str, classes: int | None, prefix: str | None = None) -> Source:
    """The model, with metadata from its weights' own transforms."""
    try:
        import torchvision.models.video as video
    except (ImportError, RuntimeError) as e:  # a release for another torch is found and does not load
        raise ExportError(
            f"expected torchvision for the model {name}, found none ({e}); run {sys.executable} -m pip install {torchvision_release()}, or use "
            "--module"
        ) from None
    enumeration, known = ZOO[name]
    default = getattr(video, enumeration).DEFAULT
    make = getattr(video, name)
    if weights == "DEFAULT":
        try:
            model = make(weights=default)
        except OSError as e:
            raise ExportError(
                f"expected to download {default.url}, found {e}; download it on a machine with network and give --weights "
                f"{Path(default.url).name}, or take random ones with --weights none"
            ) from None
    else:
        torch.manual_seed(0)  # random weights, the same ones every time
        model = make(num_classes=classes) if classes else make()
        if weights != "none":
            load_into(model, Path(weights), prefix=prefix)
    transforms = default.transforms()
    size = list(transforms.resize_size)
    categories = list(default.meta["categories"])
    meta = Metadata(
        name=name,
        window=WINDOW,
        resize=size[0] if len(size) == 1 else size,
        crop=list(transforms.crop_size) * (2 // len(transforms.crop_size)),
        mean=list(transforms.mean),
        std=list(transforms.std),
        # Random weights know none of the Kinetics classes, and other weights with another number of classes have their own.
        labels=categories if weights != "none" and classes in (None, len(categories)) else [],
    )
    return Source(model.eval(), meta, **known)
