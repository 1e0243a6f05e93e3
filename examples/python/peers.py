# SPDX-License-Identifier: MPL-2.0
"""Compares `sparseadv` with attacks of ART and adv-lib on the same model and the same windows.

    pip install adversarial-robustness-toolbox==1.20.1 packaging
    python peers.py --model c3d.pt --data /path/to/weizmann --windows 3 --eps 2 --steps 5,10 --ours patience=5
    python peers.py --model c3d.pt --data /path/to/weizmann --encoder rgb --methods ddn,fmn-l1 --steps 10,20,40 --ours norm=l1

The peers are the Adversarial Robustness Toolbox's FrameSaliencyAttack in its three methods, each with ProjectedGradientDescent inside, and
plain PGD on all frames, which is what ART's one_shot turns out to be as well. A window is the first one of a clip; every attack is
untargeted, against the model's own label of the clean window. The minimum-norm attacks of adv-lib (minimum_norm.py) take --steps alone.

They perturb the model's view in 0..1, which is of whole gray levels where clips have the size that the model resizes to (--size). Ours runs
in a GStreamer pipeline, perturbs the decoded frames, and is judged by the file that comes out, which PyAV decodes and plain torch resizes,
crops and classifies. The columns:

    fooled (float)   theirs: the result as it is; ours: the element's own claim, which is about 8-bit samples already
    fooled (u8)      theirs: the result rounded to 256 gray levels; ours: the decoded file. Both classified by plain torch
    calls            forwards and backwards of the model, as counted: theirs by hooks, with all their own checks; ours as reported
    frames, MAP      frames that differ from the clean view, and the mean absolute difference in gray levels over all 16 of them; both over
                     windows that are fooled (u8)
    seconds          of the attack alone, without decoding, encoding and loading

The last lines set each of our settings against the cheapest of iterative_saliency that fools as many windows after rounding. --record
writes the table and these lines for results.py, which makes a page of them; seconds are left out, for they depend on what else runs.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import minimum_norm
import numpy as np
import torch
from results import Record, markdown
from sparseadv.preprocess import CHROMA, ContractError, Metadata, frames, read_metadata, to_input

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))
from lossless_check import ENCODERS, find_clips, launch, pipeline  # noqa: E402

ART = ("iterative_saliency", "iterative_saliency_refresh", "one_shot", "pgd")
METHODS = (*ART, *minimum_norm.NAMES)
TIME_AXIS = 2  # of the view, [1, 3, T, H, W]


class Counted(torch.nn.Module):
    """The model behind its normalisation: takes a view in 0..1 as [B, 3, T, H, W], gives logits, and counts what is asked of it."""

    def __init__(self, path: Path, meta: Metadata) -> None:
        super().__init__()
        self.model = torch.jit.load(str(path), map_location="cpu").eval()
        for p in self.model.parameters():
            p.requires_grad_(False)
        self.meta = meta
        self.forwards = self.backwards = self.classes = 0

    def reset(self) -> None:
        self.forwards = self.backwards = 0

    def count_backward(self, _gradient: torch.Tensor) -> None:
        self.backwards += 1

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        if view.shape[0] != 1:
            raise ValueError(f"expected one window a call, so that calls can be compared, found {view.shape[0]}")
        low, high = self.meta.range
        axes = (3, 1, 1, 1)
        x = (view * (high - low) + low - torch.tensor(self.meta.mean).view(axes)) / torch.tensor(self.meta.std).view(axes)
        out = self.model(x if self.meta.layout == "BCTHW" else x.transpose(1, 2))
        self.forwards += 1
        logits = out[0] if isinstance(out, (tuple, list)) else out
        self.classes = logits.shape[1]
        if logits.requires_grad:
            logits.register_hook(self.count_backward)  # runs once for every pass back through the model
        return logits

    def label(self, view: np.ndarray) -> int:
        with torch.no_grad():
            return int(self(torch.from_numpy(view))[0].argmax())


@dataclass
class Window:
    """The first window of a clip."""

    clip: Path
    view: np.ndarray  # [1, 3, T, H, W] in 0..1
    label: int


@dataclass
class Result:
    """What one attack did to one window."""

    clip: str
    fooled: bool
    verified: bool
    forwards: int
    backwards: int
    frames: int
    map: float
    seconds: float
    report: dict[str, Any] = field(default_factory=dict)  # ours: the element's own, for --json

    @property
    def calls(self) -> int:
        return self.forwards + self.backwards


@dataclass
class Row:
    """One method at one setting, on all windows."""

    method: str
    settings: str
    results: list[Result] = field(default_factory=list)

    def mean(self, name: str) -> float:
        """Over all windows; of sizes over those that are fooled after rounding."""
        results = [r for r in self.results if r.verified] if name in SIZES else self.results
        return float(np.mean([getattr(r, name) for r in results])) if results else float("inf")

    def cells(self) -> list[str]:
        share = [f"{sum(getattr(r, n) for r in self.results)}/{len(self.results)}" for n in ("fooled", "verified")]
        digits = {"forwards": 1, "backwards": 1, "calls": 1, "frames": 1, "map": 3, "seconds": 2}
        means = [f"{mean:.{d}f}" if np.isfinite(mean := self.mean(n)) else "-" for n, d in digits.items()]
        return [self.method, self.settings, *share, *means]


SIZES = ("frames", "map")  # of windows that were not fooled they would say nothing: ours leaves those clean
HEAD = ["method", "settings", "fooled (float)", "fooled (u8)", "forwards", "backwards", "calls", "frames", "MAP", "seconds"]


def difference(clean: np.ndarray, attacked: np.ndarray) -> dict[str, Any]:
    """Frames with any change, and MAP in gray levels over all of them."""
    delta = np.abs(attacked.astype(np.float64) - clean)
    others = tuple(a for a in range(delta.ndim) if a != TIME_AXIS)
    return {"frames": int((delta.max(axis=others) > 0).sum()), "map": float(delta.mean() * 255)}


class Bench:
    """Where the windows come from and the pipelines run."""

    def __init__(self, args: argparse.Namespace, meta: Metadata, out: Path) -> None:
        self.args, self.meta, self.out = args, meta, out
        # The view before normalisation, in one order of axes.
        self.plain = replace(meta, mean=[0.0] * 3, std=[1.0] * 3, range=[0.0, 1.0], layout="BCTHW")

    def run(self, clip: Path, target: Path, element: str | None) -> np.ndarray | None:
        """A clip's first window through a lossless pipeline and back, as the view; None if the clip is shorter."""
        # A decoder still lets some frames out behind it: nobody looks at those.
        first = f"identity eos-after={self.meta.window * self.meta.frame_step}"
        line = pipeline(clip, target, self.args.encoder, self.args.size, " ! ".join(filter(None, [first, element])))
        problem = launch(line, self.args.plugins.resolve(), self.out / "registry.bin", self.args.timeout)
        if problem:
            raise SystemExit(f"expected the pipeline to run, found: {problem}\n  gst-launch-1.0 {line}")
        decoded = [rgb for _, rgb in frames(target, self.args.chroma)]
        target.unlink()
        if len(decoded) < self.meta.window * self.meta.frame_step:
            return None
        return to_input(decoded[:: self.meta.frame_step], self.plain).numpy()

    def windows(self, model: Counted) -> Iterator[Window]:
        left = self.args.windows
        for clip in find_clips(self.args.data, self.args.groups.split(",")):
            if left == 0:
                return
            # A lossless copy, so that both sides start from the very same decoded samples.
            view = self.run(clip, self.out / "clean.mkv", None)
            if view is None:
                print(f"{clip}: shorter than a window, left out", file=sys.stderr)
                continue
            left -= 1
            yield Window(clip, view, model.label(view))
        if left:
            raise SystemExit(
                f"expected {self.args.windows} clips of at least a window, found {self.args.windows - left}; lower --windows or add to --groups"
            )

    def ours(self, window: Window, model: Counted, properties: str, shift: int) -> Result:
        """`shift` as --target-shift."""
        report = self.out / "report.jsonl"
        report.unlink(missing_ok=True)
        target = (window.label + shift) % model.classes if shift else None
        if target is not None:
            properties = f"target-label={target} {properties}"
        element = (
            f"sparseadv model={shlex.quote(str(self.args.model))} report-location={shlex.quote(str(report))} tail=passthrough {properties}"
        )
        attacked = self.run(window.clip, self.out / "attacked.mkv", element)
        lines = [json.loads(text) for text in report.read_text().splitlines()] if report.is_file() else []
        # Windows of frames that came out behind the first are of no interest, unless they reach into it.
        span = self.meta.window * self.meta.frame_step
        if not lines or attacked is None or any(other["first_frame"] < span for other in lines[1:]):
            raise SystemExit(
                f"{window.clip}: expected one window in the first {span} frames, found reports {lines!r:.300}; does {properties!r} change the windows?"
            )
        line = lines[0]
        # The element reads chroma in its own way: a label it gave the clean window is no success either.
        label = model.label(attacked)
        verified = label == target if target is not None else label not in (window.label, line["clean_label"])
        size = difference(window.view, attacked)
        return Result(
            str(window.clip), bool(line["success"]), verified, line["forwards"], line["backwards"], **size, seconds=line["seconds"], report=line
        )


