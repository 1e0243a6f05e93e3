# SPDX-License-Identifier: MPL-2.0
# Sourced by the scripts beside it: what they have in common. Each script defines usage().
#
# SPARSEADV_PROPERTIES  further properties of sparseadv for any script, as in gst-launch-1.0: SPARSEADV_PROPERTIES="max-iterations=50"

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
default_model=$root/examples/data/figures-c3d.pt
default_clip=$root/examples/data/figures-walk.mp4

die() {
    printf '%s: error: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# For arguments that are wrong.
misused() {
    printf '%s: error: %s\n\n' "${0##*/}" "$*" >&2
    usage >&2
    exit 64
}

need_file() {
    [ -f "$2" ] && [ -r "$2" ] || die "expected $1 that can be read, found none at $2"
}

# Outputs are none of the inputs and none of each other, by whatever name: refuse_same OUTPUT.. -- INPUT..
refuse_same() {
    local outputs=() output other
    while [ "$1" != -- ]; do
        outputs+=("$1")
        shift
    done
    shift
    while [ ${#outputs[@]} -gt 0 ]; do
        output=${outputs[0]}
        outputs=("${outputs[@]:1}")
        ! [ -d "$output" ] || die "expected a file to write, found the folder $output"
        [ -f "$output" ] || ! [ -e "$output" ] || die "expected a file to write, found a device or a pipe: $output"
        for other in "$@" ${outputs[@]+"${outputs[@]}"}; do
            ! [ "$output" -ef "$other" ] && [ "$(realpath -m -- "$output")" != "$(realpath -m -- "$other")" ] ||
                die "expected another file to write than $other, found the same one: $output. Nothing was written"
        done
    done
}

# FILE with another extension for its own: with_extension FILE EXTENSION
with_extension() {
    local name=${1##*/}
    printf '%s.%s' "${1%"$name"}${name%.*}" "$2"
}

# part=NAME beside FILE, for what is not whole yet: part_of FILE
part_of() {
    local folder name=${1##*/}
    folder=$(dirname -- "$1")
    [ -d "$folder" ] || die "expected a folder to write $1 to, found none"
    # sparseadv adds to the name of a report, and the file system bounds its length.
    part=$folder/.$(printf %s "$name" | cut -b -200).part-$$
}

need_number() {
    case $2 in
        '' | *[!0-9]* | 0*) misused "expected a number from 1 up for $1, found \"$2\"" ;;
    esac
}

# Debian's package of an element of GStreamer's own sets; nothing for others.
package_of() {
    case $1 in
        avdec_* | avenc_*) echo gstreamer1.0-libav ;;
        x264enc) echo gstreamer1.0-plugins-ugly ;;
        textoverlay) echo gstreamer1.0-x ;;
        h264parse | h265parse | mpegtsmux | solarize | srtsink | srtsrc | tsdemux | x265enc) echo gstreamer1.0-plugins-bad ;;
        compositor | decodebin | subparse | uridecodebin | videoconvert | videorate | videotestsrc) echo gstreamer1.0-plugins-base ;;
        autovideosink | avimux | capssetter | jpegenc | matroskademux | matroskamux | mp4mux | rtph264pay | rtspsrc | udpsink | v4l2src | \
            videobalance | vp8enc | vp9enc) echo gstreamer1.0-plugins-good ;;
    esac
}

# A plugin outside GStreamer's own sets has a version of its own, which is less than that asked for by default.
has() {
    gst-inspect-1.0 --exists --atleast-version=0.0 "$1"
}

need() {
    local element package
    for element; do
        has "$element" && continue
        package=$(package_of "$element")
        [ -n "$package" ] || die "expected GStreamer to have the element $element, found none"
        die "expected GStreamer to have the element $element, found none. It is in Debian's package $package:
    apt-get install $package"
    done
}

# An installed plugin goes before the one built here: whoever set GST_PLUGIN_PATH meant it.
find_plugin() {
    command -v gst-launch-1.0 >/dev/null ||
        die "expected gst-launch-1.0, found none. It is in Debian's package gstreamer1.0-tools:
    apt-get install gstreamer1.0-tools"
    has sparseadv && has clipclassifier && return
    local built=$root/target/release
    [ -f "$built/libgstsparseadv.so" ] || die "expected the plugin in $built or where GStreamer looks, found none. Build it first:
    bash examples/demo.sh"
    export GST_PLUGIN_PATH="$built${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}"
    has sparseadv && has clipclassifier ||
        die "expected GStreamer to load $built/libgstsparseadv.so, but it did not. If it is built and complete (ldd names what is missing),
GStreamer remembers an earlier failure: rm -r ~/.cache/gstreamer-1.0, or the file named by GST_REGISTRY, and run this again."
}

