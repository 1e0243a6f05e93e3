# SPDX-License-Identifier: MPL-2.0
"""How much of an attack is left behind a codec, at other window positions, and behind other programs' resizers: three tables.

    python survival.py codec     --model lrcn.pt --data /path/to/weizmann --groups shahar --windows 10
    python survival.py codec     --model lrcn.pt --data /path/to/weizmann --codecs q23,q28 --alone --row "survive=q23|q28 confidence=2"
    python survival.py phase     --model lrcn.pt --data /path/to/weizmann --row "" --row "stride=8" --row "stride=4 confidence=2"
    python survival.py resizers  --model lrcn.pt --data /path/to/weizmann --row "" --row "confidence=2" --size 640x480

A row is a string of sparseadv's properties. In it `survive=same` stands for the codec of the table's line, and `survive=q23|x264` for codecs
by their names here (all of them: --help); a new one is made with --codec "NAME=ENCODER ! DECODER". Every clip is attacked once a row,
`filesrc ! decodebin ! sparseadv ! avenc_ffv1`, which loses nothing, and that file is encoded whole with each codec. In one pipeline,
`sparseadv ! ENCODER`, the encoder gets the same samples; x264enc at a bitrate may still differ by some gray levels with the caps, and
jpegenc at the right edge with what lies beyond it. PyAV decodes what comes out, and plain torch classifies every whole window.
A window counts as fooled when its label differs from the one this program gives the same window of the clean file, made by the same
pipeline without sparseadv (and, for `resizers`, through the same resizer). Percentages are of all windows; frames at the end of a clip
that fill no window are left alone. Columns:

    codec alone    windows of the clean file that get another label from the codec, without any attack
    claimed        windows fooled before the codec, or with survive behind it, as the element reports
    lossless       windows fooled in the lossless file
    whole, alone   windows fooled in the file encoded as a whole; where each window is encoded alone, as the element's loop does
    MAP            of the report, over the windows it claims (codec); as seen by torch, over all frames (phase, resizers)
    calls          forwards and backwards for a window (codec) or for the frames of one (phase, resizers)

--record writes the table for results.py, which makes a page of it.

`resizers` needs `pip install --no-deps pillow opencv-python-headless torchvision==0.28.*` (for torch 2.13); what is missing is left out.
Attacks are kept in --work, so that a repeated command only makes the rows that are new.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import Record, markdown
from sparseadv.preprocess import ContractError, classify, crop_offset, frames, read_metadata

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))
from lossless_check import find_clips, launch  # noqa: E402

LOSSLESS = "avenc_ffv1"
# Encoder ! decoder. Both are what survive= takes; the encoder alone makes the file.
CODECS = {
    "x264": "x264enc ! avdec_h264",
    "q23": "x264enc pass=qual quantizer=23 ! avdec_h264",
    "q28": "x264enc pass=qual quantizer=28 ! avdec_h264",
    "vp9": "vp9enc target-bitrate=500000 deadline=1 cpu-used=4 lag-in-frames=0 ! vp9dec",
    "jpeg": "jpegenc quality=75 ! jpegdec",
}
Image = np.ndarray  # HxWx3


def percent(hits: Sequence[bool]) -> str:
    return f"{100 * sum(hits) / len(hits):.0f} %" if len(hits) else "-"


# Resizers: frames and the size to bring them to -> frames. Those of 8-bit programs round.


def by_torch(images: Sequence[Image], height: int, width: int) -> list[Image]:
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    x = torch.nn.functional.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
    return list(x.permute(0, 2, 3, 1).numpy())


def by_pillow(images: Sequence[Image], height: int, width: int) -> list[Image]:
    from PIL import Image as pillow

    return [np.asarray(pillow.fromarray(i).resize((width, height), pillow.Resampling.BILINEAR)) for i in images]


def by_opencv(images: Sequence[Image], height: int, width: int) -> list[Image]:
    import cv2

    return [cv2.resize(i, (width, height), interpolation=cv2.INTER_LINEAR) for i in images]


def by_torchvision(images: Sequence[Image], height: int, width: int, antialias: bool = True) -> list[Image]:
    from torchvision.transforms.v2 import functional

    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return list(functional.resize(x, [height, width], antialias=antialias).permute(0, 2, 3, 1).numpy())


RESIZERS: dict[str, Callable[[Sequence[Image], int, int], list[Image]]] = {
    "torch": by_torch,
    "Pillow": by_pillow,
    "OpenCV": by_opencv,
    "torchvision, antialias": by_torchvision,
    "torchvision, plain": partial(by_torchvision, antialias=False),
}
VIDEOSCALE = "videoscale"  # in a pipeline, hence no function of images


class Bench:
    """Makes files with pipelines, once each, and gives their windows' labels."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.meta = args, read_metadata(args.model)
        self.model = torch.jit.load(str(args.model), map_location="cpu").eval()
        self.flat = replace(self.meta, resize=list(self.meta.crop))  # of frames that are resized and cropped already
        self.span = self.meta.window * self.meta.frame_step
        self.work = args.work
        self.work.mkdir(parents=True, exist_ok=True)
        self.known: dict[tuple[Any, ...], Any] = {}
        width, _, height = (args.size or "").lower().partition("x")
        self.scaling = f"videoconvert ! videoscale ! video/x-raw,width={width},height={height},format=I420" if args.size else ""

    def run(self, source: Path, stages: list[str], target: Path) -> Path:
        if target.exists():
            return target
        part = target.with_suffix(".part")
        line = " ! ".join([f"filesrc location={shlex.quote(str(source))}", "decodebin", *filter(None, stages)])
        line += f" ! matroskamux ! filesink location={shlex.quote(str(part))}"
        problem = launch(line, self.args.plugins.resolve(), self.work / "registry.bin", self.args.timeout)
        if problem:
            raise SystemExit(f"expected the pipeline to run, found: {problem}\n  gst-launch-1.0 {line}")
        return part.rename(target)

    def name(self, *parts: Any) -> Path:
        """The same parts, the same file."""
        return self.work / (hashlib.sha1(repr([str(p) for p in parts]).encode()).hexdigest()[:16] + ".mkv")

    def clean(self, clip: Path) -> Path:
        return self.run(clip, [self.scaling, LOSSLESS], self.name("clean", clip, self.args.size))

    def attack(self, clip: Path, properties: str) -> tuple[Path, list[dict[str, Any]]]:
        """The attacked clip in a lossless file, and the report's lines."""
        plugin = max(path.stat().st_mtime for path in self.args.plugins.glob("lib*sparseadv*.so"))
        target = self.name("attack", clip, self.args.size, self.args.model, plugin, properties)
        report = target.with_suffix(".jsonl")
        element = f"sparseadv model={shlex.quote(str(self.args.model))} report-location={shlex.quote(str(report))} tail=passthrough"
        self.run(clip, [self.scaling, f"{element} {properties}", LOSSLESS], target)
        return target, [json.loads(text) for text in report.read_text().splitlines()]

    def encode(self, source: Path, codec: str) -> Path:
        encoder = codec.rsplit(" ! ", 1)[0]
        return self.run(source, ["videoconvert", encoder], self.name("encode", source, encoder))

    def cut(self, source: Path, first: int) -> Path:
        """A window of a lossless file as a file of its own."""
        import av

        target = self.name("cut", source, first)
        with av.open(str(source)) as whole, av.open(str(target), "w", format="matroska") as out:
            old = whole.streams.video[0]
            new = out.add_stream("ffv1", rate=old.average_rate)
            new.width, new.height, new.pix_fmt = old.width, old.height, old.pix_fmt
            for n, frame in enumerate(whole.decode(old)):
                if first <= n < first + self.span:
                    frame.pts, frame.time_base = n - first, 1 / old.average_rate
                    out.mux(new.encode(frame))
            out.mux(new.encode())
        return target

    def view(self, file: Path, resizer: str = "torch") -> list[Image]:
        """A file's frames as the model sees them, but for the normalisation."""
        key = ("view", file, resizer)
        if key in self.known:
            return self.known[key]
        if resizer == VIDEOSCALE:
            height, width = self.meta.resized(*frames(file)[0][1].shape[:2])
            scale = ["videoscale add-borders=false", f"video/x-raw,width={width},height={height}"]
            back = ["videoconvert", "video/x-raw,format=BGRx", LOSSLESS]
            images = [rgb for _, rgb in frames(self.run(file, [*scale, *back], self.name("scale", file, width, height)))]
        else:
            images = [rgb for _, rgb in frames(file)]
            height, width = self.meta.resized(*images[0].shape[:2])
            images = RESIZERS[resizer](images, height, width)
        top, left = (crop_offset(size, crop) for size, crop in zip((height, width), self.meta.crop))
        self.known[key] = [i[top : top + self.meta.crop[0], left : left + self.meta.crop[1]] for i in images]
        return self.known[key]

    def labels(self, file: Path, offset: int = 0, resizer: str = "torch") -> list[int]:
        """The labels of the windows side by side from frame `offset` on."""
        key = ("labels", file, offset, resizer)
        if key not in self.known:
            view = self.view(file, resizer)
            starts = range(offset, len(view) - self.span + 1, self.span)
            self.known[key] = [classify(self.model, view[n : n + self.span : self.meta.frame_step], self.flat)[0] for n in starts]
        return self.known[key]

    def map(self, clean: Path, attacked: Path) -> float:
        pairs = zip(self.view(clean), self.view(attacked), strict=True)
        return float(np.mean([np.abs(a - c).mean() for c, a in pairs]))

    def forget(self) -> None:
        """Views are large, and are needed for one clip at a time."""
        self.known = {key: value for key, value in self.known.items() if key[0] != "view"}

    @cached_property
    def clips(self) -> list[Path]:
        """Clips with as many windows together as asked for."""
        chosen, windows = [], 0
        for clip in find_clips(self.args.data, self.args.groups.split(",")):
            if windows >= self.args.windows:
                break
            chosen.append(clip)
            windows += len(self.labels(self.clean(clip)))
            self.forget()
        return chosen


