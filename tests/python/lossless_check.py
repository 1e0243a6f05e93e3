# SPDX-License-Identifier: MPL-2.0
"""Attacks test clips in real GStreamer pipelines and has independent_check.py judge the files that come out.

    python lossless_check.py --models /path/to/models --data /path/to/weizmann --windows 20
    python lossless_check.py --models c3d.pt --data /path/to/weizmann --encoder rgb --size 1280x720 --groups moshe

For every model and clip: `filesrc ! decodebin ! sparseadv ! lossless encoder ! matroskamux ! filesink`, and the same without
sparseadv as the clean file. Ends with a line of totals a model. Exit code 1 if a model misses --need or --windows, if a clip
failed, or if a frame that is no keyframe changed. Needs the release build of the plugin. --record writes the totals for
examples/python/results.py, which makes a page of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JUDGE = Path(__file__).with_name("independent_check.py")
sys.path.insert(0, str(ROOT / "examples" / "python"))
from results import Record  # noqa: E402

# (before the attack, after it). All of them keep every bit of the element's output: x264's quantizer 0 is its lossless mode, and BGRx only
# reorders RGB's bytes for an encoder that takes no 24-bit RGB.
ENCODERS = {
    "ffv1": ("", "avenc_ffv1"),
    "rgb": ("videoconvert ! video/x-raw,format=RGB", "videoconvert ! video/x-raw,format=BGRx ! avenc_ffv1"),
    "x264": ("", "x264enc pass=quant quantizer=0 speed-preset=superfast"),
    "x264-444": ("videoconvert ! video/x-raw,format=Y444", "x264enc pass=quant quantizer=0 speed-preset=superfast"),
}

RECORD_HEAD = ["model", "properties", "stored as", "size", "windows", "already fooled", "claimed", "confirmed", "other frames changed"]


@dataclass
class Totals:
    """Sums over the clips of one model."""

    windows: int = 0
    claims: int = 0
    already_fooled: int = 0
    confirmed: int = 0
    fooled: float = 0
    agree: float = 0
    clean_agree: float = 0
    stray: int = 0
    seconds: float = 0
    failures: list[str] = field(default_factory=list)
    lines: list[dict] = field(default_factory=list)  # of the reports

    def add(self, s: dict) -> None:
        self.windows += s["windows"]
        self.claims += s["reported_success"]
        self.already_fooled += s["already_fooled"]
        self.confirmed += s["confirmed"]
        for name, key in (("fooled", "fooling_rate"), ("agree", "label_agreement"), ("clean_agree", "clean_label_agreement")):
            setattr(self, name, getattr(self, name) + (s[key] or 0) * (s["windows"] - (s["already_fooled"] if name == "fooled" else 0)))
        self.stray += s.get("non_keyframes_changed", 0)

    def cells(self) -> list[int]:
        return [self.windows, self.already_fooled, self.claims, self.confirmed, self.stray]

    def summary(self, model: str) -> dict:
        share = lambda n, of: round(n / of, 4) if of else None  # noqa: E731
        return {
            "model": model,
            "windows": self.windows,
            "reported_success": self.claims,
            "already_fooled": self.already_fooled,
            "confirmed": self.confirmed,
            "confirmed_rate": share(self.confirmed, self.claims),
            "fooling_rate": share(self.fooled, self.windows - self.already_fooled),
            "label_agreement": share(self.agree, self.windows),
            "clean_label_agreement": share(self.clean_agree, self.windows),
            "non_keyframes_changed": self.stray,
            "seconds": round(self.seconds, 1),
            "failures": self.failures,
        }


def launch(pipeline: str, plugins: Path, registry: Path, timeout: float) -> str | None:
    """Runs gst-launch-1.0; the reason in a sentence if it failed."""
    # A registry of its own: a plugin that once failed to load stays on the user's blacklist until that cache is deleted.
    env = os.environ | {"GST_PLUGIN_PATH": str(plugins), "GST_REGISTRY": str(registry)}
    try:
        done = subprocess.run(["gst-launch-1.0", "-q", *shlex.split(pipeline)], env=env, capture_output=True, text=True, timeout=timeout)
    except FileNotFoundError:
        raise SystemExit("expected gst-launch-1.0 on the PATH, found none; install gstreamer1.0-tools") from None
    except subprocess.TimeoutExpired:
        return f"no end after {timeout:.0f} s"
    # A pipeline that posts an error while it ends still exits with 0 now and then.
    if done.returncode != 0 or "ERROR" in done.stderr:
        return " ".join(done.stderr.split())[-400:] or f"exit code {done.returncode}"
    return None


def pipeline(clip: Path, out: Path, encoder: str, size: str | None, attack: str | None) -> str:
    before, after = ENCODERS[encoder]
    stages = [f"filesrc location={shlex.quote(str(clip))}", "decodebin"]
    if size:
        width, height = size.lower().split("x")
        stages += ["videoconvert", "videoscale", f"video/x-raw,width={width},height={height},format=I420"]
    stages += [stage for stage in (before, attack, after) if stage]
    return " ! ".join([*stages, "matroskamux", f"filesink location={shlex.quote(str(out))}"])


def judge(model: Path, attacked: Path, clean: Path, report: Path, chroma: str, python: str, verbose: bool) -> dict | str:
    """The judge's summary, or what it complained of."""
    command = [python, str(JUDGE), "--model", model, "--attacked", attacked, "--clean", clean, "--report", report, "--chroma", chroma]
    done = subprocess.run([*map(str, command), "--need", "0", "--min-windows", "0"], capture_output=True, text=True)
    if verbose:
        print(done.stdout.rstrip())
    if done.returncode != 0:
        return " ".join(done.stderr.split())[-400:]
    return json.loads(done.stdout.splitlines()[-1])


