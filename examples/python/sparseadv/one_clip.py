# SPDX-License-Identifier: MPL-2.0
"""One clip, attacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import pipeline
from .models import archive
from .pipeline import AttackError
from .preprocess import Metadata, iter_frames

if TYPE_CHECKING:
    import torch

__all__ = ["AttackError", "Result", "attack"]
FPS = 25.0


@dataclass(frozen=True)
class Result:
    """What came of a clip. All numbers are the element's."""

    clean: np.ndarray
    """The frames as they came, uint8 [T, H, W, 3]."""
    adversarial: np.ndarray
    """The frames as they left, likewise."""
    windows: pd.DataFrame
    """A row a window, with the fields of its JSON line."""

    @cached_property
    def attacked(self) -> int:
        """Windows that the model got right, or whose truth nobody knows: the others were fooled already."""
        return int(self.windows["success"].notna().sum())

    @cached_property
    def fooled(self) -> int:
        return int((self.windows["success"] == True).sum())  # noqa: E712, null is neither

    @property
    def fooling_rate(self) -> float:
        """Not a number where nothing was attacked."""
        return self.fooled / self.attacked if self.attacked else float("nan")

    @cached_property
    def calls(self) -> int:
        """Forward and backward passes of the model."""
        return int(self.windows["forwards"].sum() + self.windows["backwards"].sum())

    @cached_property
    def map(self) -> float:
        """Mean absolute perturbation of what the model sees, in gray levels, over the fooled windows."""
        return float(self.windows.loc[self.windows["success"] == True, "map"].mean())  # noqa: E712

    def __repr__(self) -> str:
        return f"Result(fooled {self.fooled} of {self.attacked} windows, calls {self.calls}, MAP {self.map:.3f})"


def attack(
    clip: str | Path | np.ndarray,
    model: str | Path | torch.nn.Module,
    *,
    metadata: Metadata | Mapping[str, Any] | None = None,
    layer: str = "none",
    fps: float | None = None,
    **properties: Any,
) -> Result:
    """Attacks a clip: a video file, or uint8 frames [T, H, W, 3]. The properties are the element's, with underscores for dashes:
    `label="walk"`, `max_iterations=50`, `epsilon=8`, `device="cuda"`. A torch module needs `metadata`, see export()."""
    frames, rate = load(clip)
    taken = [name for name in properties if name.replace("_", "-") in pipeline.OWN]
    if taken:
        raise ValueError(f"Expected properties of the attack, found {', '.join(taken)}, which attack() sets itself. Leave it out.")
    with archive(model, metadata, layer) as path:
        adversarial, records = pipeline.run(frames, fps or rate, path, properties)
    return Result(frames, adversarial, table(records))


def load(clip: str | Path | np.ndarray) -> tuple[np.ndarray, float]:
    """The frames of a clip, and how many there are in a second."""
    if isinstance(clip, np.ndarray):
        if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3 or not clip.size:
            raise ValueError(f"Expected uint8 frames [T, H, W, 3], found {clip.dtype} {list(clip.shape)}. Convert the array.")
        return clip, FPS
    import av

    if not Path(clip).is_file():
        raise FileNotFoundError(f"Expected a video file {clip}, found none. Check the path.")
    with av.open(str(clip)) as container:
        rate = container.streams.video[0].average_rate if container.streams.video else None
    frames = [rgb for _, rgb in iter_frames(clip)]
    if not frames:
        raise ValueError(f"Expected frames in {clip}, found none. Give another file.")
    return np.stack(frames), float(rate) if rate else FPS


def table(records: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(records)
    # Labels that may be unknown are whole numbers all the same.
    for name in ("label", "target_label", "clean_label", "final_label"):
        if name in frame:
            frame[name] = frame[name].astype("Int64")
    return frame
