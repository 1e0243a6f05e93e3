#!/bin/bash
# SPDX-License-Identifier: MPL-2.0
# Measures tables of this folder anew and writes the page.
#
#     examples/results/measure.sh MODELS WEIZMANN [SECTION...]
#
# MODELS has weizmann-c3d.pt, weizmann-lrcn.pt and weizmann-resnet.pt, WEIZMANN class folders of clips. Sections: paper variants systems search
# codec lead phase resizers judge peers norm universal transfer tried behind dual warm causal steady passing profile speed scale against, all of
# them without any, and gpu. SPARSEADV_PLUGINS names the folder of plugin and tool (default: target/release), PYTHON a Python with torch, av, numpy, and for its sections ART, adv-lib, matplotlib, pillow, opencv and
# torchvision (default: .venv/bin/python). What WORK names is a folder that keeps attacked clips, so that a section can be called again.
#
# The ResNet is trained by this, in a quarter of an hour on two cores:
#     cargo run --release --example train -- WEIZMANN --arch resnet18 --width 16 --test-groups moshe,shahar,lyova --resize 70x76 --view 66 \
#         --batch 5 --epochs 210 --lr 0.001 --out MODELS/weizmann-resnet.pt
# An agent for section systems, MODELS/agent.pt, by this in a few minutes:
#     gst-sparseadv learn WEIZMANN MODELS/agent.pt --kind agent --model MODELS/weizmann-c3d.pt --test-groups moshe,shahar,lyova --steps 40
set -euo pipefail

models=$(realpath "$1") weizmann=$(realpath "$2") root=$(realpath "$(dirname "$0")/../..")
shift 2
[ -z "${WORK:-}" ] || WORK=$(realpath -m "$WORK")
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
# Of MODELS and of examples/data.
all="c3d lrcn resnet" embedded="c3d lrcn"
held_out="--data WEIZMANN --groups moshe,lyova --windows 16"