def find_clips(data: Path, groups: list[str]) -> list[Path]:
    """The groups' clips, in turn over the folders (actions), so that a few windows already cover many of them."""
    found = [
        p for p in sorted(data.rglob("*")) if p.suffix.lower() in (".avi", ".mkv", ".mp4", ".webm") and p.name.startswith(tuple(groups))
    ]
    if not found:
        raise SystemExit(f"expected clips named {', '.join(g + '*' for g in groups)} under {data}, found none; correct --data or --groups")
    return sorted(found, key=lambda p: (next(i for i, g in enumerate(groups) if p.name.startswith(g)), str(p)))


def find_models(paths: list[Path]) -> list[Path]:
    models = [m for p in paths for m in (sorted(p.glob("*.pt")) if p.is_dir() else [p])]
    if not models or not all(m.is_file() for m in models):
        raise SystemExit(f"expected .pt files or folders with some, found {', '.join(map(str, paths))}; correct --models")
    return models


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", type=Path, nargs="+", required=True, help=".pt files, or folders of them")
    p.add_argument("--data", type=Path, required=True, help="folder of clips, searched recursively")
    p.add_argument("--groups", default="moshe,shahar,lyova", help="prefixes of file names, in order (default: moshe,shahar,lyova)")
    p.add_argument("--windows", type=int, default=20, help="windows to judge for each model, at least; 0 for all clips (default: 20)")
    p.add_argument("--encoder", choices=sorted(ENCODERS), default="ffv1")
    p.add_argument("--size", metavar="WxH", help="scale the clips before the attack, as 1280x720")
    p.add_argument("--properties", default="", help="further properties of sparseadv, as 'b=0.3 max-iterations=60'")
    p.add_argument("--chroma", default="left", help="passed to the judge (default: left)")
    p.add_argument("--need", type=float, default=0.95, help="least share of the claims that must be confirmed (default: 0.95)")
    p.add_argument("--plugins", type=Path, default=ROOT / "target" / "release", help="folder of the plugin (default: target/release)")
    p.add_argument("--judge-python", default=sys.executable, help="a Python with torch, numpy and av (default: this one)")
    p.add_argument("--out", type=Path, help="keep the files here (default: a temporary folder, deleted)")
    p.add_argument("--timeout", type=float, default=1800, help="seconds for one pipeline (default: 1800)")
    p.add_argument("--record", type=Path, metavar="FILE", help="write the totals here for results.py")
    p.add_argument("--verbose", action="store_true", help="print the judge's tables")
    return p.parse_args(argv)


