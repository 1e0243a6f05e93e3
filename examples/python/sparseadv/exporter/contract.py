# SPDX-License-Identifier: MPL-2.0
"""What the element asks of a model: logits, gradients at the input and the features, and two halves where it has them."""

from __future__ import annotations

import torch

from ..preprocess import Metadata
from .errors import ExportError, warn

HALVES = ("encode_frames", "classify_features")


def split(out: object) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits and features of what a model of the contract returned."""
    first, second = (out[0], out[1]) if isinstance(out, (tuple, list)) and len(out) >= 2 else (out, None)
    if not torch.is_tensor(first) or first.dim() != 2:
        found = f"a tensor {list(first.shape)}" if torch.is_tensor(first) else f"a {type(first).__name__}"
        raise ExportError(
            f"expected forward to return logits [B, K] or (logits, features), found {found} first; wrap the model so that it does"
        )
    return first, second


def random_clip(meta: Metadata, seed: int) -> torch.Tensor:
    t, (h, w) = meta.window, meta.crop
    shape = (1, 3, t, h, w) if meta.layout == "BCTHW" else (1, t, 3, h, w)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.5


def has_halves(model: torch.nn.Module) -> bool:
    """Whether it encodes frame by frame: then the element encodes only the frames that it changes."""
    return all(callable(getattr(model, name, None)) for name in HALVES)


def frames_of(clip: torch.Tensor, meta: Metadata) -> torch.Tensor:
    """The frames of a clip, [T, 3, H, W]."""
    return (clip.transpose(1, 2) if meta.layout == "BCTHW" else clip)[0].contiguous()


def gradients(model: torch.nn.Module, clip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Logits, gradient of the winning one at the input, and at the features."""
    clip = clip.clone().requires_grad_()
    # The element runs with the executor's optimization off as well: no slow second call.
    with torch.jit.optimized_execution(False):
        # A copy, as the element gives one to models that write into their input.
        logits, features = split(model(clip.clone()))
        if not logits.requires_grad:
            raise ExportError(
                "expected logits with a gradient, found none; the model blocks it (no_grad, detach, argmax, integers): remove that"
            )
        wanted = [clip] if features is None else [clip, features]
        found = torch.autograd.grad(logits[0].max(), wanted, allow_unused=True)
    if found[0] is None:
        raise ExportError("expected a gradient at the input, found none; the model detaches its input: remove that")
    if features is not None and found[1] is None:
        raise ExportError(
            "expected the features to lie on the path to the logits, found no gradient there; return the tensor that the next layer takes, "
            "not a copy or a reshape made beside it, or let --layer pick a submodule's output"
        )
    return logits.detach(), found[0], found[1] if features is not None else None


def warn_of_outputs(model: torch.nn.Module, meta: Metadata) -> None:
    """What the plugin says when it loads the model, said before it is exported."""
    outputs = [split(model(random_clip(meta, seed)))[0][0].detach() for seed in (5, 6, 7)]
    sums = all(float(z.min()) >= 0 and abs(float(z.sum()) - 1) < 2e-3 for z in outputs)
    if sums or all(0 <= float(z.min()) and float(z.max()) <= 1 for z in outputs):
        what = "sum to 1, as probabilities (softmax) do" if sums else "stay between 0 and 1, as probabilities (sigmoid) do"
        warn(f"the model's outputs {what}, where logits are expected: gradients vanish where it is sure. Take the softmax or sigmoid out of its end")


def worst(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference relative to the largest value."""
    return float((a - b).abs().max() / max(float(a.abs().max()), 1e-12))
