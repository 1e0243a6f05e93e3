# SPDX-License-Identifier: MPL-2.0
"""The way of a model into an archive: features, what the element asks of it, compiling, writing, reading back."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from ..preprocess import MEMBER, Metadata
from .archive import compile_model, verify
from .contract import HALVES, gradients, has_halves, random_clip, split, warn_of_outputs, worst
from .errors import ExportError, first_line, warn
from .features import WithFeatures, describe_features
from .source import Source


@dataclass(frozen=True)
class Exported:
    """What was written, and how far what is read back from it is from the model."""

    path: Path
    meta: Metadata
    how: str
    classes: int
    layer: str
    features: list[int] | None
    agreement: dict[str, float]

    def __str__(self) -> str:
        meta, size = self.meta, self.path.stat().st_size / 1e6
        lines = [
            f"{self.path}: {self.how}, {size:.1f} MB, {self.classes} classes, {meta.window} frames, {meta.layout}",
            f"  view: resize {meta.resize}, crop {meta.crop}, mean {meta.mean}, std {meta.std}, range {meta.range}, {meta.channels}",
        ]
        if self.features:
            origin = self.layer if self.layer != "none" else "returned by the model"
            window = meta.feature_window or "no rule that tells them apart; an earlier layer has one"
            lines.append(f"  features: {origin} {self.features} as {meta.feature_layout}, frames a step: {window}")
        else:
            lines.append("  features: none; the keyframes will be weighed by the gradient at the input")
        return "\n".join([*lines, "  reloaded, relative differences: " + ", ".join(f"{k} {v:.1e}" for k, v in self.agreement.items())])


def refuse_sidecar(out: Path) -> None:
    sidecar = out.with_name(out.name + ".json")
    if sidecar.exists():
        raise ExportError(f"expected no {sidecar}, found one, which would win over the metadata inside {out.name}; move it away")


def export(
    source: Source, out: Path, layer: str | None = None, feature_layout: str | None = None, channels_last: bool = False
) -> Exported:
    """Writes the archive. `source.meta` is what the user has made of it, and gets the layout and the windows of the features."""
    refuse_sidecar(out)
    # TorchScript is deprecated upstream and is what libtorch loads; each call would say so.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        return write(source, out, source.layer if layer is None else layer, feature_layout, channels_last)


def write(source: Source, out: Path, layer: str, feature_layout: str | None, channels_last: bool) -> Exported:
    model, meta = source.model, source.meta
    if layer != "none":
        if has_halves(model):
            warn(f"--layer leaves out {' and '.join(HALVES)}: let forward return the codes as its features, and give no --layer")
        model = WithFeatures(model, layer, channels_last or (source.channels_last and layer != "patch_embed.proj"), meta.window)
    for p in model.parameters():
        p.requires_grad_(False)
    shape, classes = run_once(model, meta, feature_layout)
    if layer in source.strides:
        meta.feature_window = {"size": source.strides[layer], "stride": source.strides[layer], "start": 0}
    warn_of_outputs(model, meta)
    if meta.labels and len(meta.labels) != classes:
        raise ExportError(f"expected {classes} labels, one a logit, found {len(meta.labels)}; correct --labels or the metadata")
    module, how = compile_model(model, meta)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until it is verified, so that a file at --out is always a good one.
    part = out.with_name(out.name + ".part")
    try:
        try:
            torch.jit.save(module, str(part), _extra_files={MEMBER: meta.to_json()})
        except RuntimeError as e:
            raise ExportError(f"expected a model that TorchScript can hold, found: {first_line(e)}; replace what it names in the model") from None
        agreement = verify(part, model, meta)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return Exported(out, meta, how, classes, layer, shape, agreement)


def run_once(model: torch.nn.Module, meta: Metadata, layout: str | None) -> tuple[list[int] | None, int]:
    """Shape of the features and number of classes. What a model refuses comes as many types, and a traceback tells users nothing."""
    clip = random_clip(meta, 2)
    try:
        shape = describe_features(model, meta, layout)
        classes = gradients(model, clip)[0].shape[1]
        repeated = worst(split(model(clip.clone()))[0], split(model(clip.clone()))[0])
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, AssertionError, NotImplementedError) as e:
        raise ExportError(
            f"expected the model to take {list(clip.shape)} ({meta.layout}, {meta.window} frames of {meta.crop[0]}x{meta.crop[1]}), found "
            f"{type(e).__name__}: {first_line(e)}; give the right --window, --crop and --layout, or wrap the model so that it takes one such clip"
        ) from None
    if not repeated <= 1e-4:
        raise ExportError(
            f"expected two passes over one clip to give the same logits, found a difference of {repeated:.2g}; the model is random (dropout that "
            "ignores .eval()) or has a memory: take that out"
        )
    return shape, classes
