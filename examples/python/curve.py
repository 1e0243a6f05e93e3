# SPDX-License-Identifier: MPL-2.0
"""Draws what attacks reach by how much they ask the model: one picture of the rows in records of peers.py.

    pip install matplotlib
    python curve.py norm.c3d.json norm.lrcn.json --out curve.svg

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


def line_of(row: dict[str, str]) -> str:
    """Rows of one line differ in their budget alone."""
    settings = re.sub(r"\s*(max-iterations=\d+|\d+ steps( of [\d./]+)?,?)\s*", " ", row["settings"]).strip(" ,")
    return f"{row['method']} {settings}".strip().removesuffix(" default")


def point(row: dict[str, str]) -> tuple[float, float, float]:
    """Calls, share fooled, MAP."""
    fooled, windows = row["fooled (u8)"].split("/")
    return float(row["calls"]), int(fooled) / int(windows), float("nan" if row["MAP"] == "-" else row["MAP"])


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("files", type=Path, nargs="+", metavar="FILE.json")
    p.add_argument("--out", type=Path, required=True, metavar="FILE.svg")
    args = p.parse_args(argv)
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "sparseadv", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(2, len(args.files), figsize=(5.2 * len(args.files), 7.4), sharex=True, squeeze=False)
    for column, file in enumerate(args.files):
        record = json.loads(file.read_text())
        rows = [dict(zip(record["head"], row["cells"], strict=True)) for row in record["rows"]]
        lines: dict[str, list[tuple[float, float, float]]] = {}
        for row in rows:
            lines.setdefault(line_of(row), []).append(point(row))
        for n, (name, at) in enumerate(lines.items()):
            at.sort()
            ours = name.startswith("ours")
            style = {"marker": "o" if ours else "sD^vPX*<>"[n % 9], "linewidth": 2.2 if ours else 1, "markersize": 4, "label": name}
            calls = [point[0] for point in at]
            axes[0][column].plot(calls, [100 * point[1] for point in at], **style)
            axes[1][column].plot(calls, [point[2] for point in at], **style)
        axes[0][column].set(title=rows[0]["model"], ylabel="windows fooled after rounding, %", xscale="log", ylim=(0, 103))
        axes[1][column].set(ylabel="MAP, gray levels", xlabel="calls of the model a window", yscale="log")
        for axis in axes[:, column]:
            axis.grid(True, which="both", alpha=0.25)
            plain = [axis.xaxis, axis.yaxis] if axis is axes[1][column] else [axis.xaxis]
            for scale in plain:
                scale.set_major_formatter(ticker.FormatStrFormatter("%g"))
                scale.set_minor_formatter(ticker.NullFormatter())
                scale.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    handles, names = axes[1][0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, ncols=4, loc="lower center")
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(args.out, metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
