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

# The videos at a depth, each with a zero byte behind it: videos DEPTH
videos() {
    find -L "$src" -mindepth "$1" -maxdepth "$1" -type f ! -name '.*' -regextype posix-extended \
        -iregex '.*\.(avi|mp4|mkv|mov|webm|mpg|mpeg|m4v|wmv)' -print0 | sort -z
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
mkdir -p "$dst"
! [ "$src" -ef "$dst" ] || die "expected another folder to write to, found the videos' own: $dst"

# a.avi and a.mkv must not become one file.
declare -A stems
for video in "${flat[@]}"; do
    name=${video##*/}
    stems[${name%.*}]=$((${stems[${name%.*}]:-0} + 1))
done
pairs=() there=0
for video in "${flat[@]}"; do
    name=${video##*/}
    [ "${stems[${name%.*}]}" -gt 1 ] || name=${name%.*}
    if [ -e "$dst/$name.mp4" ]; then
        there=$((there + 1))
    else
        pairs+=("$video" "$dst/$name.mp4")
    fi
done
failed=0
if [ ${#pairs[@]} -gt 0 ]; then
    # One video that fails must not stop the others; what is missing in the end is counted.
    printf '%s\0' "${pairs[@]}" | xargs -0 -n 2 -P "$workers" \
        sh -c '"$0" "$2" "$3" "$1" || echo "$2: not converted" >&2' "$root/pipelines/attack-file.sh" "$model"
    for ((i = 1; i < ${#pairs[@]}; i += 2)); do
        [ -e "${pairs[i]}" ] || failed=$((failed + 1))
    done
fi
echo "$dst: $((${#pairs[@]} / 2 - failed)) converted, $there there already, $failed failed"
[ "$failed" -eq 0 ] || exit 2