# A property for gst-launch-1.0, whatever is in the value: quoted "name" "value".
quoted() {
    local value=$2 backslash=\\ quote=\"
    value=${value//"$backslash"/"$backslash$backslash"}
    value=${value//"$quote"/"$backslash$quote"}
    printf '%s="%s"' "$1" "$value"
}

# attacker=(sparseadv and its properties): attacker_with MODEL [REPORT]
attacker_with() {
    local properties
    read -ra properties <<<"${SPARSEADV_PROPERTIES:-}"
    # The last of a name wins: the scripts count on theirs.
    attacker=(sparseadv ${properties[@]+"${properties[@]}"} "$(quoted model "$1")")
    [ $# -lt 2 ] || attacker+=("$(quoted report-location "$2")")
}

# attacker=(sparseadv with a universal perturbation), judged where there is a model: perturber_with FILE [MODEL]
perturber_with() {
    local properties
    read -ra properties <<<"${SPARSEADV_PROPERTIES:-}"
    attacker=(sparseadv ${properties[@]+"${properties[@]}"} "$(quoted perturbation "$1")")
    [ -z "${2:-}" ] || attacker+=("$(quoted model "$2")")
}

# gst-launch-1.0's own status may be one that says something else to xargs and the like.
launch() {
    gst-launch-1.0 "$@" || die "the pipeline failed; what it said is above"
}

count() {
    grep -c "$1" "$2" || true
}

# Of a report of sparseadv: the attacked windows, and below the fooled ones among them. A window that no rate counts (already fooled, or
# never classified) has null for success.
attacked_in() {
    count '"success":\(true\|false\)' "$1"
}

fooled_in() {
    count '"success":true' "$1"
}

# A field of the last message sparseadv-stats in what gst-launch-1.0 -m has printed.
stat_in() {
    sed -n 's/.*sparseadv-stats,.* '"$1"'=([a-z0-9]*)\([0-9.]*\).*/\1/p' "$2" | tail -n 1
}

# What a live run comes to, from what gst-launch-1.0 -m has printed.
print_live_stats() {
    [ -n "$(stat_in windows "$1")" ] || die "expected the totals of sparseadv, found none: the stream never began, or never ended"
    echo "frames: $(stat_in frames-in "$1") in, $(stat_in frames-out "$1") out"
    # Without a model there are none.
    [ "$(stat_in windows "$1")" = 0 ] ||
        echo "windows: $(stat_in windows "$1"), fooled: $(stat_in fooled "$1"), overruns: $(stat_in overruns "$1")"
}

# live_file=(a source that plays FILE as a camera would, ending in raw video): live_file_of FILE
#
# Nothing makes a file live by itself; a compositor is live with the least live source of its own. The file's frames pass through it as
# they are. Its latency is how long it waits for the decoder's first.
live_file_of() {
    need videotestsrc compositor decodebin videoconvert
    live_file=(
        filesrc "$(quoted location "$1")" ! decodebin ! videoconvert ! live.
        videotestsrc is-live=true num-buffers=1 ! video/x-raw,format=I420,width=16,height=16,framerate=1/1 ! live.
        compositor name=live latency=1000000000 sink_0::zorder=1 sink_1::zorder=0 ! video/x-raw,format=I420 ! identity sync=true
    )
}

# Runs a live pipeline until it ends, after SECONDS (empty: never) or on Ctrl-C by an end of stream: run_live SECONDS LOG PIPELINE..
run_live() {
    local seconds=$1 log=$2 status=0 limit=()
    shift 2
    # More than the latency, or the end is not waited for.
    [ -z "$seconds" ] || limit=(timeout --foreground --signal=INT --kill-after=30 "$seconds")
    # Ctrl-C reaches gst-launch-1.0 as well, which ends the stream; this script goes on to the totals.
    trap : INT
    ${limit[@]+"${limit[@]}"} gst-launch-1.0 -e -m "$@" >"$log" || status=$?
    trap - INT
    # timeout's own status where it had to end the stream.
    [ "$status" -eq 0 ] || { [ "$status" -eq 124 ] && [ -n "$seconds" ]; } || [ -n "$(stat_in windows "$log")" ] ||
        die "the pipeline failed (status $status); what it said is above"
}
