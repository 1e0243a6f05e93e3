# SPDX-License-Identifier: MPL-2.0
"""Programs in files: of torch.export (.pt2), and ONNX graphs, which onnx2torch turns into differentiable modules. Their input's shape says
what they take of the view; the rest nobody wrote into the file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch

from ..preprocess import Metadata
from .errors import ExportError, first_line
from .source import Source


def build(path: Path) -> Source:
    if not path.is_file():
        raise ExportError(f"expected a file {path}, found none; check the path")
    model, shape = (exported if path.suffix == ".pt2" else onnx)(path)
    meta, given = view_of(shape, path)
    return Source(model, meta, given, fixed="window" in given and "crop" in given)


def exported(path: Path) -> tuple[torch.nn.Module, Sequence[int | None]]:
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("no archive at all")  # where torch logs a traceback besides
        program = torch.export.load(path)
    except Exception as e:  # as many types as there are kinds of files
        raise ExportError(f"expected a program of torch.export in {path}, found {type(e).__name__}: {first_line(e)}; write it anew by torch.export.save") from None
    inputs = program.graph_signature.user_inputs
    if len(inputs) != 1:
        raise ExportError(f"expected {path} to take one clip, found {len(inputs)} inputs; wrap the model so that it takes one, and export that")
    for node in program.graph.nodes:
        # Dropout shows by itself: two passes differ. The statistics of a batch would not.
        if node.op == "call_function" and "batch_norm" in str(node.target) and True in node.args[5:6]:
            raise ExportError(f"expected a model exported in eval mode in {path}, found one in training mode; call .eval() before torch.export")
    value = next(node.meta["val"] for node in program.graph.nodes if node.name == inputs[0])
    return program.module(), [n if isinstance(n, int) else None for n in value.shape]


def onnx(path: Path) -> tuple[torch.nn.Module, Sequence[int | None]]:
    try:
        import onnx
        import onnx2torch
    except ImportError as e:
        raise ExportError(f"expected the package onnx2torch for {path}, found none ({e}); pip install onnx2torch") from None
    try:
        graph = onnx.load(path)
        module = onnx2torch.convert(graph)
    except NotImplementedError as e:
        raise ExportError(
            f"expected operators that onnx2torch has in {path}, found another: {first_line(e)}; write the graph with an opset of 17 or less, or export the "
            "model that it was made from"
        ) from None
    except Exception as e:
        raise ExportError(f"expected an ONNX graph in {path}, found {type(e).__name__}: {first_line(e)}; give another file") from None
    weights = {tensor.name for tensor in graph.graph.initializer}
    inputs = [value for value in graph.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise ExportError(f"expected {path} to take one clip, found {len(inputs)} inputs; wrap the model so that it takes one, and export that")
    return module.eval(), [d.dim_value or None for d in inputs[0].type.tensor_type.shape.dim]


def view_of(shape: Sequence[int | None], path: Path) -> tuple[Metadata, frozenset[str]]:
    """What the shape of the input says; None is a size that is free."""
    if len(shape) != 5 or 3 not in shape[1:3]:
        raise ExportError(f"expected {path} to take [B, 3, T, H, W] or [B, T, 3, H, W], found {list(shape)}; wrap the model so that it does")
    if shape[0] not in (1, None):
        raise ExportError(f"expected {path} to take one clip at a time, found {shape[0]}; export it with one, or with a batch of free size")
    layout = "BCTHW" if shape[1] == 3 else "BTCHW"
    window, height, width = shape[2] if shape[1] == 3 else shape[1], shape[3], shape[4]
    meta, given = Metadata(name=path.stem, layout=layout), set()
    if window is not None:
        meta.window = window
        given.add("window")
    if height is not None and width is not None:
        meta.crop, meta.resize = [height, width], [height, width]
        given.add("crop")
    return meta, frozenset(given)
