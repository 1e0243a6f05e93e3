#!/bin/sh
# SPDX-License-Identifier: MPL-2.0

# Makes the files of this folder anew: renders the figures, trains both classifiers on them and learns a perturbation of each, and renders
# two clips of actors they have not seen. Everything follows from the seeds, up to the rounding of another processor, thread count or libtorch and the MP4s' time stamps.
#
#     examples/data/regenerate.sh [FOLDER]
#
# FOLDER (by default a temporary one) receives the 1000 clips, about 50 MB. Takes about 30 minutes of processor time (2 for the clips, 11
# for C3D, 11 for LRCN, 4 for the perturbations) and 2 GB of memory.

set -eu
cd "$(dirname "$0")/../.."
work=${1:-$(mktemp -d)}
data=examples/data

figures() {
    cargo run --quiet --release --example figures -- "$@"
}

train() {
    cargo run --quiet --release --example train -- "$work/figures" --resize 72x96 --view 64 --dropout 0.2 --batch 8 \
        --max-frames 64 "$@"
}

figures "$work/figures"
train --arch c3d --width 6 --hidden 192 --epochs 18 --lr 0.0015 --out "$data/figures-c3d.pt"
train --arch lrcn --width 12 --epochs 48 --lr 0.002 --out "$data/figures-lrcn.pt"

for model in c3d lrcn; do
    cargo run --quiet --release --bin gst-sparseadv -- learn "$work/figures" "$data/figures-$model.safetensors" --model "$data/figures-$model.pt" \
        --kind frame --bound 10 --steps 200 --batch 8 --held-out 100
done

# The groups up to g07 are held out. A clip is the same whatever its size.
for clip in Walk_g03_c03 Jack_g05_c01; do
    figures "$work" --only "$clip" --size 320x240 --container mp4
done
mv "$work/v_Walk_g03_c03.mp4" "$data/figures-walk.mp4"
mv "$work/v_Jack_g05_c01.mp4" "$data/figures-jack.mp4"
