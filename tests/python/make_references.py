# SPDX-License-Identifier: MPL-2.0
"""Writes tests/data/references.json: figures by PyTorch and NumPy that the Rust tests compare theirs with.

    python make_references.py --out ../data/references.json

Inputs are small, seeded and stored beside the results. Run again only when a case is added; the file is committed. Each group of the file has a
`note` that states the formula.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "python"))
from sparseadv.preprocess import KR_KB, crop_offset, yuv_to_rgb  # noqa: E402

SIZE_LIMIT = 60_000
RNG = np.random.default_rng(20240607)


def rounded(values: Any, digits: int = 7) -> Any:
    """Nested lists with so many significant digits; more than the tests' tolerance and half the file of full doubles."""
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array.tolist()
    return (
        np.vectorize(lambda v: float(f"{v:.{digits}g}"), otypes=[float])(array).tolist()
        if array.ndim
        else float(f"{float(array):.{digits}g}")
    )


def resize_cases() -> dict[str, Any]:
    cases = []
    # (source, resized, crop), height x width: down, up, mixed, identity; the differences 5 and 3 make halves, where round() goes to even.
    for source, size, crop in [
        ((13, 17), (7, 9), (4, 4)),
        ((9, 11), (5, 7), (5, 7)),
        ((5, 7), (11, 12), (6, 9)),
        ((15, 6), (7, 13), (6, 8)),
        ((8, 8), (8, 8), (5, 3)),
        ((21, 9), (4, 3), (3, 2)),
    ]:
        plane = RNG.integers(0, 256, source)
        tensor = torch.from_numpy(plane)[None, None].double()
        top, left = crop_offset(size[0], crop[0]), crop_offset(size[1], crop[1])
        case: dict[str, Any] = {"source": plane.tolist(), "resize": size, "crop": crop, "offset": [top, left]}
        for antialias in (False, True):
            out = torch.nn.functional.interpolate(tensor, size=size, mode="bilinear", align_corners=False, antialias=antialias)[0, 0]
            case["antialias" if antialias else "plain"] = rounded(out[top : top + crop[0], left : left + crop[1]].numpy())
        cases.append(case)
    return {
        "note": "torch interpolate(bilinear, align_corners=False) in float64, then center crop at round-half-to-even((resized - crop) / 2)",
        "cases": cases,
    }


def norms() -> dict[str, Any]:
    delta = RNG.normal(0, 2, (4, 3, 2, 3))
    delta[2] = 0.0
    x = torch.tensor(delta, requires_grad=True)
    # vector_norm has the subgradient 0 at 0, where a written-out root would give NaN.
    l21 = torch.linalg.vector_norm(x.flatten(1), dim=1).sum()
    (gradient,) = torch.autograd.grad(l21, x)
    root_size = delta[0].size ** 0.5
    return {
        "note": "l21 = sum over frames of sqrt(sum(d^2)), gradient d / norm (0 for a frame of zeros); "
        "rms (SA) = sum of sqrt(mean(d^2)), gradient d / (norm * sqrt(n))",
        "shape": list(delta.shape),
        "delta": rounded(delta.ravel(), 17),
        "l21": rounded(l21.item(), 12),
        "l21_gradient": rounded(gradient.numpy().ravel()),
        "rms": rounded(l21.item() / root_size, 12),
        "rms_gradient": rounded(gradient.numpy().ravel() / root_size),
    }


def adam() -> dict[str, Any]:
    runs = []
    for lr in (0.255, 1.0):
        gradients = RNG.normal(0, 1, (6, 4)) * np.array([1.0, 1e-3, 1e-9, 0.0])
        x = torch.tensor([0.01, -0.5, 2.0, 0.25], dtype=torch.float64)
        initial = x.tolist()
        optimizer = torch.optim.Adam([x], lr=lr, betas=(0.9, 0.999), eps=1e-8)
        steps = []
        for g in gradients:
            x.grad = torch.tensor(g)
            optimizer.step()
            steps.append(rounded(x.numpy(), 10))
        runs.append({"lr": lr, "initial": initial, "gradients": rounded(gradients, 17), "after_each_step": steps})
    return {"note": "torch.optim.Adam, betas 0.9 and 0.999, eps 1e-8, float64; gradients around eps and of 0 included", "runs": runs}