def rounded(view: np.ndarray) -> np.ndarray:
    """To 256 gray levels."""
    return (np.rint(view.clip(0, 1) * 255) / 255).astype(np.float32)


def judged(window: Window, model: Counted, generate: Callable[[], np.ndarray]) -> Result:
    """Runs an attack of theirs and classifies what comes of it."""
    model.reset()
    began = time.monotonic()
    attacked = generate()
    seconds = time.monotonic() - began
    forwards, backwards = model.forwards, model.backwards
    pushed = rounded(attacked)
    fooled, verified = (model.label(view) != window.label for view in (attacked, pushed))
    # What rounding does to a clean view that was resized is none of their doing.
    size = difference(rounded(window.view), pushed)
    return Result(str(window.clip), fooled, verified, forwards, backwards, **size, seconds=seconds)


class Peer:
    """ART's attacks on one model."""

    def __init__(self, model: Counted, classes: int, shape: tuple[int, ...]) -> None:
        try:
            from art.attacks.evasion import FrameSaliencyAttack, ProjectedGradientDescent
            from art.estimators.classification import PyTorchClassifier
        except ImportError as e:
            raise SystemExit(f"expected ART, found {e}; pip install adversarial-robustness-toolbox==1.20.1 packaging") from None
        self.model, self.pgd, self.saliency = model, ProjectedGradientDescent, FrameSaliencyAttack
        self.estimator = PyTorchClassifier(
            model, loss=torch.nn.CrossEntropyLoss(), input_shape=shape, nb_classes=classes, clip_values=(0.0, 1.0), device_type="cpu"
        )

    def attack(self, window: Window, method: str, eps: float, steps: int, step: float) -> Result:
        """`eps` and `step` in gray levels."""
        pgd = self.pgd(self.estimator, eps=eps / 255, eps_step=step / 255, max_iter=steps, batch_size=1, verbose=False)
        attack = pgd if method == "pgd" else self.saliency(self.estimator, pgd, method, frame_index=TIME_AXIS, batch_size=1, verbose=False)
        # Neither side is told the label. A copy, since ART writes into what it is given.
        return judged(window, self.model, lambda: attack.generate(window.view.copy()))


