# SPDX-License-Identifier: MPL-2.0
"""torchvision's video classifiers as export_model.py knows them: how to build one, its metadata, its default feature layer."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
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
    strides: dict[str, int] = field(default_factory=dict)
    """Frames that a step of a layer stands for, where those that it sees would not tell frames apart."""


# The windows are the usual clip lengths; s3d's average pool fails below 13 frames, and its weights name 14 as the minimum.
ZOO = {
    "r3d_18": ZooEntry("R3D_18_Weights", 16, "stem"),
    "mc3_18": ZooEntry("MC3_18_Weights", 16, "stem"),
    "r2plus1d_18": ZooEntry("R2Plus1D_18_Weights", 16, "stem"),
    "s3d": ZooEntry("S3D_Weights", 16, "features.0", min_window=14),
    "mvit_v2_s": ZooEntry("MViT_V2_S_Weights", 16, "conv_proj", fixed=True),
    "swin3d_t": ZooEntry("Swin3D_T_Weights", 16, "patch_embed", channels_last=True),
}


def load_file(path: Path) -> dict[str, object]:
    """What a checkpoint holds. Never unpickles code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SystemExit(f"expected weights at {path}, found no such file; give DEFAULT, none, or the path of a state_dict") from None
    except Exception as e:
        why = re.sub(r"\x1b\[\d*m", "", str(e)).splitlines()[0] if str(e) else type(e).__name__
        if "Weights only load failed" in why:
            why = "it pickles a whole module or other Python objects"
        raise SystemExit(
            f"expected a state_dict in {path}, found what torch.load(weights_only=True) refuses ({why}); save model.state_dict(), or build and load "
            "the model yourself and use --module"
        ) from None
    if not isinstance(state, dict):
        raise SystemExit(f"expected a state_dict in {path}, found a {type(state).__name__}; save model.state_dict()")
    return state


def state_of(state: dict[str, object], path: Path) -> dict[str, torch.Tensor]:
    """The state dict of a checkpoint, alone or inside the usual ones of training."""
    for _ in range(3):  # a checkpoint within a checkpoint
        inner = next((state[k] for k in STATE_KEYS if isinstance(state.get(k), dict)), None)
        if inner is None:
            break
        state = inner
    tensors = {k: v for k, v in state.items() if torch.is_tensor(v)}
    if not tensors:
        raise SystemExit(
            f"expected weights in {path}, found a checkpoint with {', '.join(map(str, list(state)[:8])) or 'nothing'}; save model.state_dict()"
        )
    return tensors


# Where training frameworks keep the weights: Lightning and mmaction, PyTorch's examples, SlowFast, timm and others.
STATE_KEYS = ("state_dict", "model_state_dict", "model_state", "state_dict_ema", "model_ema", "model", "module", "net", "network", "weights")
# What wrappers put in front of the names: DataParallel, torch.compile, Lightning modules.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")


def fit_names(state: dict[str, torch.Tensor], wanted: set[str]) -> dict[str, torch.Tensor]:
    """The state with the wrappers' prefixes taken off, as far as that makes its names the model's."""
    for _ in range(4):
        if wanted <= set(state):
            break
        prefix = next((p for p in PREFIXES if state and any(k.startswith(p) for k in state) and better(state, p, wanted)), None)
        if prefix is None:
            break
        # A Lightning module holds its loss and metrics beside the model: what lies outside the prefix is not the model's.
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    missing = {p for p in ("model.", "module.", "net.") if {p + k for k in state} == wanted}
    return {p + k: v for p in missing for k, v in state.items()} or state


def better(state: dict[str, torch.Tensor], prefix: str, wanted: set[str]) -> bool:
    """Whether names without the prefix are the model's, or may be once another prefix is off."""
    bare = {k.removeprefix(prefix) for k in state if k.startswith(prefix)}
    return len(bare & wanted) > len(set(state) & wanted) or (
        not set(state) & wanted and any(k.startswith(p) for k in bare for p in PREFIXES)
    )


def load_into(model: torch.nn.Module, path: Path, file: dict[str, object] | None = None) -> None:
    """Loads the weights at the path, or of the file that was read from there before."""
    wanted = set(model.state_dict())
    state = state_of(load_file(path) if file is None else file, path)
    try:
        model.load_state_dict(fit_names(state, wanted))
    except RuntimeError as e:
        lines = [line.strip() for line in str(e).splitlines()[1:]]
        shown = "; ".join(line if len(line) <= 160 else line[:160].rsplit(",", 1)[0] + ", ..." for line in lines[:2])
        raise SystemExit(
            f"expected the weights of this very model in {path}, found others: {shown}. The file's names begin {', '.join(list(state)[:3])}, "
            f"the model's {', '.join(sorted(wanted)[:3])}; check the model's name and --classes, or load the weights yourself in --module"
        ) from None


def torchvision_release() -> str:
    """What pip is to install: the releases go in pairs, 0.28 with torch 2.13."""
    version = torch.__version__.partition("+")[0].split(".")
    return f"'torchvision==0.{int(version[1]) + 15}.{version[2]}'" if version[0] == "2" else "torchvision"


def build(name: str, weights: str, classes: int | None) -> tuple[torch.nn.Module, Metadata, ZooEntry]:
    """The model in eval mode, metadata from its weights' own transforms, and its entry."""
    try:
        import torchvision.models.video as video
    except (ImportError, RuntimeError) as e:  # a release for another torch is found and does not load
        raise SystemExit(
            f"expected torchvision for the model {name}, found none ({e}); run {sys.executable} -m pip install {torchvision_release()}, or use "
            "--module"
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
