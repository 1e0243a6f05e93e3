# SPDX-License-Identifier: MPL-2.0
"""Video classifiers of Hugging Face transformers: VideoMAE, TimeSformer, ViViT, from a folder of save_pretrained or a name on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..preprocess import Metadata
from .errors import ExportError, first_line, warn
from .inputs import PixelValues
from .source import VIEW, Source

BILINEAR = 2  # Pillow's number
SAMPLING = "the model's files do not say which frames make a clip. VideoMAE was published for every 4th, TimeSformer for every 8th to 32nd"


def build(name: str) -> Source:
    if name in ("DEFAULT", "none"):
        raise ExportError(f"expected --weights FOLDER_OR_NAME for huggingface, found {name}; give a folder of save_pretrained or a name on the hub")
    try:
        from transformers import AutoModelForVideoClassification
        from transformers.image_processing_utils import ImageProcessingMixin
        from transformers.utils import logging
    except ImportError as e:
        raise ExportError(f"expected the package transformers for {name}, found none ({e}); pip install transformers") from None
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        # Attention in plain operations: what a fused kernel gives differs from machine to machine, and tracing would fix the choice.
        model = AutoModelForVideoClassification.from_pretrained(name, attn_implementation="eager", dtype=torch.float32)
        view: dict[str, Any] = ImageProcessingMixin.get_image_processor_dict(name)[0]
    except (OSError, ValueError) as e:
        raise ExportError(
            f"expected a video classifier of transformers and its preprocessor_config.json in {name}, found: {first_line(e)}; give the folder "
            "that both were saved into"
        ) from None
    meta, given = metadata(model.config, view, name)
    layer = f"model.{model.base_model_prefix}.embeddings.patch_embeddings.projection"
    if layer not in (f"model.{n}" for n, _ in model.named_modules()):
        layer = "none"
    return Source(PixelValues(model).eval(), meta, given, layer=layer, fixed=True, sampling=SAMPLING)


def metadata(config: Any, view: dict[str, Any], name: str) -> tuple[Metadata, frozenset[str]]:
    """The view that the processor makes. It says nothing of the frames that are left out between those of a clip."""
    side = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
    scale = view.get("rescale_factor", 1 / 255) * 255 if view.get("do_rescale", True) else 255.0
    low = -1.0 if view.get("offset") else 0.0
    normalized = view.get("do_normalize", True)
    crop = sides(view.get("crop_size", side)) if view.get("do_center_crop") else [side, side]
    meta = Metadata(
        name=Path(name).name,
        window=config.num_frames,
        layout="BTCHW",
        resize=shorter(view.get("size", side)),
        crop=crop if isinstance(crop, list) else [crop, crop],
        antialias=True,  # Pillow's and torchvision's, which the processors use, average where they shrink
        mean=list(view["image_mean"]) if normalized else [0.0] * 3,
        std=list(view["image_std"]) if normalized else [1.0] * 3,
        range=[low, low + scale],
        labels=[config.id2label[n] for n in range(config.num_labels)],
    )
    if view.get("resample", BILINEAR) != BILINEAR:
        warn(f"{name} resizes by another filter than the bilinear one that the element has: the model will see slightly other pixels")
    if {config.id2label[n] for n in range(config.num_labels)} == {f"LABEL_{n}" for n in range(config.num_labels)}:
        meta.labels = []  # transformers' own names where nobody gave any
    return meta, frozenset(VIEW)


def sides(size: int | dict[str, int]) -> int | list[int]:
    return size if isinstance(size, int) else [size["height"], size["width"]]


def shorter(size: int | dict[str, int]) -> int | list[int]:
    return size["shortest_edge"] if isinstance(size, dict) and "shortest_edge" in size else sides(size)
