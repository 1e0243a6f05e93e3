# SPDX-License-Identifier: MPL-2.0
"""Where the time of an attack goes: a profile by perf, by what the code does, and how far the model's arithmetic is from the processor's peak.

    python profile_window.py --model c3d.pt --clip walk.mp4 --record examples/results/profile.c3d.json

perf samples a pipeline that attacks the clip window by window, over and over, and of that the attacking threads: loading and decoding are on
others. The peak is that of a product of large matrices in single precision on as many threads, measured here. The arithmetic is what torch counts in a forward and a
backward by the input. Needs perf, torch and a release build of the plugin.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from sparseadv.preprocess import read_metadata
from results import Record, markdown
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 10
# The first that fits the library and the symbol. Each says what is done there.
COSTS = [
    ("waiting", r"libgomp", "Threads of a team wait for the others: loops that are too small, or of uneven parts."),
    ("convolutions", r"dnnl|mkldnn|mkl_|gemm|unfold|vol2col|col2vol|im2col|slow_conv|brgemm|jit_", "The model's convolutions and matrix products."),
    ("pooling and pointwise", r"max_pool|batch_norm|threshold|relu|clamp|Vectorized|TensorIterator|native::", "The model's pools and rectifiers, and sums and copies of tensors, bound by memory."),
    ("observing and rendering", r"libsparseadv_torch|gstsparseadv", "Perturbation to 8-bit samples, to the model's view, and the gradient back."),
    ("memory", r"malloc|_int_free|free|memset|memmove|page_fault|clear_page|madvise|munmap", "Memory that is taken, cleared, moved and given back."),
    ("the system", r"kernel", "The kernel: switching threads, and faults on new pages."),
    ("the rest", r"", "The interpreter of TorchScript, the bookkeeping of gradients, and what is spread thin."),
]  # fmt: skip


def profile(args: argparse.Namespace, folder: Path) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """The share of each cost, in per cent, and the element's report lines."""
    data, lines = folder / "perf.data", folder / "report.jsonl"
    element = f"sparseadv model={args.model} batch-windows=1 report-location={lines} {args.properties}"
    # So many windows that what happens once, such as the first pass, has no weight.
    clips = ROUNDS * f"filesrc location={args.clip} ! decodebin ! clips. "
    pipeline = f"concat name=clips ! {element} ! fakesink {clips}"
    environment = dict(os.environ, GST_PLUGIN_PATH=str(args.plugins), GST_REGISTRY=str(folder / "registry"))
    launch = ["gst-launch-1.0", "-q", *pipeline.split()]
    subprocess.run(["perf", "record", "-q", "-F", "499", "-o", str(data), *launch], check=True, env=environment, stdout=subprocess.DEVNULL)
    # Threads have the name of the one that started them.
    report = ["perf", "report", "-i", str(data), "--no-children", "--comms", "sparseadv,sparseadv-model", "--percentage", "relative", "--sort", "dso,symbol", "--stdio", "--percent-limit", "0"]
    text = subprocess.run(report, check=True, capture_output=True, text=True).stdout
    shares = {name: 0.0 for name, _, _ in COSTS}
    for line in text.splitlines():
        if found := re.match(r"\s*([\d.]+)%\s+(.*)", line):
            name = next(name for name, pattern, _ in COSTS if re.search(pattern, found[2], re.IGNORECASE))
            shares[name] += float(found[1])
    return shares, [json.loads(line) for line in lines.read_text().splitlines()]


def peak() -> float:
    """Operations a second of a product of large matrices."""
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    times = []
    for _ in range(8):
        began = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - began)
    return 2 * 2048**3 / min(times)


def model_alone(path: Path) -> tuple[float, float]:
    """Operations of a forward and a backward by the input, and the seconds they take."""
    meta = read_metadata(path)
    model = torch.jit.load(str(path)).eval()
    for p in model.parameters():
        p.requires_grad_(False)
    h, w = meta.crop
    clip = torch.rand((1, 3, meta.window, h, w) if meta.layout == "BCTHW" else (1, meta.window, 3, h, w))

    def iteration() -> None:
        out = model(clip.clone().requires_grad_())
        (out[0] if isinstance(out, tuple) else out)[:, 0].sum().backward()

    times = []
    with torch.jit.optimized_execution(False):
        for _ in range(8):
            began = time.perf_counter()
            iteration()
            times.append(time.perf_counter() - began)
        with FlopCounterMode(display=False) as counter:
            iteration()
    return float(counter.get_total_flops()), min(times)


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, required=True)
    p.add_argument("--clip", type=Path, required=True)
    p.add_argument("--properties", default="", help="further properties of sparseadv")
    p.add_argument("--plugins", type=Path, default=ROOT / "target" / "release", help="folder of the plugin (default: target/release)")
    p.add_argument("--record", type=Path, metavar="FILE", help="write the table here for results.py")
    args = p.parse_args(argv)
    record = Record(args.record, ["model", "share of the time, %", "what", "which is"], argv)
    with tempfile.TemporaryDirectory() as folder:
        shares, reports = profile(args, Path(folder))
    said = {name: what for name, _, what in COSTS}
    rows = [[args.model.stem, f"{share:.0f}", name, said[name]] for name, share in sorted(shares.items(), key=lambda item: -item[1])]
    print(markdown(["model", "share of the time, %", "what", "which is"], rows[:5]))
    for row in rows[:5]:
        record.add(row, reports)
    operations, seconds = model_alone(args.model)
    best = peak()
    finding = (
        f"{args.model.stem}: a forward and backward is {operations / 1e9:.1f} billion operations, which take {1000 * operations / best:.1f} ms at the "
        f"{best / 1e9:.0f} billion a second of a large matrix product here, and {1000 * seconds:.1f} ms in libtorch."
    )
    print(finding)
    record.conclude([finding])
    return 0


if __name__ == "__main__":
    sys.exit(main())
