#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Shows a clip clean, attacked, and the amplified difference side by side, with the labels; or writes that as a video.
. "$(dirname "$(readlink -f "$0")")/common.sh"

usage() {
    cat <<'END'
Usage: side-by-side.sh [--out FILE] [--amplify N] [IN [MODEL]]

Attacks the video IN and shows three panes: clean and attacked, each with its label and probability window by window, and the difference of
the two, amplified: gray where there is none.

  IN           any video GStreamer decodes   default: the embedded clip
  MODEL        TorchScript classifier        default: the embedded C3D
  --out FILE   write a video instead of showing it: H.264 in MP4, or lossless (FFV1) if FILE ends in .mkv
  --amplify N  about how many times the difference is amplified: 1, 2, 4, 8, 16, 32 or 64   default: 16

SPARSEADV_PROPERTIES has further properties of sparseadv. The attack runs first, to its end, with a lossless copy in TMPDIR.

Examples:
  pipelines/side-by-side.sh clip.avi c3d.pt
  pipelines/side-by-side.sh --out panes.mp4 --amplify 32 clip.avi c3d.pt
END
}

out='' amplify=16
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit ;;
        --out | --amplify)
            [ $# -ge 2 ] || misused "expected a value for $1, found none"
            printf -v "${1#--}" %s "$2"
            shift 2
            ;;
        -*) misused "expected --out, --amplify or --help, found $1" ;;
        *) break ;;
    esac
done
[ $# -le 2 ] || misused "expected two arguments at the most, found $#"
in=${1:-$default_clip}
model=${2:-$default_model}
case $amplify in
    1 | 2 | 4 | 8 | 16 | 32 | 64) ;;
    *) misused "expected 1, 2, 4, 8, 16, 32 or 64 for --amplify, found \"$amplify\"" ;;
esac

need_file "a video" "$in"
need_file "a model" "$model"
find_plugin
need decodebin videoconvert avenc_ffv1 avdec_ffv1 matroskamux matroskademux videorate compositor capssetter solarize videobalance subparse \
    textoverlay
command -v python3 >/dev/null || die "expected python3, found none"

work=$(mktemp -d)
trap 'rm -rf "$work" ${part:+"$part"}' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
part=''
sink=(autovideosink)
if [ -n "$out" ]; then
    refuse_same "$out" -- "$in" "$model" "$model.json"
    part_of "$out"
    case $out in
        *.mkv) sink=(avenc_ffv1 ! matroskamux) ;;
        *)
            need x264enc mp4mux
            # Few players take more than 4:2:0.
            sink=(video/x-raw,format=I420 ! x264enc ! mp4mux)
            ;;
    esac
    sink+=(! filesink "$(quoted location "$part")")
