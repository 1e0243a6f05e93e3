#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Takes a live stream (RTSP, SRT), attacks it, and sends it on (SRT, RTP).
. "$(dirname "$(readlink -f "$0")")/common.sh"

usage() {
    cat <<'END'
Usage: restream.sh [--perturbation FILE] [--seconds N] IN OUT [MODEL]
       restream.sh [--perturbation FILE] [--seconds N] --file FILE OUT [MODEL]

Attacks the video of a live stream and sends it on as H.264, without sound, until the stream ends or Ctrl-C. At the end it prints frames in
and out, fooled windows, and overruns: windows whose attack was cut short so that no frame is late.

  IN           rtsp://.. or srt://..; srt://:PORT waits for a sender
  --file FILE  a video, played as live, instead of IN
  OUT          srt://HOST:PORT, or srt://:PORT to wait for receivers (MPEG-TS); udp://HOST:PORT (RTP)
  MODEL        TorchScript classifier   default: the embedded C3D; with --perturbation none
  --perturbation FILE
               a universal perturbation, as gst-sparseadv learn writes it, in every frame at once. With MODEL its windows are judged
  --seconds N  end after N seconds, the loading of the model included

SPARSEADV_PROPERTIES has further properties of sparseadv, such as time-budget.

Examples:
  pipelines/restream.sh rtsp://camera.local/stream srt://:7001 c3d.pt
  pipelines/restream.sh --file clip.mp4 udp://127.0.0.1:5004
  pipelines/restream.sh --perturbation examples/data/figures-c3d.safetensors rtsp://camera.local/stream srt://:7001

To receive (say srt://:PORT instead where OUT is srt://HOST:PORT):
  gst-launch-1.0 srtsrc uri=srt://HOST:PORT ! decodebin ! videoconvert ! autovideosink
  gst-launch-1.0 udpsrc port=5004 caps="application/x-rtp,media=video,clock-rate=90000,encoding-name=H264" ! \
      rtpjitterbuffer ! rtph264depay ! decodebin ! videoconvert ! autovideosink
END
}

file='' seconds='' perturbation=''
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit ;;
        --file | --perturbation | --seconds)
            [ $# -ge 2 ] || misused "expected a value for $1, found none"
            printf -v "${1#--}" %s "$2"
            shift 2
            ;;
        -*) misused "expected --file, --perturbation, --seconds or --help, found $1" ;;
        *) break ;;
    esac
done
in=''
if [ -z "$file" ]; then
    [ $# -ge 1 ] || misused "expected IN, found nothing"
    in=$1
    shift
fi
[ $# -ge 1 ] && [ $# -le 2 ] || misused "expected OUT and perhaps MODEL, found $# arguments"
out=$1
model=${2:-}
[ -n "$model$perturbation" ] || model=$default_model
[ -z "$seconds" ] || need_number --seconds "$seconds"

[ -z "$model" ] || need_file "a model" "$model"
[ -z "$perturbation" ] || need_file "a perturbation" "$perturbation"
find_plugin
need x264enc h264parse uridecodebin videoconvert

if [ -n "$file" ]; then
    need_file "a video" "$file"
    live_file_of "$file"
    source=("${live_file[@]}")
else
    case $in in
        rtsp://* | rtsps://*) need rtspsrc ;;
        srt://*) need srtsrc tsdemux ;;
        *) misused "expected rtsp://.. or srt://.. for IN, found $in" ;;
    esac
    source=(uridecodebin "$(quoted uri "$in")" ! videoconvert)
fi
case $out in
    srt://*)
        need mpegtsmux srtsink
        # Those who come later join in; a live stream waits for nobody.
        sink=(mpegtsmux alignment=7 ! srtsink "$(quoted uri "$out")" wait-for-connection=false)
        ;;
    udp://*:*)
        need rtph264pay udpsink
        address=${out#udp://}
        sink=(rtph264pay ! udpsink "$(quoted host "${address%:*}")" "$(quoted port "${address##*:}")")
        ;;
    *) misused "expected srt://HOST:PORT or udp://HOST:PORT for OUT, found $out" ;;
esac

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ -n "$perturbation" ]; then perturber_with "$perturbation" "$model"; else attacker_with "$model"; fi
# config-interval: parameter sets with each key frame, for those who come later.
run_live "$seconds" "$log" "${source[@]}" ! "${attacker[@]}" ! queue ! videoconvert ! \
    x264enc tune=zerolatency speed-preset=veryfast key-int-max=50 ! h264parse config-interval=-1 ! "${sink[@]}"
print_live_stats "$log"