reproduce() { # FOLDER ARGUMENTS...
    local folder=$1
    shift
    # It would go on with the results of another commit.
    rm -rf $out/"$folder"
    "$plugins/gst-sparseadv" reproduce --data Weizmann=WEIZMANN --model MODELS/weizmann-c3d.pt --model MODELS/weizmann-lrcn.pt \
        --model MODELS/weizmann-resnet.pt --out $out/"$folder" --test-groups moshe,shahar,lyova --properties patience=10 --iterations 100,200 "$@"
    # The records, the report and the figures are kept.
    rm -f $out/"$folder"/*.csv $out/"$folder"/report.html $out/"$folder"/.pages.json
}

survives() { # RECORD TABLE MODEL ARGUMENTS...
    local record=$1 table=$2 model=$3
    shift 3
    "$python" examples/python/survival.py "$table" --model "$model" --record $out/"$record".json --plugins "$plugins" ${WORK:+--work "$WORK"} "$@"
}

survival() { # SECTION TABLE ARGUMENTS..., with both embedded models on all windows of both embedded clips
    local section=$1 table=$2 model
    shift 2
    for model in $embedded; do
        survives "$section.$model" "$table" examples/data/figures-$model.pt --data examples/data --groups figures --windows 8 "$@"
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

systems() { # two hours on two cores
    reproduce weizmann-systems --only-groups moshe,lyova --systems all --surrogate MODELS/weizmann-lrcn.pt --surrogate MODELS/weizmann-c3d.pt \
        --agent MODELS/agent.pt --transfer --queries 100 --minutes 0
    "$python" examples/python/results.py $out --take weizmann-systems --name systems
}

codec() { # beside what was the default before
    local model
    survival codec codec --codecs q23,jpeg --row "" --row survive=same
    for model in $all; do
        survives codec.weizmann-$model codec MODELS/weizmann-$model.pt $held_out --codecs q23,q28,vp9,jpeg \
            --row "survive=same search=two-stage" --row survive=same --row "survive=same norm=l1"
    done
}

lead() {
    survival lead codec --codecs q23,q28 --row "survive=same confidence=0.25" --row "survive=same confidence=0.5" --row "survive=same confidence=2"
}

phase() {
    survival phase phase --row "" --row stride=8 --row "stride=4 confidence=2"
}

resizers() {
    local lanczos="survive='identity | videoscale method=lanczos ! video/x-raw,width=96,height=72 ! videoscale'"
    survival resizers resizers --row "" --row confidence=1 --row "$lanczos"
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

search() { # what was the default before, and a walk in each norm; then both on targets
    local model
    for model in $all; do
        local of=(--model MODELS/weizmann-$model.pt $held_out --methods "" --plugins "$plugins")
        "$python" examples/python/peers.py "${of[@]}" --ours search=two-stage --ours norm=l1 --ours norm=l21 --ours norm=linf \
            --record $out/search.$model.json
        "$python" examples/python/peers.py "${of[@]}" --target-shift 3 --ours search=two-stage --record $out/search.$model-target.json
    done
}

# Both sides perturb the same pixels: frames in RGB, of the size that these models resize to.
same="--encoder rgb --size 171x128"

peers() { # ART at the bounds and steps that do best on the clips of shahar; ours at its defaults, and with few frames and calls
    local model of="$held_out $same --methods iterative_saliency --steps 3,5,10"
    for model in $all; do
        "$python" examples/python/peers.py --model MODELS/weizmann-$model.pt $of --eps 2,4,8 --ours norm=l1 \
            --ours "boundary=0.01 patience=1" --record $out/peers.$model.json --plugins "$plugins"
    done
}

norm() { # attacks of minimum norm, and the curve of both sides
    local model steps
    local budgets=()
    for steps in 2 4 6 9; do
        budgets+=(--ours "max-iterations=$steps" --ours "norm=l1 max-iterations=$steps")
    done
    for model in $all; do
        "$python" examples/python/peers.py --model MODELS/weizmann-$model.pt $held_out $same \
            --methods ddn,fmn-l2,fmn-l1,alma --steps 5,10,20,40 --ours norm=l1 --ours keyframes=all --ours "norm=l1 keyframes=all" \
            "${budgets[@]}" --record $out/norm.$model.json --plugins "$plugins"
    done
    "$python" examples/python/curve.py $out/norm.c3d.json $out/norm.lrcn.json --out $out/curve.svg
}

learned() { # MODEL NAME ARGUMENTS...; a file in $universals, kept where it is there already
    local model=$1 file=$universals/$1-$2.safetensors
    shift 2
    [ -e "$file" ] || "$plugins/gst-sparseadv" learn RGB "$file" --model MODELS/weizmann-"$model".pt --test-groups moshe,shahar,lyova "$@"
}

rgb() { # the clips in RGB at the size that the models resize to, without loss
    local clip file
    for clip in WEIZMANN/*/*; do
        file=$universals/RGB/${clip#WEIZMANN/}
        [ -e "${file%.*}.mkv" ] && continue
        mkdir -p "${file%/*}"
        gst-launch-1.0 -q filesrc location="$clip" ! decodebin ! videoconvert ! videoscale \
            ! video/x-raw,format=RGB,width=171,height=128,pixel-aspect-ratio=1/1 ! videoconvert ! video/x-raw,format=BGRx ! avenc_ffv1 \
            ! matroskamux ! filesink location="$universals/part"
        mv "$universals/part" "${file%.*}.mkv"
    done
    ln -sfn "$universals/RGB" "$links/RGB"
}

judged() { # SECTION DATA MODEL-NAME[@JUDGE]...; what these files do to the clips held out, by their own model or another
    local section=$1 data=$2 file judge
    shift 2
    rm -f $out/"$section".jsonl
    for file in "$@"; do
        judge=${file#*@}
        file=${file%@*}
        "$plugins/gst-sparseadv" judge "$data" "$universals/$file".safetensors --model MODELS/weizmann-"${judge%%-*}".pt \
            --test-groups moshe,shahar,lyova --json $out/"$section".jsonl
    done
    "$python" examples/python/results.py $out --take "$section".jsonl --name "$section"."$data"
}

learned_10() { # those of ten gray levels, for several sections
    learned c3d frame-10 --kind frame --bound 10 --steps 150 --batch 16
    learned c3d circular-10 --bound 10 --steps 150 --batch 16
    learned lrcn frame-10 --kind frame --bound 10 --steps 250 --batch 24
    learned lrcn circular-10 --bound 10 --steps 350 --batch 24 --focus 2
}

universal() { # an hour on two cores
    local data universals=${WORK:-$links/universals}
    mkdir -p "$universals"
    rgb
    learned_10
    learned c3d frame-6 --kind frame --bound 6 --steps 150 --batch 16
    learned c3d circular-6 --bound 6 --steps 150 --batch 16
    learned c3d border-3 --kind border --margin 3 --steps 150 --batch 16
    learned lrcn frame-6 --kind frame --bound 6 --steps 250 --batch 24
    learned lrcn circular-6 --bound 6 --steps 250 --batch 24
    learned lrcn border-3 --kind border --steps 120 --batch 16
    for data in RGB WEIZMANN; do
        judged universal $data {c3d,lrcn}-{frame-10,frame-6,circular-10,circular-6,border-3}
    done
}

transfer() { # an hour on two cores, less what section universal has learned already
    local universals=${WORK:-$links/universals} model kind judge words=()
    mkdir -p "$universals"
    rgb
    learned_10
    learned resnet frame-10 --kind frame --bound 10 --steps 150 --batch 16
    learned resnet circular-10 --bound 10 --steps 150 --batch 16
    for model in $all; do
        for kind in frame circular; do
            for judge in $all; do
                words+=("$model-$kind-10@$judge")
            done
        done
    done
    judged transfer RGB "${words[@]}"
}

tried() { # half an hour on two cores
    local universals=${WORK:-$links/universals}
    mkdir -p "$universals"
    rgb
    learned lrcn frame-10-margin --kind frame --bound 10 --steps 250 --batch 24 --margin 2
    learned lrcn circular-10-margin --bound 10 --steps 350 --batch 24 --margin 2
    judged tried RGB lrcn-{frame,circular}-10-margin
}

behind() { # half an hour on two cores
    local universals=${WORK:-$links/universals}
    local x264="videoconvert ! x264enc pass=qual quantizer=23 ! h264parse ! avdec_h264 ! videoconvert"
    mkdir -p "$universals"
    rgb
    learned c3d circular-10-x264 --bound 10 --margin 3 --steps 120 --batch 12 --survive "$x264"
    learned c3d border-3-x264 --kind border --margin 3 --steps 120 --batch 12 --survive "$x264"
    learned lrcn circular-10-x264 --bound 10 --steps 200 --batch 12 --survive "$x264"
    learned lrcn border-3-x264 --kind border --steps 120 --batch 12 --survive "$x264"
    judged behind RGB {c3d,lrcn}-{circular-10,border-3}-x264
}

dual() { # a quarter of an hour on two cores
    local universals=${WORK:-$links/universals}
    mkdir -p "$universals"
    rgb
    learned c3d only-walk --bound 10 --steps 120 --batch 16 --only-label walk
    # Its held out windows of walk are two. Without the margin 57.5 % of those of run change.
    learned lrcn only-run --bound 10 --steps 200 --batch 16 --margin 2 --only-label run
    judged dual RGB c3d-only-walk lrcn-only-run
}

warm() {
    local model
    for model in $embedded; do
        "$python" examples/python/warm.py --model examples/data/figures-$model.pt --data examples/data --groups figures \
            --record $out/warm.$model.json --plugins "$plugins"
    done
}

causal() { # on a machine that does nothing else
    local model other=lrcn data=examples/data
    rm -f $out/causal.jsonl
    for model in $embedded; do
        "$plugins/examples/causal" $data/figures-$model.pt $data/figures-walk.mp4 $data/figures-jack.mp4 \
            --surrogate $data/figures-$other.pt --learned $data/figures-$model.safetensors --json $out/causal.jsonl
        other=$model
    done
    "$python" examples/python/results.py $out --take causal.jsonl --name causal
}

steady() { # likewise
    rm -f $out/steady.jsonl
    "$plugins/examples/latency" --json $out/steady.jsonl
    "$python" examples/python/results.py $out --take steady.jsonl --name steady
}

passing() { # likewise, on one core
    rm -f $out/passing.jsonl
    taskset --cpu-list 0 "$plugins/examples/benchmark" --json $out/passing.jsonl --passing examples/data/figures-*.safetensors
    "$python" examples/python/results.py $out --take passing.jsonl --name passing
}

speed() { # on a machine that does nothing else
    for model in examples/data/figures-{c3d,lrcn} MODELS/weizmann-{c3d,lrcn,resnet}; do
        "$plugins/examples/benchmark" $model.pt examples/data/figures-walk.mp4 --json $out/speed.jsonl
    done
    "$python" examples/python/results.py $out --take speed.jsonl --name speed
}

profile() { # likewise; needs perf
    local model
    for model in figures-{c3d,lrcn}; do
        OMP_NUM_THREADS=$(nproc) "$python" examples/python/profile_window.py --model examples/data/$model.pt --clip examples/data/figures-walk.mp4 \
            --record $out/profile.$model.json --plugins "$plugins"
    done
}

scale() { # likewise
    "$plugins/examples/benchmark" --scale $out/scale.svg
}

against() { # likewise; builds both commits
    "$root/examples/results/against.sh" c3989fb "$models" "$weizmann" $out/against.json
}

gpu() { # on a machine with an NVIDIA GPU; no part of all sections
    local model precision
    for precision in f32 bf16; do
        for model in --tran MODELS/weizmann-{c3d,lrcn,resnet}.pt; do
            "$plugins/examples/benchmark" "$model" --device cuda --precision $precision --json $out/gpu.jsonl
        done
    done
    "$python" examples/python/results.py $out --take gpu.jsonl --name gpu
}

for section in "${@:-paper variants systems search codec lead phase resizers judge peers norm universal transfer tried behind dual warm causal steady passing profile speed scale against}"; do
    for one in $section; do
        echo "$(date +%T) $one"
        $one
    done
done
"$python" examples/python/results.py $out
