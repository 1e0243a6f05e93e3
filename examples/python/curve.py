# SPDX-License-Identifier: MPL-2.0
"""Draws what attacks reach by how much they ask the model: one picture of the rows that peers.py --json has written.

    pip install matplotlib
    python curve.py c3d.json lrcn.json --out curve.svg

A column a file. Above, the share of windows fooled after 8-bit rounding; below, the mean absolute perturbation over all frames in gray
levels, both by the calls of the model (forwards and backwards, logarithmic). Points of one method at several budgets are joined. MAP is over
the windows that are fooled.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any


def line_of(row: dict[str, Any]) -> str:
    """Rows of one line differ in their budget alone."""
    settings = re.sub(r"\s*(max-iterations=\d+|\d+ steps( of [\d./]+)?,?)\s*", " ", row["settings"]).strip(" ,")
    return f"{row['method']} {settings}".strip().removesuffix(" default")


def points(row: dict[str, Any]) -> tuple[float, float, float]:
    """Calls, share fooled, MAP."""
    results = row["results"]
    calls = sum(r["forwards"] + r["backwards"] for r in results) / len(results)
    fooled = [r["map"] for r in results if r["verified"]]
    return calls, len(fooled) / len(results), sum(fooled) / len(fooled) if fooled else float("nan")


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("files", type=Path, nargs="+", metavar="FILE.json")
    p.add_argument("--out", type=Path, required=True, metavar="FILE.svg")
    args = p.parse_args(argv)
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "sparseadv", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(args.files), figsize=(5.2 * len(args.files), 7), sharex=True, squeeze=False)
    for column, file in enumerate(args.files):
        found = json.loads(file.read_text())
        lines: dict[str, list[tuple[float, float, float]]] = {}
        for row in found["rows"]:
            lines.setdefault(line_of(row), []).append(points(row))
        for n, (name, at) in enumerate(lines.items()):
            at.sort()
            ours = name.startswith("ours")
            style = {"marker": "o" if ours else "sD^vPX*<>"[n % 9], "linewidth": 2.2 if ours else 1, "markersize": 4, "label": name}
            calls = [point[0] for point in at]
            axes[0][column].plot(calls, [100 * point[1] for point in at], **style)
            axes[1][column].plot(calls, [point[2] for point in at], **style)
        axes[0][column].set(title=Path(found["model"]).stem, ylabel="windows fooled after rounding, %", xscale="log", ylim=(0, 103))
        axes[1][column].set(ylabel="MAP, gray levels", xlabel="calls of the model a window", yscale="log")
        axes[1][column].legend(fontsize=7)
        for axis in axes[:, column]:
            axis.grid(True, which="both", alpha=0.25)
    figure.tight_layout()
    figure.savefig(args.out, metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
