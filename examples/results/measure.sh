#!/bin/bash
# SPDX-License-Identifier: MPL-2.0
# Measures tables of this folder anew and writes the page.
#
#     examples/results/measure.sh MODELS WEIZMANN [SECTION...]
#
# MODELS has weizmann-c3d.pt and weizmann-lrcn.pt, WEIZMANN class folders of clips. Sections: paper variants codec lead phase resizers
# judge peers speed; all of them without any. SPARSEADV_PLUGINS names the folder of plugin and tool (default: target/release), PYTHON a
# Python with torch, av, numpy, and for its sections ART, pillow, opencv and torchvision (default: .venv/bin/python). What WORK names is a
# folder that keeps attacked clips, so that a section can be called again.
set -euo pipefail

models=$(realpath "$1") weizmann=$(realpath "$2") root=$(realpath "$(dirname "$0")/../..")
shift 2
plugins=$(realpath "${SPARSEADV_PLUGINS:-$root/target/release}") python=${PYTHON:-$root/.venv/bin/python}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} GST_PLUGIN_PATH=$plugins PYTHONDONTWRITEBYTECODE=1

# Records name the data by these links, not by where they lie here.
links=$(mktemp -d)
trap 'rm -r "$links"' EXIT
ln -s "$models" "$links/MODELS"
ln -s "$weizmann" "$links/WEIZMANN"
ln -s "$root/examples" "$root/tests" "$links"
cd "$links"
out=examples/results

reproduce() { # FOLDER ARGUMENTS...
    local folder=$1
    shift
    "$plugins/gst-sparseadv" reproduce --data Weizmann=WEIZMANN --model MODELS/weizmann-c3d.pt --model MODELS/weizmann-lrcn.pt \
        --out $out/"$folder" --test-groups moshe,shahar,lyova --properties patience=10 --iterations 100,200 "$@"
    # The records, the report and the figures are kept.
    rm -f $out/"$folder"/*.csv $out/"$folder"/report.html $out/"$folder"/.pages.json
}

survival() { # SECTION TABLE ARGUMENTS..., with both embedded models on all windows of both embedded clips
    local section=$1 table=$2 model
    shift 2
    for model in c3d lrcn; do
        "$python" examples/python/survival.py "$table" --model examples/data/figures-$model.pt --data examples/data --groups figures \
            --windows 8 --record $out/"$section"."$model".json --plugins "$plugins" ${WORK:+--work "$WORK"} "$@"
    done
}

paper() {
    reproduce weizmann --only-groups moshe,lyova --goals untargeted
    "$python" examples/python/results.py $out --take weizmann --name paper
}

variants() {
    reproduce weizmann-variants --only-groups shahar --goals untargeted --only-variants --variant keyframes=gradient:net \
        --variant keyframes=gradient:input --variant keyframes=gradient:loss --variant boundary=0.5 --variant learning-rate=1 \
        --variant "learning-rate=2 learning-rate-decay=0.7" --variant grow-after=5 --variant loss=margin
    "$python" examples/python/results.py $out --take weizmann-variants --name variants
}

codec() {
    survival codec codec --codecs q23,jpeg --row max-iterations=60 --row "survive=same max-iterations=60"
}

lead() {
    survival lead codec --codecs q23,q28 --row "survive=same confidence=0.5 max-iterations=60" \
        --row "survive=same confidence=2 max-iterations=60" --row "survive=same confidence=4 max-iterations=60"
}

phase() {
    survival phase phase --row max-iterations=60 --row "stride=8 max-iterations=60" --row "stride=4 confidence=2 max-iterations=60"
}

resizers() {
    local lanczos="confidence=0.5 survive='identity | videoscale method=lanczos ! video/x-raw,width=96,height=72 ! videoscale'"
    survival resizers resizers --row max-iterations=60 --row "confidence=2 max-iterations=60" --row "$lanczos max-iterations=60"
}

check() { # NAME ARGUMENTS...
    local name=$1
    shift
    "$python" tests/python/lossless_check.py --record $out/judge."$name".json --plugins "$plugins" "$@"
}

judge() {
    check 1-embedded --models examples/data --data examples/data --groups figures --windows 8
    check 2-native --models MODELS --data WEIZMANN --windows 6
    check 3-rgb --models MODELS --data WEIZMANN --windows 10 --encoder rgb
    check 4-hd --models MODELS --data WEIZMANN --windows 10 --size 1280x720
}

peers() { # ART at several bounds and steps; ours at its defaults, and where it takes the fewest calls
    local fast="search=two-stage keyframes=gradient:loss stop-early=true optimizer=normalized confidence=0.05 grow-after=1"
    local of="--data WEIZMANN --groups moshe --windows 5 --encoder rgb --methods iterative_saliency --steps 3,5,10"
    "$python" examples/python/peers.py --model MODELS/weizmann-c3d.pt $of --eps 2,4,8 --ours "$fast learning-rate=5 boundary=0.1" \
        --ours "$fast learning-rate=5 boundary=0.05" --record $out/peers.c3d.json --plugins "$plugins"
    "$python" examples/python/peers.py --model MODELS/weizmann-lrcn.pt $of --eps 2,4,6 --ours "$fast loss=margin learning-rate=3" \
        --ours "$fast loss=margin learning-rate=3 grow-after=2 boundary=0.25" --record $out/peers.lrcn.json --plugins "$plugins"
}

speed() { # on a machine that does nothing else
    for model in examples/data/figures-c3d MODELS/weizmann-c3d MODELS/weizmann-lrcn; do
        "$plugins/examples/benchmark" $model.pt examples/data/figures-walk.mp4 $out/speed.jsonl
    done
    "$python" examples/python/results.py $out --take speed.jsonl --name speed
}

for section in "${@:-paper variants codec lead phase resizers judge peers speed}"; do
    for one in $section; do
        echo "$(date +%T) $one"
        $one
    done
done
"$python" examples/python/results.py $out