def changed(clean: Sequence[int], other: Sequence[int]) -> list[bool]:
    if len(clean) != len(other):
        raise SystemExit(f"expected {len(clean)} windows back, found {len(other)}; does the codec drop frames?")
    return [a != b for a, b in zip(clean, other)]


def expand(properties: str, codecs: dict[str, str], same: str) -> str:
    """Replaces the names in survive=NAME|NAME by the codecs they stand for."""

    def bins(match: re.Match[str]) -> str:
        names = match[1].split("|")
        known = {**codecs, "same": same}
        return "survive=" + shlex.quote(" | ".join(known[n] for n in names)) if set(names) <= set(known) else match[0]

    return re.sub(r"survive=(\S+)", bins, properties)


def cost(lines: list[dict[str, Any]], windows: int) -> dict[str, float]:
    total = lambda *keys: sum(line[k] for line in lines for k in keys) / windows  # noqa: E731
    sizes = [line["map"] for line in lines if line["success"]]
    means = {"keyframes": total("perturbed_frames"), "calls": total("forwards", "backwards"), "codec_runs": total("codec_runs")}
    return {"map": float(np.mean(sizes or [0.0])), **means}


CODEC_HEAD = ["codec", "properties", "windows", "codec alone", "claimed", "lossless", "whole"]
COST_HEAD = ["MAP", "keyframes", "calls", "codec runs"]
Row = tuple[list[Any], list[dict[str, Any]]]  # its cells, and the report's lines


