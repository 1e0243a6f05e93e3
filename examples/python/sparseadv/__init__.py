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

from .attack import AttackError, Result, attack
from .evaluate import evaluate, rates
from .models import export

__all__ = ["AttackError", "Result", "attack", "evaluate", "export", "rates"]
