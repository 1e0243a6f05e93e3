# SPDX-License-Identifier: MPL-2.0
"""Converts a small set through examples/cluster/ray_convert.py on a local Ray of two workers, and compares the tree with that of one call.

    python3 -m venv /tmp/ray && /tmp/ray/bin/pip install ray
    /tmp/ray/bin/python tests/python/ray_check.py

By hand, about a minute; needs the built tool. The first try of every shard is killed while it converts, so that Ray has to run each again;
one file of the set is empty, so that a skipped clip must not count as a failure. Then: files of other settings must fail it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "target" / "release" / "gst-sparseadv"
DATA = ROOT / "examples" / "data"
MODEL = DATA / "figures-lrcn.pt"
OPTIONS = ["--properties", "max-iterations=12 patience=1"]
SHARDS = 3
CLIPS = 6

# Kills the tool once a first clip of the shard is done, on the shard's first try. $8 and $9 are --shard and i/n.
KILLED_ONCE = """#!/usr/bin/env bash
[ "$1" = convert ] && mkdir "{tries}/${{9%/*}}" 2>/dev/null || exec "{tool}" "$@"
"{tool}" "$@" &
sleep 4
kill -9 $!
kill -9 $$
"""


def make_set(folder: Path) -> None:
    for i in range(CLIPS):
        name = ("jack", "walk")[i % 2]
        (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(DATA / f"figures-{name}.mp4", folder / name / f"{i}_{name}.mp4")
    (folder / "walk" / "empty.mp4").touch()


def product(tree: Path) -> dict[str, bytes]:
    """Videos and whole manifests: all but the records, the times and the parts' manifests."""
    paths = {str(p.relative_to(tree)): p for p in tree.rglob("*") if p.is_file()}
    ours = {n: p for n, p in paths.items() if not n.startswith((".sparseadv/", "timings")) and "-of-" not in n}
    return {n: p.read_bytes() for n, p in ours.items()}


def on_ray(source: Path, tree: Path, tool: Path, *options: str) -> int:
    script = ROOT / "examples" / "cluster" / "ray_convert.py"
    command = [sys.executable, script, source, tree, "--model", MODEL, "--tool", tool, "--local-workers", "2", "--shards", SHARDS]
    return subprocess.run([*map(str, command), "--retries", "2", "--", *options]).returncode


def expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise SystemExit(f"error: {what}: expected {expected}, found {found}")
    print(f"ok: {what}: {expected}", flush=True)


def main() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source, single, tree, tries = (folder / name for name in ("set", "single", "tree", "tries"))
        make_set(source)
        tries.mkdir()
        tool = folder / "tool"
        tool.write_text(KILLED_ONCE.format(tries=tries, tool=TOOL))
        tool.chmod(0o755)
        whole = subprocess.run([str(TOOL), "convert", str(source), str(single), "--model", str(MODEL), *OPTIONS])
        expect("exit status of one call, with a clip skipped", whole.returncode, 2)
        expect("exit status on Ray", on_ray(source, tree, tool, *OPTIONS), 2)
        expect("shards that were killed once", len(list(tries.iterdir())), SHARDS)
        expect("files", sorted(product(tree)), sorted(product(single)))
        expect("files that differ", [n for n, data in product(tree).items() if data != product(single)[n]], [])
        expect("parts left", [p.name for p in tree.rglob(".*.part-*")], [])
        expect("exit status with other settings", on_ray(source, tree, TOOL, *OPTIONS, "--seed", "1"), 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
