# SPDX-License-Identifier: MPL-2.0
"""The archive: compiled, written under another name, read back, compared with the model it was made from."""

from __future__ import annotations

from pathlib import Path

import torch

from ..preprocess import MEMBER, Metadata, read_metadata
from .contract import HALVES, frames_of, gradients, has_halves, random_clip, split, worst
from .errors import ExportError, first_line
from .features import WithFeatures

TOLERANCE = 1e-5  # relative to the largest value compared


def compile_model(model: torch.nn.Module, meta: Metadata) -> tuple[torch.jit.ScriptModule, str]:
    """Scripted where possible (keeps control flow); traced where scripting fails, and always with a hooked layer, which scripts can't have."""
    if not isinstance(model, WithFeatures):
        if has_halves(model):
            for name in HALVES:
                torch.jit.export(getattr(type(model), name))
        try:
            return torch.jit.script(model), "scripted"
        except Exception as e:  # what script refuses comes as many types
            print(f"scripting failed, tracing instead: {first_line(e)}")
            for name in HALVES if has_halves(model) else ():
                torch.jit.unused(getattr(type(model), name))  # tracing would script it
    try:
        with torch.no_grad():
            clip = random_clip(meta, 1)
            inputs = {"forward": clip}
            if has_halves(model):
                frames = frames_of(clip, meta)
                inputs |= dict(zip(HALVES, (frames, model.encode_frames(frames).unflatten(0, (1, meta.window)))))
            return torch.jit.trace_module(model, inputs, check_trace=False), "traced"
    except Exception as e:  # likewise
        raise ExportError(f"expected a model that can be scripted or traced, found {type(e).__name__}: {first_line(e)}; simplify its forward") from None


def verify(path: Path, model: torch.nn.Module, meta: Metadata) -> dict[str, float]:
    """Reads the archive back and compares it with the model, on a clip that was not used to trace it."""
    if read_metadata(path) != meta:
        raise ExportError(f"expected the metadata just written in {path}, found other; this is a fault of the exporter, please report it")
    reloaded = torch.jit.load(str(path), map_location="cpu").eval()
    for p in reloaded.parameters():
        p.requires_grad_(False)
    names = ("logits", "input gradient", "feature gradient")
    result = {}
    for name, a, b in zip(names, gradients(model, random_clip(meta, 2)), gradients(reloaded, random_clip(meta, 2))):
        if a is None or b is None:
            continue
        result[name] = worst(a, b)
        if not result[name] <= TOLERANCE:
            raise ExportError(
                f"expected the reloaded archive to give the model's {name} within {TOLERANCE:g}, found a difference of {result[name]:.2g}; the "
                "model is random in eval mode, or tracing froze a choice that depends on the data: make it scriptable"
            )
    if has_halves(model):
        clip = random_clip(meta, 2)
        with torch.no_grad():
            codes = reloaded.encode_frames(frames_of(clip, meta)).unflatten(0, (1, meta.window))
            result["halves"] = worst(split(model(clip.clone()))[0], reloaded.classify_features(codes))
        if not result["halves"] <= TOLERANCE:
            raise ExportError(
                f"expected classify_features of what encode_frames gives to be the model's logits within {TOLERANCE:g}, found a difference of "
                f"{result['halves']:.2g}; let forward be made of both, or leave one of them out"
            )
    return result
