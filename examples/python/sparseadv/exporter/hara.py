# SPDX-License-Identifier: MPL-2.0
"""The 3D ResNets of Hara et al. (2018) by the names in their published checkpoints.

A checkpoint holds {"arch": "resnext-101", "state_dict": {"module.conv1.weight": ...}}. Width, groups, number of classes and type of the
shortcuts are read off its weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from ..preprocess import Metadata
from .checkpoint import load_file, load_into, state_of
from .errors import ExportError
from .source import Source

# Blocks a stage, and the width of a block's output in units of its inner width.
ARCHS = {
    "resnet-18": ((2, 2, 2, 2), 1),
    "resnet-34": ((3, 4, 6, 3), 1),
    "resnet-50": ((3, 4, 6, 3), 4),
    "resnet-101": ((3, 4, 23, 3), 4),
    "resnext-101": ((3, 4, 23, 3), 2),
}
# Frames from one step of a layer to the next. A step of a stage sees nearly the whole window, and by that rule all frames would weigh about
# the same, so it stands for the frames from its center to the next one's. layer1 has the most steps: 8 for 16 frames, where layer4 has one.
STRIDES = {"layer1": 2, "layer2": 4, "layer3": 8, "layer4": 16}
MEAN = [114.7748, 107.7354, 99.4750]  # of ActivityNet, the default of the published program


class Padded(nn.Module):
    """Shortcut A: every other step, row and column, and channels of zeros. It is differentiable, unlike the published one, which pads
    `out.data` and so cuts the gradient."""

    def __init__(self, stride: int, channels: int) -> None:
        super().__init__()
        self.stride, self.channels = stride, channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = self.stride
        return F.pad(x[:, :, ::s, ::s, ::s], [0, 0, 0, 0, 0, 0, 0, self.channels])


class Block(nn.Module):
    def __init__(self, inputs: int, width: int, expansion: int, stride: int, groups: int, padded: bool) -> None:
        super().__init__()
        outputs = expansion * width
        if expansion == 1:
            shapes = [(inputs, width, 3, stride, 1), (width, outputs, 3, 1, 1)]
        else:
            shapes = [(inputs, width, 1, 1, 1), (width, width, 3, stride, groups), (width, outputs, 1, 1, 1)]
        for n, (a, b, kernel, step, parts) in enumerate(shapes, 1):
            setattr(self, f"conv{n}", nn.Conv3d(a, b, kernel, step, kernel // 2, groups=parts, bias=False))
            setattr(self, f"bn{n}", nn.BatchNorm3d(b))
        self.deep = len(shapes) == 3
        if stride == 1 and inputs == outputs:
            self.downsample = nn.Identity()
        elif padded:
            self.downsample = Padded(stride, outputs - inputs)
        else:
            self.downsample = nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.deep:
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + self.downsample(x))


class Resnet(nn.Module):
    def __init__(self, arch: str, width: int, groups: int, classes: int, padded: bool = False) -> None:
        super().__init__()
        blocks, expansion = ARCHS[arch]
        self.conv1 = nn.Conv3d(3, width, 7, (1, 2, 2), 3, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        inputs = width
        for n, count in enumerate(blocks):
            planes = width * 2**n * (2 if arch.startswith("resnext") else 1)
            stage = []
            for block in range(count):
                stage.append(Block(inputs, planes, expansion, 2 if n > 0 and block == 0 else 1, groups, padded))
                inputs = planes * expansion
            setattr(self, f"layer{n + 1}", nn.Sequential(*stage))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool3d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3, 4)))


def from_checkpoint(path: Path, arch: str | None) -> tuple[Resnet, str]:
    """The network that a published checkpoint is of, with its weights, and the network's name."""
    file = load_file(path)
    state = {k.removeprefix("module."): v for k, v in state_of(file, path).items()}
    arch = arch or file.get("arch")
    if arch not in ARCHS:
        raise ExportError(f"expected an arch of {', '.join(ARCHS)} in {path}, found {arch!r}; give the right one by --arch")
    needed = ("conv1.weight", "layer1.0.conv2.weight", "fc.weight")
    for name in needed:
        if name not in state:
            raise ExportError(
                f"expected the weights of a {arch} in {path}, found no {name} among {', '.join(list(state)[:3])}, ...; give another file"
            )
    stem, inner, last = (state[name] for name in needed)
    padded = not any(".downsample." in name for name in state)
    groups = inner.shape[0] // inner.shape[1] if arch.startswith("resnext") else 1
    if padded and ARCHS[arch][1] > 1:
        raise ExportError(f"expected shortcuts of type B in a {arch} in {path}, found no name with .downsample.; give the right --arch")
    model = Resnet(arch, stem.shape[0], groups, last.shape[0], padded)
    load_into(model, path, file)
    return model, arch


def build(weights: str, arch: str | None, classes: int | None) -> Source:
    """The model, with the view that the published weights were trained for."""
    if weights == "DEFAULT":
        raise ExportError(
            "expected --weights FILE for hara, found none; download a published checkpoint, or take random weights with --weights none"
        )
    if arch is not None and arch not in ARCHS:
        raise ExportError(f"expected --arch among {', '.join(ARCHS)} for hara, found {arch}; give one of these")
    if weights == "none":
        arch = arch or "resnext-101"
        torch.manual_seed(0)
        model = Resnet(arch, 64, 32 if arch.startswith("resnext") else 1, classes or 400)
    else:
        model, arch = from_checkpoint(Path(weights), arch)
    # Pillow, which the published program resizes by, averages where it shrinks.
    meta = Metadata(name=arch, resize=112, crop=[112, 112], antialias=True, mean=list(MEAN), range=[0.0, 255.0])
    return Source(model.eval(), meta, layer="layer1", strides=STRIDES)
