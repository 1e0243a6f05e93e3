#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Attacks a file: H.264 in MP4 out, and the report beside it.
. "$(dirname "$(readlink -f "$0")")/common.sh"

usage() {
    cat <<'END'
Usage: attack-file.sh [IN [OUT [MODEL]]]

Attacks the video IN and writes OUT (H.264 in MP4, without sound) and beside it the report, OUT with .jsonl for its extension. Either is
there only when it is complete.

  IN     any video GStreamer decodes     default: the embedded clip
  OUT    file to write                   default: attacked.mp4
  MODEL  TorchScript classifier          default: the embedded C3D

SPARSEADV_PROPERTIES has further properties of sparseadv.

Example:
  SPARSEADV_PROPERTIES="keyframes=all" pipelines/attack-file.sh clip.avi attacked.mp4 c3d.pt
END
}

case ${1:-} in
    -h | --help) usage && exit ;;
    -*) misused "expected no option but --help, found $1" ;;
esac
[ $# -le 3 ] || misused "expected three arguments at the most, found $#"
in=${1:-$default_clip}
out=${2:-attacked.mp4}
model=${3:-$default_model}

need_file "a video" "$in"
need_file "a model" "$model"
report=$(with_extension "$out" jsonl)
refuse_same "$out" "$report" -- "$in" "$model" "$model.json"
part_of "$out"
find_plugin
need decodebin videoconvert x264enc mp4mux

trap 'rm -f "$part" "$part".jsonl*' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

attacker_with "$model" "$part.jsonl"
# videoconvert lets 8-bit video pass as it is.
launch -q filesrc "$(quoted location "$in")" ! decodebin ! videoconvert ! "${attacker[@]}" ! x264enc ! mp4mux ! \
    filesink "$(quoted location "$part")"
mv -f "$part.jsonl" "$report"
# Last: whoever finds it finds the report too.
mv -f "$part" "$out"
echo "$out: fooled $(fooled_in "$report") of $(attacked_in "$report") windows; report: $report"
