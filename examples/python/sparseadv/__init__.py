# SPDX-License-Identifier: MPL-2.0
"""Sparse adversarial attacks on video classifiers, through the GStreamer element `sparseadv`.

    import sparseadv
    result = sparseadv.attack("clip.mp4", "c3d.pt", label="walk", max_iterations=50)
    result.adversarial                       # uint8 [T, H, W, 3]
    table = sparseadv.evaluate("DATA", "c3d.pt")
    sparseadv.rates(table, by="label_name")

The package is plain Python. Each call runs the element in a process of its own, `gst-launch-1.0`, so that its libtorch and that of this
process may differ, and what ends the one leaves the other alone. Frames go through pipes, without a codec.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .many_clips import evaluate, rates
    from .models import export
    from .one_clip import Result, attack
    from .pipeline import AttackError

__all__ = ["AttackError", "Result", "attack", "evaluate", "export", "rates"]

HOMES = {
    "AttackError": "pipeline",
    "Result": "one_clip",
    "attack": "one_clip",
    "evaluate": "many_clips",
    "export": "models",
    "rates": "many_clips",
}


def __getattr__(name: str) -> Any:
    # When it is asked for: the exporter is in this package too, and does without pandas.
    if name not in HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f".{HOMES[name]}", __name__), name)
