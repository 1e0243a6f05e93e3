# SPDX-License-Identifier: MPL-2.0
"""The independent judge of `sparseadv`: decodes what came out of the pipeline and classifies it with plain PyTorch.

    python independent_check.py --model c3d.pt --attacked attacked.mkv --report report.jsonl --clean clean.mkv

No GStreamer, none of the Rust code: PyAV decodes, NumPy converts the colors, torch resizes and classifies. Each line of the report is one
window; its claim of success counts as confirmed when the decoded bytes get the label the attack was after: the target, or any but the
true or clean one. Trivial windows, wrong before any attack, are claims as well and are counted beside them.
The last line of the output is a JSON summary. Exit code 1: fewer claims confirmed than --need, or fewer windows than --min-windows.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "python"))
from sparseadv.preprocess import CHROMA, ContractError, Metadata, classify, frames, read_metadata  # noqa: E402

NEEDED_KEYS = ("window", "start_pts", "end_pts", "clean_label", "final_label", "success", "keyframes")


@dataclass
class Window:
    """A line of the report and the stream's frames it speaks of."""

    line: dict[str, Any]
    indices: list[int]
    by: str  # "pts" or "index": how the frames were found

    def sampled(self, step: int) -> list[int]:
        """The frames the model sees, of those in the window."""
        return self.indices[::step]


def read_report(path: Path) -> list[dict[str, Any]]:
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError as e:
            raise ContractError(f"{path}:{number}: expected one JSON object a line, found {e}; was the pipeline ended before EOS?") from e
        missing = [k for k in NEEDED_KEYS if k not in line]
        if missing:
            raise ContractError(
                f"{path}:{number}: expected the keys {', '.join(NEEDED_KEYS)}, found no {', '.join(missing)}; give sparseadv's report"
            )
        lines.append(line)
    return lines


def locate(report: list[dict[str, Any]], pts: np.ndarray, meta: Metadata, stride: int) -> list[Window]:
    """Finds each window's frames by timestamp, or by order where the timestamps don't give the number of frames there should be."""
    step = meta.frame_step
    full = meta.window * step
    # Matroska rounds to milliseconds, and a frame may so seem to start before its window: half a frame's duration is allowed for.
    gaps = np.diff(pts[np.isfinite(pts)])
    slack = float(np.median(gaps)) / 2 if len(gaps) else 0.0005
    windows = []
    for n, line in enumerate(report):
        expected = line["frames"] * step if line.get("frames") else full
        start, end = line["start_pts"], line["end_pts"]
        inside: list[int] = []
        if start is not None and end is not None:
            inside = np.flatnonzero((pts >= start / 1e9 - slack) & (pts < end / 1e9 - slack)).tolist()
        # Without "frames" a tail's length is unknown; with a frame step the last frame of a window may end it early.
        short_tail = n == len(report) - 1 and not line.get("frames") and 0 < len(inside) <= expected
        if expected - step < len(inside) <= expected or short_tail:
            windows.append(Window(line, inside, "pts"))
            continue
        first = line["window"] * stride
        windows.append(Window(line, list(range(first, min(first + expected, len(pts)))), "index"))
    return windows


def changed_frames(windows: list[Window], clean: list[np.ndarray], attacked: list[np.ndarray], step: int) -> dict[str, Any]:
    """Which frames differ from the clean file, and whether the report names each of them as a keyframe of some window."""
    allowed = {w.sampled(step)[k] for w in windows for k in w.line["keyframes"] if k < len(w.sampled(step))}
    count = min(len(clean), len(attacked))
    changed = {i for i in range(count) if not np.array_equal(clean[i], attacked[i])}
    stray = sorted(changed - allowed)
    return {
        "frames": count,
        "frames_changed": len(changed),
        "keyframes": len(allowed),
        "non_keyframes_identical": count - len(allowed | changed),
        "non_keyframes_changed": len(stray),
        "stray": stray[:10],
    }


def fooled_by(line: dict[str, Any], label: int, own_clean: int | None, target: int | None) -> bool:
    """Whether a label is what the attack was after: the target, any but the label the user gave, any but the clean one."""
    target = target if target is not None else line.get("target_label")
    if target is not None:
        return label == target
    if line.get("label") is not None:
        return label != line["label"]
    # Against the judge's own clean label too: a window that it reads differently from the start is no success of the attack.
    return label not in (line["clean_label"], own_clean)


