#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Attacks a camera live, and shows it: what the attack finds until each window is due, or a perturbation that was learned before.
. "$(dirname "$(readlink -f "$0")")/common.sh"

usage() {
    cat <<'END'
Usage: camera.sh [--device DEVICE | --file FILE] [--perturbation FILE] [--fake] [--seconds N] [MODEL]

Attacks a camera live and shows what comes out, until Ctrl-C. At the end it prints frames in and out, fooled windows, and overruns: windows
whose attack was cut short so that no frame is late.

  MODEL            TorchScript classifier   default: the embedded C3D; with --perturbation none
  --perturbation FILE
                   a universal perturbation, as gst-sparseadv learn writes it, in every frame at once. With MODEL its windows are judged
  --device DEVICE  camera                   default: /dev/video0
  --file FILE      a video, played as a camera would give it
  --fake           show nothing; the frames are waited for and dropped all the same
  --seconds N      end after N seconds, the loading of the model included

SPARSEADV_PROPERTIES has further properties of sparseadv, such as time-budget.

Examples:
  pipelines/camera.sh c3d.pt
  pipelines/camera.sh --file clip.mp4 --fake
  pipelines/camera.sh --perturbation examples/data/figures-c3d.safetensors
END
}

device=/dev/video0 file='' fake='' seconds='' perturbation=''
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit ;;
        --fake)
            fake=yes
            shift
            ;;
        --device | --file | --perturbation | --seconds)
            [ $# -ge 2 ] || misused "expected a value for $1, found none"
            printf -v "${1#--}" %s "$2"
            shift 2
            ;;
        -*) misused "expected --device, --file, --perturbation, --fake, --seconds or --help, found $1" ;;
        *) break ;;
    esac
done
[ $# -le 1 ] || misused "expected one argument at the most, found $#"
model=${1:-}
[ -n "$model$perturbation" ] || model=$default_model
[ -z "$seconds" ] || need_number --seconds "$seconds"

[ -z "$model" ] || need_file "a model" "$model"
[ -z "$perturbation" ] || need_file "a perturbation" "$perturbation"
find_plugin
if [ -n "$file" ]; then
    need_file "a video" "$file"
    live_file_of "$file"
    source=("${live_file[@]}")
else
    need v4l2src decodebin videoconvert
    [ -c "$device" ] || die "expected a camera, found none at $device. Name another with --device, or play a video as one with --file."
    # Many cameras give JPEG at their larger sizes.
    source=(v4l2src "$(quoted device "$device")" ! decodebin ! videoconvert)
fi
sink=(fakesink sync=true)
if [ -z "$fake" ]; then
    # Without a display autovideosink shows nothing and says nothing.
    [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || die "expected a display, found none. --fake does without."
    need autovideosink
    sink=(videoconvert ! autovideosink)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ -n "$perturbation" ]; then perturber_with "$perturbation" "$model"; else attacker_with "$model"; fi
run_live "$seconds" "$log" "${source[@]}" ! "${attacker[@]}" ! queue ! "${sink[@]}"
print_live_stats "$log"
