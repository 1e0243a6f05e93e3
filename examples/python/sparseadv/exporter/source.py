# SPDX-License-Identifier: MPL-2.0
"""What each kind of model comes to before it is exported: a module in eval mode, its view, and what else is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from ..preprocess import Metadata

VIEW = ("window", "resize", "crop", "mean", "std")


@dataclass
class Source:
    model: torch.nn.Module
    meta: Metadata
    given: frozenset[str] = frozenset(VIEW)
    """Fields of the view that the model's own files state. The user is told of the others: wrong ones make every result wrong."""
    layer: str = "none"
    """The feature map the keyframes are weighed by. An early layer: its steps see few frames each, so the weights tell frames apart; the
    deep layers of a 3D network see the whole window in every step."""
    fixed: bool = False
    """Whether the model takes just this window and crop."""
    min_window: int = 1
    channels_last: bool = False
    """Whether the layers give [B, T, H, W, C], which the contract does not have and the wrapper turns into BCTHW."""
    strides: Mapping[str, int] = field(default_factory=dict)
    """Frames that a step of a layer stands for, where those that it sees would not tell frames apart."""
    sampling: str = ""
    """What there is to say of frame_step where the model's files do not give it."""