def judge(args: argparse.Namespace, chroma: str, model: torch.nn.Module, meta: Metadata) -> tuple[dict[str, Any], list[list[Any]]]:
    """The summary and the table's rows, for one reading of the chroma planes."""
    decoded = frames(args.attacked, chroma)
    pts, attacked = np.array([t for t, _ in decoded]), [rgb for _, rgb in decoded]
    clean = [rgb for _, rgb in frames(args.clean, chroma)] if args.clean else None
    if clean is not None and len(clean) != len(attacked):
        print(
            f"warning: expected as many frames in {args.attacked} as in {args.clean}, found {len(attacked)} and {len(clean)}",
            file=sys.stderr,
        )
    windows = locate(read_report(args.report), pts, meta, args.stride or meta.window * meta.frame_step)
    rows, claims, already_fooled, confirmed, fooled, agree, clean_agree, maps = [], 0, 0, 0, 0, 0, 0, []
    for w in windows:
        if not w.indices:
            raise ContractError(
                f"expected frames of window {w.line['window']} in {args.attacked}, found only {len(attacked)} frames; is it this report's file, and "
                "--stride the element's?"
            )
        seen = w.sampled(meta.frame_step)
        label, probability = classify(model, [attacked[i] for i in seen], meta)
        clean_label = w.line["clean_label"]
        own_clean: int | None = None
        if clean is not None and w.indices[-1] < len(clean):
            own_clean, _ = classify(model, [clean[i] for i in seen], meta)
            clean_agree += own_clean == clean_label
            if clean[0].shape == attacked[0].shape:
                maps.append(np.mean([np.abs(attacked[i].astype(np.int16) - clean[i]).mean() for i in seen]))
        # A window that was fooled before the attack is in no rate.
        already = bool(w.line["already_fooled"])
        won = not already and fooled_by(w.line, label, own_clean, args.target)
        already_fooled += already
        claims += bool(w.line["success"])
        confirmed += bool(w.line["success"]) and won
        fooled += won
        agree += label == w.line["final_label"]
        rows.append([w.line["window"], w.by, len(seen), clean_label, own_clean, w.line["final_label"], label, f"{probability:.3f}",
                     w.line["success"], won, w.line.get("queries_first_success"), w.line["keyframes"]])  # fmt: skip
    total = len(windows)
    summary: dict[str, Any] = {
        "windows": total,
        "reported_success": claims,
        "already_fooled": already_fooled,
        "confirmed": confirmed,
        "confirmed_rate": round(confirmed / claims, 4) if claims else None,
        "fooling_rate": round(fooled / (total - already_fooled), 4) if total > already_fooled else None,
        "label_agreement": round(agree / total, 4) if total else None,
        "windows_by_index": sum(w.by == "index" for w in windows),
        "chroma": chroma,
    }
    if clean is not None:
        summary["clean_label_agreement"] = round(clean_agree / total, 4) if total else None
        if clean and clean[0].shape == attacked[0].shape:
            summary["map_rgb"] = round(float(np.mean(maps)), 4) if maps else None
            summary |= changed_frames(windows, clean, attacked, meta.frame_step)
    return summary, rows


def print_table(rows: list[list[Any]], meta: Metadata) -> None:
    head = ["window", "by", "frames", "clean", "clean here", "final", "final here", "p", "claimed", "fooled", "queries", "keyframes"]
    for row in rows:
        for column in (3, 4, 5, 6):
            row[column] = "-" if row[column] is None else meta.label_name(row[column])
    text = [head] + [["-" if c is None else str(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in text) for i in range(len(head))]
    for row in text:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, required=True, help="the TorchScript archive that sparseadv attacked")
    p.add_argument("--attacked", type=Path, required=True, help="what the pipeline wrote")
    p.add_argument("--report", type=Path, required=True, help="sparseadv's report-location")
    p.add_argument("--clean", type=Path, help="the same pipeline's output without sparseadv")
    p.add_argument("--stride", type=int, help="frames from one window to the next, where timestamps don't help (default: the window)")
    p.add_argument("--target", type=int, help="the label that counts as fooled (default: what the report says the attack was after)")
    p.add_argument(
        "--chroma",
        default="left",
        help=f"how to read 4:2:0, of {', '.join(CHROMA)}; several with commas, the first one judges (default: left)",
    )
    p.add_argument("--need", type=float, default=0.95, help="least share of the claims that must be confirmed (default: 0.95)")
    p.add_argument("--min-windows", type=int, default=1, help="least number of windows (default: 1)")
    args = p.parse_args(argv)
    args.chroma = args.chroma.split(",")
    if not set(args.chroma) <= set(CHROMA):
        p.error(f"expected --chroma of {', '.join(CHROMA)}, found {', '.join(args.chroma)}")
    for path in (args.model, args.attacked, args.report, args.clean):
        if path and not path.is_file():
            p.error(f"expected a file at {path}, found none; was the pipeline run?")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        meta = read_metadata(args.model)
        model = torch.jit.load(str(args.model), map_location="cpu").eval()
        # The first reading judges; the others say how far a claim depends on it.
        (summary, rows), *others = [judge(args, chroma, model, meta) for chroma in args.chroma]
    except (ContractError, ValueError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    print_table(rows, meta)
    if others:
        summary["other_readings"] = {s["chroma"]: {k: s[k] for k in ("confirmed", "confirmed_rate", "label_agreement")} for s, _ in others}
    print(json.dumps(summary))
    if summary["windows"] < args.min_windows:
        print(f"error: expected at least {args.min_windows} windows, found {summary['windows']}; give longer clips", file=sys.stderr)
        return 1
    if (summary["confirmed_rate"] or 0.0) < args.need:
        found = "no claim of success" if summary["confirmed_rate"] is None else f"{summary['confirmed']} of {summary['reported_success']}"
        print(f"error: expected {args.need:.0%} of the reported successes confirmed, found {found}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
