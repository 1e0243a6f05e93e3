# SPDX-License-Identifier: MPL-2.0
"""Wrappers that give a model of another convention the one input of the contract, a clip."""

from __future__ import annotations

import torch
from torch import nn


class TwoPathways(nn.Module):
    """A model that takes [slow, fast], as SlowFast does: the fast pathway sees the whole clip, the slow one every alpha-th frame of it."""

    def __init__(self, model: nn.Module, alpha: int) -> None:
        super().__init__()
        self.model, self.alpha = model, alpha

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        # The frames that SlowFast's own programs take: they go from the first to the last, so that not every step is alpha.
        t = clip.shape[2]
        slow = torch.linspace(0, t - 1, t // self.alpha, device=clip.device).long()
        return self.model([clip.index_select(2, slow), clip])


class PixelValues(nn.Module):
    """A video classifier of Hugging Face transformers, which returns a record."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=clip, return_dict=True).logits


class Recognizer(nn.Module):
    """A recognizer of mmaction2, which returns features unless it is asked for the scores of its head. A 3D one takes several crops of a
    clip, [B, N, 3, T, H, W], and a 2D one the frames of a clip, [B, T, 3, H, W]."""

    def __init__(self, model: nn.Module, of_clips: bool) -> None:
        super().__init__()
        self.model, self.of_clips = model, of_clips

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        return self.model(clip[:, None] if self.of_clips else clip, stage="head")