def check_clip(args: argparse.Namespace, model: Path, clip: Path, out: Path, totals: Totals) -> str:
    """Attacks and judges one clip; a line to print."""
    stem = f"{clip.parent.name}-{clip.stem}"
    clean, attacked, report = out / f"{stem}.clean.mkv", out / f"{stem}.{model.stem}.mkv", out / f"{stem}.{model.stem}.jsonl"
    report.unlink(missing_ok=True)
    element = f"sparseadv model={shlex.quote(str(model))} report-location={shlex.quote(str(report))} {args.properties}".strip()
    started = time.monotonic()
    for target, attack in ((clean, None), (attacked, element)):
        if target is clean and clean.exists():
            continue
        line = pipeline(clip, target, args.encoder, args.size, attack)
        problem = launch(line, args.plugins.resolve(), out / "registry.bin", args.timeout)
        if problem:
            target.unlink(missing_ok=True)
            totals.failures.append(f"{stem}: {problem}")
            return f"  {stem}: FAILED: {problem}\n    gst-launch-1.0 {line}"
    totals.seconds += time.monotonic() - started
    if not report.is_file():
        totals.failures.append(f"{stem}: no report")
        return f"  {stem}: FAILED: expected a report at {report}, found none"
    found = judge(model, attacked, clean, report, args.chroma, args.judge_python, args.verbose)
    if isinstance(found, str):
        totals.failures.append(f"{stem}: {found}")
        return f"  {stem}: FAILED: {found}"
    totals.add(found)
    totals.lines += [json.loads(text) for text in report.read_text().splitlines()]
    return (
        f"  {stem}: {found['windows']} windows, {found['reported_success']} claimed, {found['confirmed']} confirmed, label agreement "
        f"{found['label_agreement']}, clean {found['clean_label_agreement']}, MAP {found.get('map_rgb')}, strays {found.get('non_keyframes_changed')}"
    )


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    clips, models = find_clips(args.data, args.groups.split(",")), find_models(args.models)
    good = True
    record = Record(args.record, RECORD_HEAD, argv)
    with tempfile.TemporaryDirectory() as temporary:
        # A folder for each way of encoding: the clean files in it are made once and shared by the models.
        out = (args.out or Path(temporary)) / f"{args.encoder}-{args.size or 'native'}"
        out.mkdir(parents=True, exist_ok=True)
        for model in models:
            print(f"{model.name}, {args.encoder}, {args.size or 'native size'}", flush=True)
            totals = Totals()
            for clip in clips:
                print(check_clip(args, model, clip, out, totals), flush=True)
                if len(totals.failures) >= 3 and totals.windows == 0:
                    break  # the set-up is at fault, not a clip
                if args.windows and totals.windows >= args.windows:
                    break
            summary = totals.summary(model.name)
            print(json.dumps(summary), flush=True)
            record.add([model.stem, args.properties or "default", args.encoder, args.size or "native", *totals.cells()], totals.lines)
            enough = totals.windows >= args.windows
            good &= enough and not totals.failures and totals.stray == 0 and (summary["confirmed_rate"] or 0.0) >= args.need
    if not good:
        print(
            f"error: expected {args.windows} windows a model, {args.need:.0%} of the claims confirmed, no failed clip and no changed frame "
            "but keyframes; see the lines above",
            file=sys.stderr,
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
