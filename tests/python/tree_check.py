# SPDX-License-Identifier: MPL-2.0
"""The independent judge of a tree that `gst-sparseadv convert` has made: decodes every clip of it and classifies each window with plain
PyTorch.

    python tree_check.py --model c3d.pt --source weizmann --tree weizmann-attacked

A window is confirmed where the decoded frames get another label than the clean window, which the source's own frames are classified for.
Frames that differ from the source's and are no keyframe of the manifest are counted as stray. The manifest may be of any version. The last
line of the output is a JSON summary; the exit status is 1 where a claim is not confirmed or a frame is stray.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "python"))
from sparseadv.preprocess import Metadata, classify, frames, read_metadata  # noqa: E402


def judge(model: torch.nn.Module, meta: Metadata, source: Path, attacked: Path, rows: list[dict[str, str]]) -> dict[str, int]:
    """The counts of one clip."""
    clean, found = ([rgb for _, rgb in frames(path, "left")] for path in (source, attacked))
    counts = {"windows": len(rows), "claimed": 0, "confirmed": 0, "already_fooled": 0, "stray": abs(len(clean) - len(found))}
    keyframes: set[int] = set()
    for row in rows:
        first, count = int(row["first_frame"]), int(row["frames"])
        seen = range(first, first + count * meta.frame_step, meta.frame_step)
        keyframes |= {seen[int(k)] for k in row["keyframes"].split()}
        before, after = (classify(model, [clip[k] for k in seen], meta)[0] for clip in (clean, found))
        claimed = row["success"] == "true"
        counts["already_fooled"] += (row.get("already_fooled") or row.get("trivial")) == "true"
        counts["claimed"] += claimed
        counts["confirmed"] += claimed and before != after
    changed = {k for k, (a, b) in enumerate(zip(clean, found)) if not np.array_equal(a, b)}
    counts["stray"] += len(changed - keyframes)
    return counts


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, required=True, help="the TorchScript archive that was attacked")
    p.add_argument("--source", type=Path, required=True, help="the data set")
    p.add_argument("--tree", type=Path, required=True, help="what convert has made of it")
    args = p.parse_args(argv)
    meta = read_metadata(args.model)
    model = torch.jit.load(str(args.model), map_location="cpu").eval()
    clips: dict[str, list[dict[str, str]]] = {}
    with (args.tree / "manifest-windows.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            clips.setdefault(row["clip"], []).append(row)
    total = {"clips": len(clips)}
    for clip, rows in sorted(clips.items()):
        attacked = (args.tree / clip).with_suffix("." + rows[0]["extension"])
        counts = judge(model, meta, args.source / clip, attacked, rows)
        print(clip, counts)
        total = {key: total.get(key, 0) + counts.get(key, 0) for key in {**total, **counts}}
    print(json.dumps(total))
    return int(total["claimed"] != total["confirmed"] or total["stray"] > 0 or not clips)


if __name__ == "__main__":
    sys.exit(main())