else
    # Without a display autovideosink shows nothing and says nothing.
    [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || die "expected a display, found none. Write a file instead: --out FILE"
    need autovideosink
fi

# Both copies in one file, so that the times of their frames are rounded alike. The clean one waits here for the attack's.
attacker_with "$model" "$work/report.jsonl"
launch -v filesrc "$(quoted location "$in")" ! decodebin ! videoconvert ! tee name=both \
    matroskamux name=mux ! filesink "$(quoted location "$work/both.mkv")" \
    both. ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 ! videoconvert ! avenc_ffv1 ! mux.video_0 \
    both. ! queue ! "${attacker[@]}" ! videoconvert ! avenc_ffv1 ! mux.video_1 >"$work/caps"
# -v leaves out now one pad, now another.
size=$(sed -n 's/.*caps = video\/x-raw.* width=(int)\([0-9]*\), height=(int)\([0-9]*\).*/\1 \2/p' "$work/caps" | tail -n 1)
[ -n "$size" ] || die "expected a video stream in $in, found none"
read -r width height <<<"$size"

python3 - "$work" <<'END'
import json, pathlib, sys

work = pathlib.Path(sys.argv[1])
windows = [json.loads(line) for line in (work / "report.jsonl").read_text().splitlines()]
FOREVER = 359_999_000_000_000


def clock(ns):
    ms = ns // 1_000_000
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


for pane, kind in (("clean", "clean"), ("attacked", "final")):
    shown = []
    for window in windows:
        name, probability = window[f"{kind}_label_name"], window[f"{kind}_probability"]
        if window["start_time"] is None or name is None:
            continue
        sure = "" if probability is None else f" {100 * probability:.0f} %"
        length = window["end_pts"] - window["start_pts"]
        shown.append([window["start_time"], window["start_time"] + length, f"{pane}: {name}{sure}"])
    # textoverlay shows one text at a time, and overlapping windows would queue up.
    for this, following in zip(shown, shown[1:]):
        this[1] = min(this[1], following[0])
    end = shown[-1][1] if shown else 0
    shown.append([end, FOREVER, pane])
    text = "".join(f"{i}\n{clock(a)} --> {clock(b)}\n{t}\n\n" for i, (a, b, t) in enumerate(shown, 1) if a < b)
    (work / f"{pane}.srt").write_text(text)
END

# No stock element subtracts. So one copy is made negative and laid half transparent over the other, which leaves gray where they are equal,
# and videobalance's contrast spreads what is left, with the brightness that keeps the gray where it is.
#
# All in YUV, as converting so small a difference would round it away. solarize takes RGB alone, so YUV goes by that name, and gdppay leaves
# behind the metas that know the true one. It takes black for white's negative (256 modulo 256): limited range has neither.
yuv="video/x-raw,format=VUYA,colorimetry=bt601"
called_rgb=(gdppay ! gdpdepay ! capssetter "caps=video/x-raw,format=BGRx,colorimetry=sRGB")
called_yuv=(gdppay ! gdpdepay ! capssetter "caps=$yuv")
negative=(solarize start=0 threshold=0 end=256)
spread=()
# Twice what is asked for: half was lost to the blending.
for ((gain = 1; gain < 2 * amplify; gain *= 2)); do
    # contrast turns about 16; 128 shall stay: (128 - 16) / 255.
    spread+=(! videobalance contrast=2 saturation=2 brightness=-0.4392157)
done
square=(capssetter "caps=video/x-raw,pixel-aspect-ratio=1/1")
text=(valignment=top halignment=left font-desc="Sans, 18" shaded-background=true)

# Square pixels, or panes would not be as wide as their frames; even sizes for 4:2:0. 0.503: 128 of the 255 steps it is rounded to.
launch -q filesrc "$(quoted location "$work/both.mkv")" ! matroskademux name=file \
    compositor name=panes sink_1::xpos="$width" sink_2::xpos=$((2 * width)) background=black ! \
    "video/x-raw,width=$((3 * width + width % 2)),height=$((height + height % 2))" ! videoconvert ! queue ! "${sink[@]}" \
    compositor name=blend background=black sink_1::alpha=0.503 ! "video/x-raw,format=BGRx" ! "${called_yuv[@]}" ! \
    videoconvert ! "video/x-raw,format=Y444,colorimetry=bt601" "${spread[@]}" ! \
    textoverlay name=of_difference text="difference x $amplify" "${text[@]}" ! queue ! panes.sink_2 \
    file.video_0 ! queue ! avdec_ffv1 ! videorate ! "${square[@]}" ! tee name=clean \
    file.video_1 ! queue ! avdec_ffv1 ! videorate ! "${square[@]}" ! tee name=attacked \
    filesrc "$(quoted location "$work/clean.srt")" ! subparse ! of_clean.text_sink \
    filesrc "$(quoted location "$work/attacked.srt")" ! subparse ! of_attacked.text_sink \
    textoverlay name=of_clean "${text[@]}" ! queue ! panes.sink_0 \
    textoverlay name=of_attacked "${text[@]}" ! queue ! panes.sink_1 \
    clean. ! queue ! videoconvert ! of_clean.video_sink \
    attacked. ! queue ! videoconvert ! of_attacked.video_sink \
    clean. ! queue ! videoconvert ! "$yuv" ! "${called_rgb[@]}" ! "${negative[@]}" ! blend.sink_0 \
    attacked. ! queue ! videoconvert ! "$yuv" ! "${called_rgb[@]}" ! blend.sink_1

fooled="fooled $(fooled_in "$work/report.jsonl") of $(attacked_in "$work/report.jsonl") windows"
if [ -n "$out" ]; then
    mv -f "$part" "$out"
    echo "$out: $fooled"
else
    echo "$fooled"
fi
