# SPDX-License-Identifier: MPL-2.0
"""The feature map that keyframes are weighed by: the output of a submodule, and which frames each of its steps sees."""

from __future__ import annotations

import torch

from ..preprocess import Metadata
from .contract import random_clip, split
from .errors import ExportError

TIME_AXIS = {"BCTHW": 2, "BTCHW": 1, "BTD": 1}


class WithFeatures(torch.nn.Module):
    """Returns (logits, features) of a model that returns logits, by a hook on one submodule.

    The hook hands the very tensor it stores on to the rest of the model: a copy beside the path to the logits would have no gradient.
    """

    def __init__(self, model: torch.nn.Module, layer: str, channels_last: bool, window: int) -> None:
        super().__init__()
        self.model = model
        self.window = window
        self.layout: str | None = None  # of the features, known after a forward
        self.captured: list[torch.Tensor] = []
        names = dict(model.named_modules())
        if layer not in names:
            children = ", ".join(n for n in names if n and n.count(".") < 2)
            raise ExportError(f"expected --layer to name a submodule, found {layer!r}; there are {children}")
        self.layer, self.channels_last = layer, channels_last
        names[layer].register_forward_hook(self.capture)

    def capture(self, _module: torch.nn.Module, _args: object, out: object) -> torch.Tensor:
        # A network run on every frame by itself gives [B*T, C, H, W] or [B*T, D], and B is 1.
        per_frame = torch.is_tensor(out) and out.dim() in (2, 4) and out.shape[0] == self.window > 1
        if not torch.is_tensor(out) or not (per_frame or out.dim() in (3, 5)):
            found = f"a tensor {list(out.shape)}" if torch.is_tensor(out) else f"a {type(out).__name__}"
            raise ExportError(
                f"expected the output of layer {self.layer!r} to be a tensor with a time axis: 5 axes, 3 as [B, T, D], or one item a frame; "
                f"found {found}; name another layer, one before tokens are flattened (torchvision: conv_proj of mvit_v2_s, patch_embed of swin3d_t)"
            )
        if per_frame:
            self.layout = "BTCHW" if out.dim() == 4 else "BTD"
            features = out.unflatten(0, (1, self.window))
            self.captured.append(features)
            return features.flatten(0, 1)
        self.layout = "BCTHW" if out.dim() == 5 else "BTD"
        if not self.channels_last or out.dim() == 3:
            self.captured.append(out)
            return out
        features = out.permute(0, 4, 1, 2, 3)  # BTHWC -> BCTHW
        self.captured.append(features)
        return features.permute(0, 2, 3, 4, 1)

    def forward(self, clip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.captured.clear()
        logits = self.model(clip)
        if len(self.captured) != 1:
            raise ExportError(
                f"expected layer {self.layer!r} to run once a forward, found {len(self.captured)} times; name a layer that sees the whole clip"
            )
        return logits, self.captured.pop()


def describe_features(model: torch.nn.Module, meta: Metadata, layout: str | None) -> list[int] | None:
    """Sets feature_layout, and feature_window where measuring finds a regular one. Returns the features' shape."""
    clip = random_clip(meta, 3).requires_grad_()
    features = split(model(clip.clone()))[1]
    if features is None:
        meta.feature_layout = meta.feature_window = None
        return None
    if features.dim() not in (3, 5):
        raise ExportError(f"expected features with 5 axes, or 3 as [B, T', D], found {list(features.shape)}; return another layer's output")
    captured = model.layout if isinstance(model, WithFeatures) else None
    meta.feature_layout = layout or captured or meta.feature_layout or ("BCTHW" if features.dim() == 5 else "BTD")
    if (meta.feature_layout == "BTD") != (features.dim() == 3):
        raise ExportError(
            f"expected {features.dim()} axes in --feature-layout, found {meta.feature_layout} for features {list(features.shape)}"
        )
    axis = TIME_AXIS[meta.feature_layout]
    steps = features.shape[axis]
    if steps > meta.window:
        raise ExportError(
            f"expected at most {meta.window} steps on the time axis of the features {list(features.shape)} read as {meta.feature_layout}, "
            f"found {steps}; give the right --feature-layout, or --layer-channels-last for [B, T, H, W, C]"
        )
    if steps == 1:
        raise ExportError(
            f"expected features with a time axis, found {list(features.shape)} with one step, which weighs every frame alike; name an earlier --layer"
        )
    meta.feature_window = measure_window(clip, features, axis, meta)
    return list(features.shape)


def measure_window(clip: torch.Tensor, features: torch.Tensor, axis: int, meta: Metadata) -> dict[str, int] | None:
    """Which frames each feature step depends on, as size, stride and start; None where no useful rule fits: attention, recurrence, and deep
    convolutions, each step of which sees the whole window."""
    time = 2 if meta.layout == "BCTHW" else 1
    others = [a for a in range(5) if a != time]
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(4))
    spans = []
    for j in range(features.shape[axis]):
        step = (features * weights).select(axis, j).sum()
        (grad,) = torch.autograd.grad(step, clip, retain_graph=True)
        seen = grad.abs().sum(others).nonzero().flatten()
        if len(seen) == 0:
            return None
        spans.append((int(seen[0]), int(seen[-1]) + 1))
    t = clip.shape[time]
    if all(span == (0, t) for span in spans):
        return None  # every step sees every frame: by this rule all frames would weigh the same
    stride = max(round(t / len(spans)), 1)
    # The window's edges hide the ends of the outer steps: every rule that fits what is left is tried, the smallest first.
    for size in range(1, 2 * t + 1):
        for start in range(-size + 1, stride + 1):
            rule = [(max(start + j * stride, 0), min(start + j * stride + size, t)) for j in range(len(spans))]
            if rule == spans:
                return {"size": size, "stride": stride, "start": start}
    return None
