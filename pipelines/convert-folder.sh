#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Attacks a folder of videos; called again after a break, it goes on where it was.
. "$(dirname "$(readlink -f "$0")")/common.sh"

usage() {
    cat <<'END'
Usage: convert-folder.sh [--workers N] SRC DST [MODEL]

Attacks all videos of a folder. With class folders in SRC this is `gst-sparseadv convert`: the same folders in DST, lossless, with a
manifest. With the videos in SRC itself, each becomes H.264 in MP4 in DST with its report beside it (attack-file.sh). What is there already
is not done again.

  SRC          folder of videos, or of class folders of videos
  DST          folder to write, made if need be
  MODEL        TorchScript classifier   default: the embedded C3D
  --workers N  videos at a time         default: 1

SPARSEADV_PROPERTIES has further properties of sparseadv. Exit status 2: some videos could not be converted; the others were.

Example:
  pipelines/convert-folder.sh --workers 4 UCF-101 UCF-101-attacked c3d.pt
END
}

workers=1
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit ;;
        --workers)
            [ $# -ge 2 ] || misused "expected a value for $1, found none"
            workers=$2
            shift 2
            ;;
        -*) misused "expected --workers or --help, found $1" ;;
        *)
            arguments+=("$1")
            shift
            ;;
    esac
done
[ ${#arguments[@]} -ge 2 ] && [ ${#arguments[@]} -le 3 ] || misused "expected SRC, DST and perhaps MODEL, found ${#arguments[@]} arguments"
src=${arguments[0]} dst=${arguments[1]} model=${arguments[2]:-$default_model}
need_number --workers "$workers"

[ -d "$src" ] || die "expected a folder of videos, found none at $src"
need_file "a model" "$model"
# As many threads as workers are enough.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# As src/dataset has them.
extensions="avi mp4 mkv mov webm mpg mpeg m4v wmv 3g2 3gp asf divx dv f4v flv h264 264 h265 265 hevc ivf m1v m2p m2t m2ts m2v
    mjpeg mjpg mod mpe mpv mts mxf nut ogg ogm ogv qt rm rmvb tod ts vob xvid y4m"

# What find prints of a depth, each with a zero byte behind it, by bytes whatever they are encoded in: listed DEPTH TEST..
listed() {
    local depth=$1
    shift
    LC_ALL=C find -L "$src" -mindepth "$depth" -maxdepth "$depth" ! -name '.*' ! -path '*/__MACOSX/*' -regextype posix-extended \
        "$@" -print0 2>/dev/null | LC_ALL=C sort -z
}

is_video=(-iregex ".*\.($(echo $extensions | tr ' ' '|'))")

# The videos at a depth: videos DEPTH
videos() {
    listed "$1" -type f "${is_video[@]}"
}

mapfile -d '' nested < <(videos 2)
if [ ${#nested[@]} -gt 0 ]; then
    tool=$(command -v gst-sparseadv || true)
    tool=${tool:-$root/target/release/gst-sparseadv}
    [ -x "$tool" ] || die "expected the program gst-sparseadv in PATH or at $tool, found none. Build it first:
    bash examples/demo.sh"
    exec "$tool" convert "$src" "$dst" --model "$model" --workers "$workers" --properties "${SPARSEADV_PROPERTIES:-}"
fi

mapfile -d '' flat < <(videos 1)
[ ${#flat[@]} -gt 0 ] || die "expected videos or class folders of videos in $src, found none"
find_plugin
! [ "$src" -ef "$dst" ] || die "expected another folder to write to, found the videos' own: $dst"
case $(readlink -m -- "$dst")/ in
    "$(readlink -f -- "$src")"/*) die "expected a folder outside $src to write to, found $dst: its videos would be taken for a class" ;;
esac
mkdir -p "$dst"

# a.avi and a.mkv must not become one file.
declare -A stems
for video in "${flat[@]}"; do
    name=${video##*/}
    stems[${name%.*}]=$((${stems[${name%.*}]:-0} + 1))
done
declare -A taken
pairs=() there=0
for video in "${flat[@]}"; do
    name=${video##*/}
    [ "${stems[${name%.*}]}" -gt 1 ] || [ -n "${taken[${name%.*}]:-}" ] || name=${name%.*}
    taken[$name]=1
    if [ -e "$dst/$name.mp4" ]; then
        there=$((there + 1))
    else
        pairs+=("$video" "$dst/$name.mp4")
    fi
done
failed=0
mapfile -d '' broken < <(listed 1 -type l "${is_video[@]}")
for video in ${broken[@]+"${broken[@]}"}; do
    echo "$video: not converted, a link that leads nowhere" >&2
    failed=$((failed + 1))
done
mapfile -d '' other < <(listed 1 -type f ! "${is_video[@]}")
[ ${#other[@]} -eq 0 ] || echo "passed over ${#other[@]} files whose extension is no video's, ${other[0]} say" >&2
converted=0
if [ ${#pairs[@]} -gt 0 ]; then
    # One video that fails must not stop the others; what is missing in the end is counted.
    printf '%s\0' "${pairs[@]}" | xargs -0 -n 2 -P "$workers" \
        sh -c '"$0" "$2" "$3" "$1" || echo "$2: not converted" >&2' "$root/pipelines/attack-file.sh" "$model"
    for ((i = 1; i < ${#pairs[@]}; i += 2)); do
        if [ -e "${pairs[i]}" ]; then converted=$((converted + 1)); else failed=$((failed + 1)); fi
    done
fi
echo "$dst: $converted converted, $there there already, $failed failed"
[ "$failed" -eq 0 ] || exit 2
