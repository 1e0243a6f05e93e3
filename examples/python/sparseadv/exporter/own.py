# SPDX-License-Identifier: MPL-2.0
"""A module of the user's own, by the file and the function that make it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

from .errors import ExportError, first_line, warn


def user_model(spec: str) -> torch.nn.Module:
    """`path.py:factory` -> factory()."""
    path, _, factory = spec.partition(":")
    if not factory or not Path(path).is_file():
        raise ExportError(f"expected --module path.py:factory with an existing file, found {spec!r}; example: my_model.py:build")
    module_spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert module_spec and module_spec.loader
    module = importlib.util.module_from_spec(module_spec)
    # The file's own folder, so that it can import its neighbors as it does when it is run.
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        module_spec.loader.exec_module(module)
    except Exception as e:  # a user's own code
        raise ExportError(f"expected Python code in {path}, found {type(e).__name__}: {first_line(e)}; correct that file") from None
    if not callable(getattr(module, factory, None)):
        raise ExportError(f"expected a function {factory} in {path}, found none; it has {', '.join(n for n in vars(module) if n[0] != '_')}")
    try:
        model = getattr(module, factory)()
    except Exception as e:  # a user's own code
        raise ExportError(f"expected {spec} to return a model, found {type(e).__name__}: {first_line(e)}; correct that function") from None
    if not isinstance(model, torch.nn.Module):
        raise ExportError(f"expected {spec} to return a torch.nn.Module, found {type(model).__name__}; return the model, not its class")
    return plain(model).eval()


def plain(model: torch.nn.Module) -> torch.nn.Module:
    """The model without what wraps it for training, on the CPU and in single precision."""
    while isinstance(model, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)) or hasattr(model, "_orig_mod"):
        # torch.compile keeps the module it was given; nothing of what it compiles can be scripted.
        model = model._orig_mod if hasattr(model, "_orig_mod") else model.module
    kinds = {str(p.dtype).removeprefix("torch.") for p in [*model.parameters(), *model.buffers()] if p.is_floating_point()}
    other = sorted(kinds - {"float32"})
    if other:
        warn(f"the model holds {', '.join(other)}: exported in single precision, as by .float()")
    return model.cpu().float()
