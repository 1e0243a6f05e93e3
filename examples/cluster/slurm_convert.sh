#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# Converts a data set by a Slurm job array, one shard of `gst-sparseadv convert` a job, then merges in a job of its own:
#
#     export MODEL=/shared/c3d.pt
#     array=$(sbatch --parsable --array=1-20 slurm_convert.sh /shared/UCF-101 /shared/UCF-101-attacked --side test)
#     sbatch --dependency=afterok:"$array" --wrap "gst-sparseadv merge /shared/UCF-101-attacked"
#
# SOURCE, DESTINATION and MODEL lie on storage that all nodes share; whatever follows the two folders is passed to `convert` as it is. The
# number of shards is the array's length, so number its jobs from 1 without gaps. `merge` ends with status 2 if clips were skipped: Slurm
# calls that job failed, and manifest-clips.csv says which clips and why.
#
# A job that was preempted or lost its node is requeued (--requeue below) and goes on where it was; so does one out of time when the same
# line is submitted again. Done clips are not converted twice. To repeat only jobs 3 and 7 of 20, give the number of shards by hand:
#
#     SHARDS=20 sbatch --array=3,7 slurm_convert.sh /shared/UCF-101 /shared/UCF-101-attacked --side test
#
# MODEL    TorchScript classifier
# TOOL     gst-sparseadv, if it is not in PATH
# SHARDS   number of parts, if not the array's length
#
#SBATCH --job-name=sparseadv
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=2G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --output=sparseadv-%A-%a.log

set -euo pipefail

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

[ $# -ge 2 ] || die "expected SOURCE and DESTINATION, found $# arguments; see the head of this file"
[ -n "${SLURM_ARRAY_TASK_ID:-}" ] || die "expected a job array: sbatch --array=1-20 slurm_convert.sh ..."
source=$1 destination=$2
shift 2

# 2 is no failure: clips were skipped, and `merge` says so.
status=0
"${TOOL:-gst-sparseadv}" convert "$source" "$destination" --model "${MODEL:?expected the classifier, as MODEL=/shared/c3d.pt}" \
    --shard "$SLURM_ARRAY_TASK_ID/${SHARDS:-$SLURM_ARRAY_TASK_COUNT}" --workers "${SLURM_CPUS_PER_TASK:-1}" "$@" || status=$?
[ "$status" = 2 ] || exit "$status"
