# SPDX-License-Identifier: MPL-2.0
"""The minimum-norm attacks of adv-lib, for peers.py: they seek the smallest perturbation of a window that changes its label.

    pip install --no-deps adv-lib==0.2.8 torchvision==0.28.* tqdm scipy

- ddn: Decoupling Direction and Norm (Rony et al., CVPR 2019), in L2. It knows of 256 levels.
- fmn-l2, fmn-l1: Fast Minimum-Norm (Pintor et al., NeurIPS 2021).
- alma: Augmented Lagrangian (Rony et al., ICCV 2021), in L2.

None of them knows of frames: all of them perturb the whole window. What adv-lib draws by visdom is not drawn here, so that visdom is not
needed.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable

import torch

Attack = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor, int], torch.Tensor]


def attacks() -> dict[str, Attack]:
    """By name: model of views in 0..1, views, labels and steps -> perturbed views."""
    if "visdom" not in sys.modules:
        stub = types.ModuleType("visdom")
        stub.Visdom = object  # type: ignore[attr-defined]
        sys.modules["visdom"] = stub
    try:
        from adv_lib.attacks import alma, ddn, fmn
    except ImportError as e:
        raise SystemExit(f"expected adv-lib, found {e}; {(__doc__ or '').splitlines()[2].strip()}") from None
    return {
        "ddn": lambda model, views, labels, steps: ddn(model, views, labels, steps=steps),
        "fmn-l2": lambda model, views, labels, steps: fmn(model, views, labels, norm=2, steps=steps),
        "fmn-l1": lambda model, views, labels, steps: fmn(model, views, labels, norm=1, steps=steps),
        "alma": lambda model, views, labels, steps: alma(model, views, labels, distance="l2", num_steps=steps),
    }


NAMES = ("ddn", "fmn-l2", "fmn-l1", "alma")