def smallest(window: Window, model: Counted, attack: minimum_norm.Attack, steps: int) -> Result:
    """One of adv-lib's."""
    view, label = torch.from_numpy(window.view), torch.tensor([window.label])
    return judged(window, model, lambda: attack(model, view, label, steps).detach().numpy())


def verdict(ours: Row, rows: list[Row]) -> str:
    """One of our settings against the cheapest of iterative_saliency that fools at least as many windows after rounding."""
    name = f"ours ({ours.settings}), {ours.cells()[3]} fooled (u8)"
    equal = [r for r in rows if r.method == "iterative_saliency" and r.mean("verified") >= ours.mean("verified")]
    if not equal:
        return f"{name}: no setting of iterative_saliency here fools as many"
    best = min(equal, key=lambda r: (r.mean("calls"), r.mean("map")))
    said = []
    for key, unit, digits in (("map", "MAP", 3), ("frames", "frames", 1)):
        a, b = ours.mean(key), best.mean(key)
        said.append(f"{unit} {a:.{digits}f} against {b:.{digits}f}, {'no larger' if a <= b else 'LARGER'}")
    a, b = ours.mean("calls"), best.mean("calls")
    return (
        f"{name}: {a:.1f} calls, {a / b:.3f} of the {b:.1f} of the cheapest iterative_saliency that fools as many ({best.settings}, "
        f"{best.cells()[3]}); {'; '.join(said)}"
    )


