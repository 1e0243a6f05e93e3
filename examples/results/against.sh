#!/bin/bash
# SPDX-License-Identifier: MPL-2.0
# Converts the same clips with the tool of an earlier commit and with this one's, both with their defaults, one after the other, and has
# both sets judged by plain PyTorch.
#
#     examples/results/against.sh COMMIT MODELS WEIZMANN RECORD.json
#
# MODELS and WEIZMANN are as measure.sh has them. Both tools are built in release, into target/against. PYTHON is a Python with torch, av
# and numpy (default: .venv/bin/python). The record is one of examples/python/results.py.
set -euo pipefail

commit=$1 models=$(realpath "$2") weizmann=$(realpath "$3") record=$(realpath "$4") root=$(realpath "$(dirname "$0")/../..")
python=${PYTHON:-$root/.venv/bin/python}
work=$(mktemp -d)
trap 'git -C "$root" worktree remove --force "$work/source"; rm -rf "$work"' EXIT
git -C "$root" worktree add --quiet --detach "$work/source" "$commit"
ln -s "$root/.venv" "$work/source/.venv"

build() { # SOURCE NAME
    (cd "$1" && LIBTORCH=$root/.venv/libtorch CARGO_TARGET_DIR=$root/target/against cargo build --quiet --release --lib --bins)
    mkdir "$work/$2"
    # Older commits have the plugin and the tool in one file each.
    find "$root/target/against/release" -maxdepth 1 -type f -executable -name '*sparseadv*' -exec cp -t "$work/$2" {} +
}
build "$work/source" before
build "$root" now

convert() { # SIDE MODEL
    local began
    began=$(date +%s.%N)
    GST_PLUGIN_PATH=$work/$1 GST_REGISTRY=$work/$1.registry "$work/$1/gst-sparseadv" convert "$weizmann" "$work/tree-$1" --model "$2" \
        --side test --test-groups moshe,shahar,lyova >"$work/$1.log"
    echo "$(date +%s.%N) - $began" | bc
}

for model in "$models"/weizmann-c3d.pt "$models"/weizmann-lrcn.pt; do
    rm -rf "$work"/tree-*
    before=$(convert before "$model")
    now=$(convert now "$model")
    for side in before now; do
        "$python" "$root/tests/python/tree_check.py" --model "$model" --source "$weizmann" --tree "$work/tree-$side" >"$work/judge-$side" || true
    done
    for side in before now; do
        echo "$side ${!side}" >>"$work/found"
        head -1 "$work/tree-$side/manifest.jsonl" >>"$work/found"
        tail -1 "$work/judge-$side" | tee -a "$work/found"
    done
done

cd "$root"
"$python" - "$record" "$commit" "$work/found" <<'PYTHON'
import json, sys
sys.path.insert(0, "examples/python")
from results import Record
from pathlib import Path

record = Record(Path(sys.argv[1]), ["model", "converted by", "clips", "windows", "fooled", "confirmed", "other frames changed", "seconds", "of before"], [])
record.found["command"] = f"examples/results/against.sh {sys.argv[2]} MODELS WEIZMANN examples/results/against.json"
lines = open(sys.argv[3]).read().splitlines()
before = 0.0
for said, clip, judged in zip(lines[::3], lines[1::3], lines[2::3]):
    side, seconds = said.split()
    clip, judged = json.loads(clip), json.loads(judged)
    if side == "before":
        before = float(seconds)
    counts = [judged[name] for name in ("clips", "windows", "claimed", "confirmed", "stray")]
    cells = [Path(clip["model"]).stem, clip["plugin"], *counts, f"{float(seconds):.0f}", f"{float(seconds) / before:.2f}"]
    # The page names the commit of what is measured, not of what it is compared with.
    record.add(cells, [clip] if side == "now" else [])
PYTHON
