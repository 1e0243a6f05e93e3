# SPDX-License-Identifier: MPL-2.0
"""Models as the package's calls take them: an archive's path, or a torch module, which is exported on the way."""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .preprocess import Metadata

if TYPE_CHECKING:
    import torch

    from .exporter import Exported


def export(module: torch.nn.Module, out: str | Path, metadata: Metadata | Mapping[str, Any], layer: str = "none") -> Exported:
    """Writes a module as the archive that the element loads, as examples/python/export_model.py does. The module stays as it is. `metadata`
    has the fields of the model contract; `layer` names the submodule whose output weighs the keyframes."""
    from .exporter import Source
    from .exporter import export as write
    from .exporter.own import plain

    meta = replace(metadata) if isinstance(metadata, Metadata) else Metadata(**metadata)
    meta.check("metadata")
    return write(Source(plain(copy.deepcopy(module)).eval(), meta, layer=layer), Path(out))


@contextlib.contextmanager
def archive(model: object, metadata: Metadata | Mapping[str, Any] | None, layer: str) -> Iterator[Path]:
    """The path of a model's archive; of a module's as long as it is needed."""
    if isinstance(model, (str, Path)):
        if metadata is not None or layer != "none":
            raise ValueError(f"Expected metadata and layer with a torch module alone, found them with {model}. Its archive has its own.")
        yield Path(model)
        return
    if metadata is None:
        raise ValueError(
            f"Expected metadata for a {type(model).__name__}, found none. Give what it sees, such as metadata=dict(window=16, resize=[128, 171], "
            "crop=[112, 112], mean=[...], std=[...], labels=[...])."
        )
    with tempfile.TemporaryDirectory() as folder:
        yield export(model, Path(folder) / "model.pt", metadata, layer).path