def codec_row(bench: Bench, name: str, properties: str) -> Row:
    codecs = bench.args.codecs
    hits: dict[str, list[bool]] = {k: [] for k in ("codec_alone", "claimed", "lossless", "whole", "alone")}
    lines: list[dict[str, Any]] = []
    for clip in bench.clips:
        clean, (attacked, report) = bench.clean(clip), bench.attack(clip, expand(properties, codecs, codecs[name]))
        own = bench.labels(clean)
        hits["codec_alone"] += changed(own, bench.labels(bench.encode(clean, codecs[name])))
        hits["claimed"] += [bool(line["success"]) for line in report]
        hits["lossless"] += changed(own, bench.labels(attacked))
        hits["whole"] += changed(own, bench.labels(bench.encode(attacked, codecs[name])))
        if bench.args.alone:
            parts = [bench.encode(bench.cut(attacked, n * bench.span), codecs[name]) for n in range(len(own))]
            hits["alone"] += changed(own, [bench.labels(p)[0] for p in parts])
        lines += report
        bench.forget()
    c = cost(lines, len(lines))
    shares = [percent(hits[k]) for k in ("claimed", "lossless", "whole", *["alone"] * bench.args.alone)]
    means = [f"{c['map']:.3f}", *(f"{c[k]:.1f}" for k in ("keyframes", "calls", "codec_runs"))]
    return [name, properties or "default", len(hits["whole"]), sum(hits["codec_alone"]), *shares, *means], lines


