# SPDX-License-Identifier: MPL-2.0
"""Converts a data set on a Ray cluster: one task a shard of `gst-sparseadv convert`, then `gst-sparseadv merge`.

    pip install ray
    python ray_convert.py /data/UCF-101 /data/UCF-101-attacked --model /data/c3d.pt --shards 40 -- --side test --properties patience=5
    python ray_convert.py UCF-101 UCF-101-attacked --model c3d.pt --local-workers 2      # try it out on this machine

What follows `--` is passed to `convert` as it is; `gst-sparseadv convert --help` lists its options. Data set, model, converted tree and the
tool must lie under the same paths on every node: on shared storage, or in the nodes' image. The driver runs on a node too, for it merges.

A task that fails, or whose node goes, is run again by Ray, and `convert` goes on where it was: no clip is converted twice. So it is too
when this program itself is called again. Exit status as `convert`'s: 2 if clips were skipped (the manifest says which and why), 1 if a
shard failed for good, in which case nothing is merged.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

BUILT = Path(__file__).resolve().parents[2] / "target" / "release" / "gst-sparseadv"
SKIPPED = 2  # exit status where clips were skipped: the shard is done all the same


def convert(command: list[str]) -> str:
    """Runs one shard. Returns the tool's last line."""
    # A Ray worker that is killed takes the tool along: it would go on beside the task that takes over.
    bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    done = subprocess.run([*bound, *command], capture_output=True, text=True)
    if done.returncode not in (0, SKIPPED):
        said = done.stderr.strip().splitlines()[-3:]
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}: {' '.join(said)}")
    lines = done.stdout.strip().splitlines()
    return lines[-1] if lines else ""


def parse(argv: list[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="ray_convert.py SOURCE DESTINATION --model MODEL [options] [-- options of convert]",
    )
    p.add_argument("source", type=Path, help="data set")
    p.add_argument("destination", type=Path, help="folder for the converted tree")
    p.add_argument("--model", type=Path, required=True, help="TorchScript classifier. It is a program and is run: use only files you trust")
    p.add_argument("--shards", type=int, default=0, metavar="N", help="parts, each a task (default: twice as many as run at a time)")
    p.add_argument("--cpus", type=int, default=1, metavar="N", help="CPUs of a task, and its worker processes (default: 1)")
    p.add_argument("--retries", type=int, default=3, metavar="N", help="how often Ray runs a failed task again (default: 3)")
    p.add_argument("--address", default="auto", help="of the cluster (default: auto, the one that this node belongs to)")
    p.add_argument("--local-workers", type=int, default=0, metavar="N", help="no cluster: start Ray here, for N tasks at a time")
    p.add_argument("--tool", default=str(BUILT) if BUILT.is_file() else "gst-sparseadv", help="gst-sparseadv (default: %(default)s)")
    at = argv.index("--") if "--" in argv else len(argv)
    args = p.parse_args(argv[:at])
    args.options = argv[at + 1 :]
    mine = [o for o in args.options if o.split("=")[0] in ("--shard", "--workers", "--model")]
    if mine:
        p.error(f"expected options of convert that this program does not give itself, found {' '.join(mine)}")
    if args.cpus < 1 or args.shards < 0 or args.retries < 0 or args.local_workers < 0:
        p.error("expected no negative number, and at least one CPU")
    # Tasks run in folders of their own.
    args.source, args.destination, args.model = (path.resolve() for path in (args.source, args.destination, args.model))
    args.tool = shutil.which(args.tool) or p.error(f"expected the tool at {args.tool}, found none; correct --tool")
    args.tool = str(Path(args.tool).resolve())
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(sys.argv[1:] if argv is None else argv)
    try:
        import ray
    except ImportError:
        raise SystemExit("error: expected the package ray, found none; pip install ray") from None
    if args.local_workers:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=args.local_workers * args.cpus, include_dashboard=False)
    else:
        ray.init(address=args.address)
    slots = int(ray.cluster_resources().get("CPU", 0)) // args.cpus
    if slots == 0:
        raise SystemExit(f"error: expected a node of {args.cpus} CPUs, found none; lower --cpus")
    shards = args.shards or 2 * slots
    command = [args.tool, "convert", str(args.source), str(args.destination), "--model", str(args.model), "--workers", str(args.cpus)]
    task = ray.remote(num_cpus=args.cpus, max_retries=args.retries, retry_exceptions=True)(convert)
    pending = {task.remote([*command, "--shard", f"{i}/{shards}", *args.options]): i for i in range(1, shards + 1)}
    print(f"{shards} shards, {slots} at a time", flush=True)
    failed = []
    while pending:
        (done, *_), _ = ray.wait(list(pending))
        i = pending.pop(done)
        try:
            print(f"shard {i}/{shards}: {ray.get(done)}", flush=True)
        except ray.exceptions.RayError as error:
            failed.append(i)
            print(f"shard {i}/{shards} failed: {str(error).strip().splitlines()[-1]}", file=sys.stderr, flush=True)
    if failed:
        print(f"error: {len(failed)} of {shards} shards failed; put right what is wrong and call this again", file=sys.stderr)
        return 1
    return subprocess.run([args.tool, "merge", str(args.destination)]).returncode


if __name__ == "__main__":
    sys.exit(main())