def numbers(text: str) -> list[float]:
    return [float(n) for n in text.split(",")]


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, required=True, help="the TorchScript archive to attack")
    p.add_argument("--data", type=Path, required=True, help="folder of clips, searched recursively")
    p.add_argument("--groups", default="moshe,shahar,lyova", help="prefixes of file names, in order (default: moshe,shahar,lyova)")
    p.add_argument("--windows", type=int, default=10, help="number of windows, each the first of a clip (default: 10)")
    p.add_argument("--methods", default=",".join(ART), help=f"theirs, of {', '.join(METHODS)} (default: ART's)")
    p.add_argument("--eps", type=numbers, default=[1, 2, 4], metavar="E,E,...", help="ART's bounds in gray levels (default: 1,2,4)")
    p.add_argument("--steps", type=numbers, default=[5, 10], metavar="N,N,...", help="PGD's max_iter, or adv-lib's steps (default: 5,10)")
    p.add_argument("--reach", type=float, default=2.5, help="PGD's step is this times eps / max_iter, eps at the most (default: 2.5)")
    p.add_argument(
        "--ours",
        action="append",
        default=[],
        metavar="PROPERTIES",
        help="one more row of ours, as 'patience=5 confidence=0'; repeatable",
    )
    p.add_argument("--target-shift", type=int, default=0, metavar="N", help="ours targets the label + N instead of any other (needs --methods '')")
    p.add_argument("--reuse", type=Path, metavar="FILE", help="take ART's rows from an earlier --json with this model and these windows")
    p.add_argument("--json", type=Path, metavar="FILE", help="write all rows and windows here")
    p.add_argument("--record", type=Path, metavar="FILE", help="write the table here for results.py")
    encoder = "of the lossless files; with rgb ours gets RGB frames, as ART does (default: ffv1)"
    p.add_argument("--encoder", default="ffv1", choices=ENCODERS, help=encoder)
    p.add_argument("--size", metavar="WxH", help="scale the clips first; at the size that the model resizes to, both sides perturb the same pixels")
    p.add_argument("--chroma", default="left", choices=CHROMA, help="how the judge reads 4:2:0 (default: left)")
    p.add_argument("--plugins", type=Path, default=ROOT / "target" / "release", help="folder of the plugin (default: target/release)")
    p.add_argument("--timeout", type=float, default=1800, help="seconds for one pipeline (default: 1800)")
    args = p.parse_args(argv)
    args.methods = [m for m in args.methods.split(",") if m]
    if not set(args.methods) <= set(METHODS):
        p.error(f"expected --methods of {', '.join(METHODS)}, found {', '.join(args.methods)}")
    if args.windows < 1 or min(args.eps) <= 0 or min(args.steps) < 1:
        p.error("expected at least one window, and positive --eps and --steps")
    if args.target_shift and (args.methods or args.reuse):
        p.error("expected --methods '' and no --reuse with --target-shift: their attacks here are untargeted")
    return args