def by_codec(bench: Bench) -> tuple[list[str], list[tuple[str, str]], Callable[..., Any]]:
    rows = bench.args.row or ["", "survive=same"]
    names = bench.args.names
    head = [*CODEC_HEAD, *["alone"] * bench.args.alone, *COST_HEAD]
    return head, [(name, row) for name in names for row in rows], codec_row


def by_phase(bench: Bench) -> tuple[list[str], list[tuple[str]], Callable[..., Any]]:
    offsets = range(bench.span)
    head = ["properties", "windows", "mean", "least", *map(str, offsets), "MAP", "calls"]

    def row(bench: Bench, properties: str) -> Row:
        hits: list[list[bool]] = [[] for _ in offsets]
        lines, maps, windows = [], [], 0
        for clip in bench.clips:
            clean, (attacked, report) = bench.clean(clip), bench.attack(clip, properties)
            for o in offsets:
                hits[o] += changed(bench.labels(clean, o), bench.labels(attacked, o))
            lines += report
            windows += len(bench.labels(clean))
            maps += [bench.map(clean, attacked)] * len(bench.labels(clean))
            bench.forget()
        rates, c = [float(np.mean(h)) for h in hits], cost(lines, windows)
        c["map"] = float(np.mean(maps))
        shares = [f"{100 * r:.0f} %" for r in (np.mean(rates), min(rates))] + [f"{100 * r:.0f}" for r in rates]
        return [properties or "default", sum(map(len, hits)), *shares, f"{c['map']:.3f}", f"{c['calls']:.1f}"], lines

    return head, [(r,) for r in bench.args.row or ["", "stride=8", "stride=4"]], row


def by_resizer(bench: Bench) -> tuple[list[str], list[tuple[str]], Callable[..., Any]]:
    names = []
    for name, resize in RESIZERS.items():
        try:
            resize([np.zeros((4, 4, 3), np.uint8)], 2, 2)
            names.append(name)
        except ImportError as e:
            print(f"{name} left out: {e}", file=sys.stderr)
    names.append(VIDEOSCALE)
    head = ["properties", "windows", "claimed", *names, "MAP", "calls"]

    def row(bench: Bench, properties: str) -> Row:
        hits: dict[str, list[bool]] = {n: [] for n in ["claimed", *names]}
        lines, maps = [], []
        for clip in bench.clips:
            clean, (attacked, report) = bench.clean(clip), bench.attack(clip, properties)
            hits["claimed"] += [bool(line["success"]) for line in report]
            for n in names:
                hits[n] += changed(bench.labels(clean, 0, n), bench.labels(attacked, 0, n))
            lines += report
            maps += [bench.map(clean, attacked)] * len(bench.labels(clean))
            bench.forget()
        c = cost(lines, len(maps)) | {"map": float(np.mean(maps))}
        return [properties or "default", len(maps), *map(percent, hits.values()), f"{c['map']:.3f}", f"{c['calls']:.1f}"], lines

    return head, [(r,) for r in bench.args.row or ["", "confidence=2"]], row


