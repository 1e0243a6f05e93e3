# SPDX-License-Identifier: MPL-2.0
"""What a warm start saves: clips attacked window by window, cold and with warm-start=true.

    python warm.py --model c3d.pt --data /path/to/weizmann --groups moshe,lyova --clips 20 [--record warm.c3d.json]

Each clip is one pipeline, `filesrc ! decodebin ! sparseadv ! fakesink`. In `a still picture` its first frame stands for 96 frames, through
x264 at quantizer 23 and back. The first window of a clip is cold in any case. Columns count what the element reports; calls are forwards and
backwards.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from results import Record, markdown

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))
from lossless_check import find_clips, launch  # noqa: E402

HEAD = ["model", "windows", "start", "of them", "fooled", "calls, mean", "calls, median", "MAP"]


STILL = "imagefreeze num-buffers=96 ! videoconvert ! x264enc pass=qual quantizer=23 ! avdec_h264 !"


def attack(args: argparse.Namespace, clip: Path, work: Path, stages: str, properties: str) -> list[dict[str, Any]]:
    report = work / "report.jsonl"
    element = f"sparseadv model={shlex.quote(str(args.model))} report-location={shlex.quote(str(report))} tail=passthrough batch-windows=1"
    line = f"filesrc location={shlex.quote(str(clip))} ! decodebin ! {stages} {element} {properties} ! fakesink sync=false"
    problem = launch(line, args.plugins.resolve(), work / "registry.bin", args.timeout)
    if problem:
        raise SystemExit(f"expected the pipeline to run, found: {problem}\n  gst-launch-1.0 {line}")
    lines = [json.loads(text) for text in report.read_text().splitlines()]
    report.unlink()
    return lines


def row(model: str, of: str, start: str, lines: list[dict[str, Any]]) -> list[Any]:
    attacked = [line for line in lines if not line["already_fooled"]]
    fooled = [line for line in attacked if line["success"]]
    calls = sorted(line["forwards"] + line["backwards"] for line in attacked)
    size = sum(line["map"] for line in fooled) / max(len(fooled), 1)
    return [model, of, start, len(attacked), len(fooled), f"{sum(calls) / len(calls):.1f}", calls[len(calls) // 2], f"{size:.3f}"]


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, required=True)
    p.add_argument("--data", type=Path, required=True, help="class folders of clips")
    p.add_argument("--groups", required=True, help="what clips' names begin with, by commas")
    p.add_argument("--clips", type=int, default=20, help="clips at the most")
    p.add_argument("--record", type=Path, help="write the table here, for results.py")
    p.add_argument("--plugins", type=Path, default=ROOT / "target" / "release")
    p.add_argument("--timeout", type=float, default=600)
    args = p.parse_args(argv)
    record = Record(args.record, HEAD, argv)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as work:
        for clip in find_clips(args.data, args.groups.split(","))[: args.clips]:
            for scene, stages in [("a still picture", STILL), ("as it is", "")]:
                lines = {start: attack(args, clip, Path(work), stages, of) for start, of in [("cold", ""), ("warm", "warm-start=true")]}
                if not stages:
                    labels = {line["clean_label"] for line in lines["cold"]}
                    scene = "one label a clip" if len(labels) == 1 else "several labels a clip"
                for start, all_lines in lines.items():
                    found.setdefault((f"{scene}, behind the first", start), []).extend(all_lines[1:])
    for (of, start), lines in sorted(found.items()):
        if any(not line["already_fooled"] for line in lines):
            record.add(row(args.model.stem, of, start, lines), lines)
    print(markdown(HEAD, [r["cells"] for r in record.found["rows"]]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
