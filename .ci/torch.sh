# SPDX-License-Identifier: MPL-2.0
# Sourced by setup.sh: which package index the torch wheel comes from.

# PyTorch's own index of CPU-only wheels: 0.2 GB, where the wheel of the ordinary index brings CUDA along.
cpu_index=https://download.pytorch.org/whl/cpu

has_nvidia_gpu() {
    [ -e /dev/nvidiactl ] || [ -e /proc/driver/nvidia/version ] || nvidia-smi -L >/dev/null 2>&1
}

# Whether an index answers: reachable PYTHON INDEX. Soon, since many networks let nothing out but to mirrors that pip is told of.
reachable() {
    "$1" - "$2/torch/" <<'END' 2>/dev/null
import sys, urllib.request
urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"), timeout=5)
END
}

# Prints an index, or nothing for pip's own, and says which and why: torch_index PYTHON
torch_index() {
    if [ -n "${SPARSEADV_TORCH_INDEX:-}" ]; then
        say "torch comes from $SPARSEADV_TORCH_INDEX, which SPARSEADV_TORCH_INDEX names"
        printf '%s\n' "$SPARSEADV_TORCH_INDEX"
    elif has_nvidia_gpu; then
        say "There is an NVIDIA GPU: torch comes with CUDA, from the ordinary package index"
    elif reachable "$1" "$cpu_index"; then
        say "There is no NVIDIA GPU: torch comes for CPUs alone, from $cpu_index"
        printf '%s\n' "$cpu_index"
    else
        say "There is no NVIDIA GPU, but $cpu_index does not answer: torch comes with CUDA, from the ordinary package index"
    fi
}
