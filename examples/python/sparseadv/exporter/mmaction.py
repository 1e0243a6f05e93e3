# SPDX-License-Identifier: MPL-2.0
"""Recognizers of mmaction2 by their config files: the network, and the view that the validation pipeline makes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from ..preprocess import Metadata
from .checkpoint import load_into
from .errors import ExportError, first_line
from .inputs import Recognizer
from .source import Source


def build(config: Path | None, weights: str, prefix: str | None = None) -> Source:
    if config is None:
        raise ExportError("expected --config CONFIG.py for mmaction, found none; give the file that the checkpoint was trained by")
    if weights == "DEFAULT":
        raise ExportError("expected --weights FILE for mmaction, found none; give its checkpoint, or take random weights with --weights none")
    try:
        import mmaction.models  # noqa: F401, registers the networks
        from mmaction.registry import MODELS
        from mmengine import Config
        from mmengine.registry import init_default_scope
    except (ImportError, AssertionError) as e:  # it asserts the versions that it works with
        raise ExportError(
            f"expected mmaction2 with mmengine and mmcv for {config}, found: {first_line(e)}; install mmaction2 from its source, or 1.1.0 with "
            "mmcv-lite 2.0.1: the package of 1.2.0 lacks a folder of its own"
        ) from None
    try:
        read = Config.fromfile(str(config))
        init_default_scope("mmaction")
        if "pretrained" in read.model.backbone:
            read.model.backbone.pretrained = None
        torch.manual_seed(0)
        model = MODELS.build(read.model)
    except Exception as e:  # a config is a program
        raise ExportError(f"expected a recognizer in {config}, found {type(e).__name__}: {first_line(e)}; give another config") from None
    if weights != "none":
        load_into(model, Path(weights), prefix=prefix)
    of_clips = type(model).__name__ == "Recognizer3D"
    meta, given = metadata(read, of_clips, config)
    sampling = "" if of_clips else f"{config} takes {meta.window} frames of the whole video, however long it is"
    return Source(Recognizer(model, of_clips).eval(), meta, given, sampling=sampling)


def metadata(config: Any, of_clips: bool, path: Path) -> tuple[Metadata, frozenset[str]]:
    """The view of the validation pipeline, which makes one clip and one crop, where the test's makes several."""
    steps = config.get("val_pipeline") or config.get("test_pipeline") or []
    by_type = {step["type"].rsplit(".", 1)[-1]: step for step in steps}
    meta, given = Metadata(name=path.stem, layout="BCTHW" if of_clips else "BTCHW"), set()
    sample = next((step for kind, step in by_type.items() if kind.endswith("SampleFrames")), None)
    if sample and of_clips:
        meta.window, meta.frame_step = sample["clip_len"], sample.get("frame_interval", 1)
        given.add("window")
    elif sample:
        meta.window = sample["num_clips"] * sample["clip_len"]
        given.add("window")
    crop = next((step["crop_size"] for kind, step in by_type.items() if kind in ("CenterCrop", "ThreeCrop", "TenCrop")), None)
    if "Resize" in by_type:
        scale, keep = by_type["Resize"]["scale"], by_type["Resize"].get("keep_ratio", True)
        known = [int(n) for n in scale if 0 < n < math.inf] if isinstance(scale, (tuple, list)) else []
        if known:
            # (-1, 256) and (inf, 256) name the shorter side; OpenCV resizes without averaging.
            meta.resize = min(known) if keep else [int(scale[1]), int(scale[0])]
            given.add("resize")
    if crop is None and isinstance(meta.resize, list) and "resize" in given:
        crop = tuple(reversed(meta.resize))
    if crop is not None:
        # Width first.
        meta.crop = [crop, crop] if isinstance(crop, int) else [crop[1], crop[0]]
        given.add("crop")
    seen = config.model.get("data_preprocessor") or {}
    meta.range, meta.channels = [0.0, 255.0], "BGR" if seen.get("to_rgb") else "RGB"
    if seen.get("mean") is not None:
        meta.mean, meta.std = [float(n) for n in seen["mean"]], [float(n) for n in seen["std"]]
    return meta, frozenset(given | {"mean", "std", "range"})
