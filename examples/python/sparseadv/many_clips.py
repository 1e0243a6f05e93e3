# SPDX-License-Identifier: MPL-2.0
"""Many clips, attacked, and the rates over their windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .models import archive
from .one_clip import attack
from .preprocess import Metadata

if TYPE_CHECKING:
    import torch

Clip = str | Path | np.ndarray


def evaluate(
    clips: str | Path | Iterable[tuple[Clip, str | int]],
    model: str | Path | torch.nn.Module,
    *,
    metadata: Metadata | Mapping[str, Any] | None = None,
    layer: str = "none",
    **properties: Any,
) -> pd.DataFrame:
    """Attacks clips, each against its true label, and returns a row a window: the fields of its JSON line, the clip, and its label's name.

    `clips` is a folder with a folder of videos for each class, or pairs of a clip and its label. rates() makes accuracies of the table. Each
    clip is a process of its own, which loads the model anew; for whole data sets take `gst-sparseadv convert`."""
    pairs = class_folders(Path(clips)) if isinstance(clips, (str, Path)) else list(clips)
    tables = []
    with archive(model, metadata, layer) as path:
        for number, (clip, label) in enumerate(pairs):
            windows = attack(clip, path, label=label, **properties).windows
            windows.insert(0, "clip", number if isinstance(clip, np.ndarray) else str(clip))
            windows.insert(1, "label_name", str(label))
            tables.append(windows)
    if not tables:
        raise ValueError("Expected at least one clip, found none. Give videos in class folders, or pairs of a clip and its label.")
    return pd.concat(tables, ignore_index=True)


def class_folders(folder: Path) -> list[tuple[Path, str]]:
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder {folder} with a folder of videos for each class, found none. Check the path.")
    return [(clip, clip.parent.name) for clip in sorted(folder.glob("*/*")) if clip.is_file()]


def rates(windows: pd.DataFrame, by: str | list[str] | None = None) -> pd.DataFrame:
    """Clean accuracy, robust accuracy and fooling rate of the windows of evaluate(), in sum or for each value of a column.

    A window that the model gets wrong by itself is not attacked, and in no fooling rate. The mean perturbation `map` is over the fooled
    windows, and `calls` is a mean over the attacked ones."""
    groups = [("all", windows)] if by is None else windows.groupby(by)
    rows = {name: of(group) for name, group in groups}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(by)


def of(windows: pd.DataFrame) -> dict[str, float]:
    attacked = windows[windows["success"].notna()]
    fooled = attacked[attacked["success"].astype(bool)]
    return {
        "windows": len(windows),
        "clean_accuracy": accuracy(windows, "clean_label"),
        "robust_accuracy": accuracy(windows, "final_label"),
        "attacked": len(attacked),
        "fooled": len(fooled),
        "fooling_rate": len(fooled) / len(attacked) if len(attacked) else float("nan"),
        "calls": float((attacked["forwards"] + attacked["backwards"]).mean()),
        "map": float(fooled["map"].mean()),
    }


def accuracy(windows: pd.DataFrame, column: str) -> float:
    """Over windows that were classified."""
    known = windows[windows[column].notna()]
    return float((known[column] == known["label"]).mean()) if len(known) else float("nan")
