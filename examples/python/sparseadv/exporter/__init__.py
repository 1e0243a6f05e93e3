# SPDX-License-Identifier: MPL-2.0
"""Writes video classifiers as the TorchScript archives that the GStreamer element `sparseadv` loads."""

from .errors import ExportError
from .export import Exported, export
from .source import Source

__all__ = ["ExportError", "Exported", "Source", "export"]