def subject(args: argparse.Namespace, windows: list[Window]) -> dict[str, Any]:
    """What rows must share to be compared."""
    return {"model": str(args.model), "chroma": args.chroma, "encoder": args.encoder, "size": args.size, "clips": [str(w.clip) for w in windows]}


def reused(path: Path, wanted: dict[str, Any]) -> list[Row]:
    old = json.loads(path.read_text())
    other = [key for key, value in wanted.items() if old.get(key) != value]
    if other:
        raise SystemExit(
            f"expected {path} to be of the same model, clips, chroma, encoder and size, found another {' and '.join(other)}; leave out --reuse"
        )
    return [Row(r["method"], r["settings"], [Result(**x) for x in r["results"]]) for r in old["rows"] if r["method"] != "ours"]


def measure(args: argparse.Namespace, bench: Bench, model: Counted) -> tuple[list[Window], list[Row]]:
    windows = list(bench.windows(model))
    rows = []
    for properties in ["", *args.ours]:
        goal = f"target: label + {args.target_shift}" if args.target_shift else ""
        row = Row("ours", ", ".join(filter(None, [properties or "default", goal])))
        row.results = [bench.ours(w, model, properties, args.target_shift) for w in windows]
        print(" ".join(row.cells()), file=sys.stderr)
        rows.append(row)
    if args.reuse:
        return windows, rows + reused(args.reuse, subject(args, windows))
    theirs = [m for m in args.methods if m in minimum_norm.NAMES]
    for method in theirs:
        attack = minimum_norm.attacks()[method]
        for steps in map(int, args.steps):
            row = Row(method, f"{steps} steps")
            row.results = [smallest(w, model, attack, steps) for w in windows]
            print(" ".join(row.cells()), file=sys.stderr)
            rows.append(row)
    if not set(args.methods) - set(theirs):
        return windows, rows
    peer = Peer(model, model.classes, windows[0].view.shape[1:])
    for method in [m for m in args.methods if m in ART]:
        for eps in args.eps:
            for steps in map(int, args.steps):
                step = min(args.reach * eps / steps, eps)
                row = Row(method, f"eps {eps:g}/255, {steps} steps of {step:.3g}/255")
                row.results = [peer.attack(w, method, eps, steps, step) for w in windows]
                print(" ".join(row.cells()), file=sys.stderr)
                rows.append(row)
    return windows, rows


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        meta = read_metadata(args.model)
        model = Counted(args.model, meta)
        # The executor's optimization makes a module's second call slow; the element runs without it too.
        with tempfile.TemporaryDirectory() as out, torch.jit.optimized_execution(False):
            windows, rows = measure(args, Bench(args, meta, Path(out)), model)
    except (ContractError, ValueError, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    print(f"{args.model.name}, {len(windows)} windows; means a window\n\n{markdown(HEAD, [row.cells() for row in rows])}\n")
    verdicts = [verdict(row, rows) for row in rows if row.method == "ours" and set(args.methods) & set(ART)]
    print("\n".join(verdicts))
    record = Record(args.record, ["model", "windows", *HEAD[:-1]], argv)
    for row in rows:
        record.add([args.model.stem, len(windows), *row.cells()[:-1]], [r.report for r in row.results if r.report])
    record.conclude([f"{args.model.stem}, {verdict}" for verdict in verdicts])
    if args.json:
        found = subject(args, windows) | {"rows": [asdict(r) for r in rows], "verdicts": verdicts}
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