TABLES = {"codec": by_codec, "phase": by_phase, "resizers": by_resizer}


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--model", type=Path, required=True, help="the TorchScript archive to attack")
    common.add_argument("--data", type=Path, required=True, help="folder of clips, searched recursively")
    common.add_argument("--groups", default="moshe,shahar,lyova", help="prefixes of file names, in order (default: moshe,shahar,lyova)")
    common.add_argument("--windows", type=int, default=10, help="windows at least; the last clip is used whole (default: 10)")
    common.add_argument("--row", action="append", default=[], metavar="PROPERTIES", help="one more row, as 'confidence=2'; repeatable")
    common.add_argument("--size", metavar="WxH", help="scale the clips before the attack, as 640x480")
    common.add_argument("--record", type=Path, metavar="FILE", help="write the table here for results.py, after each row")
    common.add_argument("--work", type=Path, help="keep the files here (default: a temporary folder, deleted)")
    common.add_argument("--plugins", type=Path, default=ROOT / "target" / "release", help="folder of the plugin (default: target/release)")
    common.add_argument("--timeout", type=float, default=1800, help="seconds for one pipeline (default: 1800)")
    tables = p.add_subparsers(dest="table", required=True)
    known = "; ".join(f"{name}: {bins}" for name, bins in CODECS.items())
    c = tables.add_parser("codec", parents=[common], help="fooled windows behind codecs", epilog=f"Codecs: {known}")
    c.add_argument("--codecs", dest="names", default=",".join(CODECS), help="names with commas (default: all)")
    c.add_argument("--codec", action="append", default=[], metavar="NAME=ENCODER ! DECODER", help="one more codec; repeatable")
    c.add_argument("--alone", action="store_true", help="also encode each window alone")
    tables.add_parser("phase", parents=[common], help="fooled windows that start at any frame")
    tables.add_parser("resizers", parents=[common], help="fooled windows behind other programs' resizers")
    args = p.parse_args(argv)
    if args.table == "codec":
        args.codecs = CODECS | {name: bins for name, _, bins in (text.partition("=") for text in args.codec)}
        args.names = args.names.split(",") + [n for n in args.codecs if n not in CODECS]
        if not set(args.names) <= set(args.codecs):
            p.error(f"expected --codecs of {', '.join(args.codecs)}, found {', '.join(args.names)}")
    if args.windows < 1:
        p.error("expected at least one window")
    if not list(args.plugins.glob("libgstsparseadv.*")):
        p.error(f"expected the plugin in {args.plugins}, found none; build it with cargo build --release, or correct --plugins")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary, torch.jit.optimized_execution(False):
        args.work = args.work or Path(temporary)
        try:
            bench = Bench(args)
            head, rows, measure = TABLES[args.table](bench)
            record = Record(args.record, ["model", *head], argv)
            table = []
            for row in rows:
                began = time.monotonic()
                cells, lines = measure(bench, *row)
                print(f"{' | '.join(map(str, cells))}   [{time.monotonic() - began:.0f} s]", file=sys.stderr, flush=True)
                table.append(cells)
                record.add([args.model.stem, *cells], lines)
        except (ContractError, ValueError, OSError) as e:
            print(f"error: {e}", file=sys.stderr)
            return 2
    print(f"{args.model.name}, {len(bench.clips)} clips, {args.size or 'native size'}\n\n{markdown(head, table)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
