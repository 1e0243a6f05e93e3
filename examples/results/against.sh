#!/bin/bash
# SPDX-License-Identifier: MPL-2.0
# Converts the same clips with the tool of an earlier commit and with this one's, both with their defaults, one after the other, and has
# both sets judged by plain PyTorch.
#
#     examples/results/against.sh COMMIT MODELS WEIZMANN RECORD.jsonl
#
# MODELS and WEIZMANN are as measure.sh has them. Both tools are built in release, into target/against. PYTHON is a Python with torch, av
# and numpy (default: .venv/bin/python). Each line of the record is a model: seconds of both, and what the judge confirms of both.
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
    cp "$root/target/against/release/"{libgstsparseadv.so,gst-sparseadv} "$work/$2"
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
    "$python" - "$(basename "$model")" "$commit" "$before" "$now" "$work/judge-before" "$work/judge-now" <<'PYTHON' | tee -a "$record"
import json, sys
model, commit, before, now, *judges = sys.argv[1:]
judged = [json.loads(open(judge).read().splitlines()[-1]) for judge in judges]
print(json.dumps({"model": model, "before": commit, "seconds before": float(before), "seconds now": float(now),
                  "ratio": round(float(now) / float(before), 3), "judge before": judged[0], "judge now": judged[1]}))
PYTHON
done