def colors() -> dict[str, Any]:
    triples = [
        (16, 128, 128),
        (235, 128, 128),
        (126, 128, 128),
        (81, 90, 240),
        (145, 54, 34),
        (41, 240, 110),
        (0, 128, 128),
        (255, 0, 255),
        (100, 141, 97),
    ]
    y, u, v = np.array(triples, float).T
    cases = []
    for name, space in (("bt601", 5), ("bt709", 1)):
        for full in (False, True):
            kr, kb = KR_KB[space]
            # The matrix by its columns, so that both the matrix and its use can be compared.
            origin = yuv_to_rgb(*np.array([0.0, 0.0, 0.0])[:, None], kr, kb, full)[0]
            matrix = np.stack([yuv_to_rgb(*unit[:, None], kr, kb, full)[0] - origin for unit in np.eye(3)], axis=1)
            cases.append({"matrix": name, "range": "full" if full else "limited", "kr": kr, "kb": kb,
                          "rgb_from_yuv": rounded(matrix, 10), "rgb": rounded(yuv_to_rgb(y, u, v, kr, kb, full), 9)})  # fmt: skip
    return {
        "note": "gray levels 0..255 in and out, neither rounded nor clipped; rgb = rgb_from_yuv @ (y - black, u - 128, v - 128)",
        "yuv": triples,
        "cases": cases,
    }


def normalized(values: np.ndarray) -> np.ndarray:
    return values / values.sum()


def select(weights: np.ndarray, bound: float) -> list[int]:
    """The heaviest frames, in descending order, until their sum reaches the bound."""
    chosen: list[int] = []
    total = 0.0
    for k in np.argsort(-weights, kind="stable"):
        if total >= bound:
            break
        chosen.append(int(k))
        total += weights[k]
    return chosen


def weights() -> dict[str, Any]:
    gradient = RNG.normal(0, 1, (6, 3, 2, 2)) * RNG.uniform(0.1, 3, (6, 1, 1, 1))
    gradient[4] = 0.0
    per_frame = normalized(np.abs(gradient).sum((1, 2, 3)))
    feature_cases = []
    # (frames, steps, window): overlapping, adjoining, gaps that leave frames uncovered, and windows over both edges.
    for frames, steps, window in [
        (8, 8, {"size": 3, "stride": 1, "start": -1}),
        (8, 4, {"size": 2, "stride": 2, "start": 0}),
        (16, 8, {"size": 7, "stride": 2, "start": -3}),
        (9, 3, {"size": 2, "stride": 3, "start": 1}),
        (6, 2, {"size": 5, "stride": 4, "start": -2}),
    ]:
        features = RNG.normal(0, 1, (2, steps, 2, 2)) * RNG.uniform(0.2, 2, (1, steps, 1, 1))
        step_sums = np.abs(features).sum((0, 2, 3))
        frame_weights = np.zeros(frames)
        for k in range(frames):
            covering = [step_sums[j] for j in range(steps) if 0 <= k - (window["start"] + j * window["stride"]) < window["size"]]
            frame_weights[k] = np.mean(covering) if covering else 0.0
        feature_cases.append({"frames": frames, "shape": list(features.shape), "window": window, "gradient": rounded(features.ravel(), 17),
                              "step_sums": rounded(step_sums, 12), "weights": rounded(normalized(frame_weights), 12)})  # fmt: skip
    selections = []
    for name, w in [("input", per_frame), *((f"feature {i}", np.array(c["weights"])) for i, c in enumerate(feature_cases))]:
        for bound in (0.1, 0.3, 0.5, 0.9, 1.0):
            # The sum of all weights misses 1 by rounding, either way: a bound of 1 is met within 1e-9.
            selections.append({"of": name, "weights": rounded(w, 12), "bound": bound, "frames": select(w, bound - 1e-9)})
    return {
        "note": "input: w_k = sum |gradient of frame k| / total; features [C, T', H', W']: step j covers the frames from start + j*stride, "
        "size of them, a frame's weight is the mean over the steps that cover it of sum |gradient of step j|, 0 if none, / total; "
        "selection: descending, ties by frame number, until the sum >= bound - 1e-9",
        "input": {"shape": list(gradient.shape), "gradient": rounded(gradient.ravel(), 17), "weights": rounded(per_frame, 12)},
        "features": feature_cases,
        "selection": selections,
    }


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).resolve().parents[1] / "data" / "references.json",
        help="default: tests/data/references.json",
    )
    args = p.parse_args(argv)
    # One group a line: readable enough to find a case, short enough to commit.
    groups = {"resize": resize_cases(), "norms": norms(), "adam": adam(), "colors": colors(), "weights": weights()}
    made_with = {"torch": torch.__version__.split("+")[0], "numpy": np.__version__}
    body = ",\n".join(f'"{k}": {json.dumps(v, separators=(",", ":"))}' for k, v in {"made_with": made_with, **groups}.items())
    text = "{\n" + body + "\n}\n"
    if len(text) > SIZE_LIMIT:
        raise SystemExit(f"expected at most {SIZE_LIMIT} bytes of references, found {len(text)}; make the cases smaller")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text)
    print(f"{args.out}: {len(text)} bytes, " + ", ".join(groups))
    return 0


if __name__ == "__main__":
    sys.exit(main())
