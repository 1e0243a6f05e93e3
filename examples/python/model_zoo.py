# SPDX-License-Identifier: MPL-2.0
"""torchvision's video classifiers as export_model.py knows them: how to build one, its metadata, its default feature layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from preprocess import Metadata


@dataclass(frozen=True)
class ZooEntry:
    weights_enum: str
    window: int
    layer: str
    """The feature map the keyframes are weighed by. An early layer: its steps see few frames each, so the weights tell frames apart; the
    deep layers of a 3D network see the whole window in every step."""
    fixed: bool = False
    """Whether positional parameters tie the model to exactly this window and crop."""
    min_window: int = 1
    channels_last: bool = False
    """Whether the layers give [B, T, H, W, C], which the contract does not have and the wrapper turns into BCTHW."""


# The windows are the usual clip lengths; s3d's average pool fails below 13 frames, and its weights name 14 as the minimum.
ZOO = {
    "r3d_18": ZooEntry("R3D_18_Weights", 16, "stem"),
    "mc3_18": ZooEntry("MC3_18_Weights", 16, "stem"),
    "r2plus1d_18": ZooEntry("R2Plus1D_18_Weights", 16, "stem"),
    "s3d": ZooEntry("S3D_Weights", 16, "features.0", min_window=14),
    "mvit_v2_s": ZooEntry("MViT_V2_S_Weights", 16, "conv_proj", fixed=True),
    "swin3d_t": ZooEntry("Swin3D_T_Weights", 16, "patch_embed", channels_last=True),
}


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """A state dict, alone or inside the usual training checkpoints. Never unpickles code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SystemExit(f"expected weights at {path}, found no such file; give DEFAULT, none, or the path of a state_dict") from None
    except Exception as e:
        raise SystemExit(
            f"expected a state_dict in {path}, found what torch.load(weights_only=True) refuses ({str(e).splitlines()[0]}); save "
            "model.state_dict(), or build and load the model yourself and use --module"
        ) from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    return {k.removeprefix("module."): v for k, v in state.items()}


def load_into(model: torch.nn.Module, path: Path) -> None:
    try:
        model.load_state_dict(load_state(path))
    except RuntimeError as e:
        lines = str(e).splitlines()
        raise SystemExit(
            f"expected the weights of this very model in {path}, found others: {' '.join(line.strip() for line in lines[1:3])[:400]}; "
            "check the model's name and --classes"
        ) from None


def build(name: str, weights: str, classes: int | None) -> tuple[torch.nn.Module, Metadata, ZooEntry]:
    """The model in eval mode, metadata from its weights' own transforms, and its entry."""
    try:
        import torchvision.models.video as video
    except ImportError as e:
        raise SystemExit(
            f"expected torchvision for the model {name}, found none ({e}); pip install the release for torch {torch.__version__} "
            "(0.28 for torch 2.13), or use --module"
        ) from None
    entry = ZOO[name]
    default = getattr(video, entry.weights_enum).DEFAULT
    make = getattr(video, name)
    if weights == "DEFAULT":
        try:
            model = make(weights=default)
        except OSError as e:
            raise SystemExit(
                f"expected to download {default.url}, found {e}; download it on a machine with network and give --weights "
                f"{Path(default.url).name}, or take random ones with --weights none"
            ) from None
    else:
        torch.manual_seed(0)  # random weights, the same ones every time
        model = make(num_classes=classes) if classes else make()
        if weights != "none":
            load_into(model, Path(weights))
    transforms = default.transforms()
    size = list(transforms.resize_size)
    categories = list(default.meta["categories"])
    meta = Metadata(
        name=name,
        window=entry.window,
        resize=size[0] if len(size) == 1 else size,
        crop=list(transforms.crop_size) * (2 // len(transforms.crop_size)),
        mean=list(transforms.mean),
        std=list(transforms.std),
        # Random weights know none of the Kinetics classes, and other weights with another number of classes have their own.
        labels=categories if weights != "none" and classes in (None, len(categories)) else [],
    )
    return model.eval(), meta, entry
