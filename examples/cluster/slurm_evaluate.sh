#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
#
# Evaluates robustness by a Slurm job array, one shard of `gst-sparseadv evaluate` a job, then merges in a job of its own:
#
#     array=$(sbatch --parsable --array=1-20 slurm_evaluate.sh /shared/settings.toml /shared/result)
#     sbatch --dependency=afterok:"$array" --wrap "gst-sparseadv merge /shared/result --junit /shared/result.xml"
#
# SETTINGS and RESULT lie on storage that all nodes share; whatever follows the two is passed to `evaluate` as it is. The number of
# shards is the array's length, so number its jobs from 1 without gaps. `merge` ends with the status of the gates in SETTINGS.
#
# A job that was preempted or lost its node is requeued (--requeue below) and goes on where it was. To repeat only jobs 3 and 7 of 20,
# give the number of shards by hand:
#
#     SHARDS=20 sbatch --array=3,7 slurm_evaluate.sh /shared/settings.toml /shared/result
#
# TOOL     gst-sparseadv, if it is not in PATH
# SHARDS   number of parts, if not the array's length
#
#SBATCH --job-name=sparseadv
#SBATCH --cpus-per-task=2
#SBATCH --mem-per-cpu=4G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --output=sparseadv-%A-%a.log

set -euo pipefail

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

[ $# -ge 2 ] || die "expected SETTINGS and RESULT, found $# arguments; see the head of this file"
[ -n "${SLURM_ARRAY_TASK_ID:-}" ] || die "expected a job array: sbatch --array=1-20 slurm_evaluate.sh ..."
settings=$1 result=$2
shift 2
# Sums depend on the number of threads in the last bits.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# 2 is no failure: clips were skipped, and `merge` says so.
status=0
"${TOOL:-gst-sparseadv}" evaluate "$settings" --out "$result" \
    --shard "$SLURM_ARRAY_TASK_ID/${SHARDS:-$SLURM_ARRAY_TASK_COUNT}" "$@" || status=$?
[ "$status" = 2 ] || exit "$status"
