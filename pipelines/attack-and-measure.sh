#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Attacks a file, encodes it, and classifies what comes out of the decoder: how much of the attack is left behind the codec.
. "$(dirname "$(readlink -f "$0")")/common.sh"

usage() {
    cat <<'END'
Usage: attack-and-measure.sh [--survive BIN] [--muxer MUXER] [--out FILE] [IN [MODEL [ENCODER..]]]

Attacks the video IN, encodes it to a file, classifies that file, and prints how many windows are fooled: as pushed, and behind the codec.

  IN             any video GStreamer decodes                        default: the embedded clip
  MODEL          TorchScript classifier                             default: the embedded C3D
  ENCODER..      encoder with its properties, as in gst-launch-1.0  default: x264enc
  --survive BIN  let the attack itself go through this codec, such as "x264enc ! avdec_h264" (property survive)
  --muxer MUXER  muxer with its properties                          default: matroskamux
  --out FILE     keep the encoded file, and beside it both reports: FILE with .jsonl and with .after.jsonl for its extension

SPARSEADV_PROPERTIES has further properties of sparseadv.

Examples:
  pipelines/attack-and-measure.sh clip.avi c3d.pt x264enc bitrate=500
  pipelines/attack-and-measure.sh --survive "x264enc bitrate=500 ! avdec_h264" clip.avi c3d.pt x264enc bitrate=500
  pipelines/attack-and-measure.sh clip.avi c3d.pt x265enc ! h265parse
END
}

survive='' muxer=matroskamux out=''
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit ;;
        --survive | --muxer | --out)
            [ $# -ge 2 ] || misused "expected a value for $1, found none"
            printf -v "${1#--}" %s "$2"
            shift 2
            ;;
        -*) misused "expected --survive, --muxer, --out or --help, found $1" ;;
        *) break ;;
    esac
done
in=${1:-$default_clip}
model=${2:-$default_model}
shift $(($# < 2 ? $# : 2))
read -ra encoder <<<"${*:-x264enc}"
read -ra muxer <<<"$muxer"

need_file "a video" "$in"
need_file "a model" "$model"
find_plugin
need decodebin videoconvert "${encoder[0]}" "${muxer[0]}"

work=$(mktemp -d) part=''
trap 'rm -rf "$work" ${part:+"$part" "$part".jsonl* "$part".after.jsonl*}' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
file=$work/attacked report=$work/attacked.jsonl after=$work/after.jsonl
if [ -n "$out" ]; then
    report_out=$(with_extension "$out" jsonl) after_out=$(with_extension "$out" after.jsonl)
    refuse_same "$out" "$report_out" "$after_out" -- "$in" "$model" "$model.json"
    part_of "$out"
    file=$part report=$part.jsonl after=$part.after.jsonl
fi

attacker_with "$model" "$report"
[ -z "$survive" ] || attacker+=("$(quoted survive "$survive")")
launch -q filesrc "$(quoted location "$in")" ! decodebin ! videoconvert ! "${attacker[@]}" ! \
    "${encoder[@]}" ! "${muxer[@]}" ! filesink "$(quoted location "$file")"

# Both must cut the stream into the same windows.
windows=()
for property in "${attacker[@]}"; do
    case $property in
        device=* | window-size=* | stride=* | frame-step=* | tail=*) windows+=("$property") ;;
    esac
done
launch -q filesrc "$(quoted location "$file")" ! decodebin ! videoconvert ! \
    clipclassifier "$(quoted model "$model")" "$(quoted reference-location "$report")" "$(quoted report-location "$after")" \
    ${windows[@]+"${windows[@]}"} ! fakesink

all=$(attacked_in "$report")
[ "$(count . "$report")" -eq "$(count . "$after")" ] ||
    die "expected as many windows behind the codec as before, found $(count . "$after") and $(count . "$report"): the codec loses frames"
# A window that was fooled before the attack has null here: no rate counts it.
left=$(count '"fooled":true' "$after")
echo "fooled on the bytes pushed: $(fooled_in "$report") of $all windows"
echo "fooled behind ${encoder[0]}: $left of $all windows"
if [ -n "$out" ]; then
    mv -f "$report" "$report_out"
    mv -f "$after" "$after_out"
    # Last: whoever finds it finds the reports too.
    mv -f "$file" "$out"
    echo "wrote $out, $report_out and $after_out"
fi
