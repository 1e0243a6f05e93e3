# SPDX-License-Identifier: MPL-2.0
"""Weights in the files that training frameworks write, under the names that their wrappers give them."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from .errors import ExportError

# Where training frameworks keep the weights: Lightning and mmaction, PyTorch's examples, SlowFast, timm and others.
STATE_KEYS = ("state_dict", "model_state_dict", "model_state", "state_dict_ema", "model_ema", "model", "module", "net", "network", "weights")


def load_file(path: Path) -> dict[str, object]:
    """What a checkpoint holds. Never unpickles code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ExportError(f"expected weights at {path}, found no such file; give DEFAULT, none, or the path of a state_dict") from None
    except Exception as e:
        why = re.sub(r"\x1b\[\d*m", "", str(e)).splitlines()[0] if str(e) else type(e).__name__
        if "Weights only load failed" in why:
            why = "it pickles a whole module or other Python objects"
        raise ExportError(
            f"expected a state_dict in {path}, found what torch.load(weights_only=True) refuses ({why}); save model.state_dict(), or build and load "
            "the model yourself and use --module"
        ) from None
    if not isinstance(state, dict):
        raise ExportError(f"expected a state_dict in {path}, found a {type(state).__name__}; save model.state_dict()")
    return state


def state_of(state: dict[str, object], path: Path) -> dict[str, torch.Tensor]:
    """The state dict of a checkpoint, alone or inside the usual ones of training."""
    for _ in range(3):  # a checkpoint within a checkpoint
        inner = next((state[k] for k in STATE_KEYS if isinstance(state.get(k), dict)), None)
        if inner is None:
            break
        state = inner
    tensors = {k: v for k, v in state.items() if torch.is_tensor(v)}
    if not tensors:
        raise ExportError(
            f"expected weights in {path}, found a checkpoint with {', '.join(map(str, list(state)[:8])) or 'nothing'}; save model.state_dict()"
        )
    return tensors


def prefixes(names: set[str], wanted: set[str]) -> dict[str, int]:
    """What stands in front of the wanted names, and how many of them stand behind it. Nothing in front is a prefix too."""
    found: dict[str, int] = {}
    for name in names:
        parts = name.split(".")
        for n in range(len(parts)):
            if ".".join(parts[n:]) in wanted:
                prefix = ".".join(parts[:n])
                prefix += "." if prefix else ""
                found[prefix] = found.get(prefix, 0) + 1
    return found


def fit_names(state: dict[str, torch.Tensor], model: torch.nn.Module, path: Path, prefix: str | None) -> dict[str, torch.Tensor]:
    """The state under the model's own names. A wrapper puts a prefix in front of them: DataParallel `module.`, torch.compile `_orig_mod.`, a
    Lightning module the name of the attribute that holds the model. It may hold other modules beside the model: they are left out."""
    # Checkpoints of old do not count batches, and nothing needs that.
    wanted = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    if prefix is not None:
        kept = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if not kept:
            raise ExportError(f"expected names that begin with {prefix!r} in {path}, found {listed(list(state))}; give the right --prefix")
        return kept
    whole = sorted(p for p, count in prefixes(set(state), wanted).items() if count == len(wanted))
    if len(whole) > 1 and "" not in whole:
        raise ExportError(f"expected one such model in {path}, found one under each of {', '.join(whole)}; say which by --prefix")
    if whole:
        return {k.removeprefix(whole[0]): v for k, v in state.items() if k.startswith(whole[0])}
    # The other way round: the module wraps the model whose weights these are.
    for outer, count in prefixes(wanted, set(state)).items():
        if outer and count == len(wanted):
            return {outer + k: v for k, v in state.items()}
    return state


def load_into(model: torch.nn.Module, path: Path, file: dict[str, object] | None = None, prefix: str | None = None) -> None:
    """Loads the weights at the path, or of the file that was read from there before."""
    file = load_file(path) if file is None else file
    state = state_of(file, path)
    try:
        model.load_state_dict(fit_names(state, model, path, prefix))
    except RuntimeError as e:
        lines = [line.strip() for line in str(e).splitlines()[1:]]
        shown = "; ".join(line if len(line) <= 160 else line[:160].rsplit(",", 1)[0] + ", ..." for line in lines[:2])
        raise ExportError(
            f"expected the weights of this very model in {path}, found others: {shown}. The file's names begin {listed(list(state))}, the "
            f"model's {listed(sorted(model.state_dict()))}; {advice(file, state, model)}"
        ) from None


def advice(file: dict[str, object], state: dict[str, torch.Tensor], model: torch.nn.Module) -> str:
    """What to try with weights that do not fit."""
    wanted = set(model.state_dict())
    found = prefixes(set(state), wanted)
    best = max(found, key=found.__getitem__, default="")
    text = "check the model's name and --classes, or load the weights yourself in --module"
    if best:
        text = f"behind the prefix {best!r} {found[best]} of the model's {len(wanted)} names are there: {text}"
    if "pytorch-lightning_version" in file:
        text += (
            ". This is a Lightning checkpoint: under state_dict each name begins with the attribute of the LightningModule that holds the model "
            "(self.net gives net.). Let --module build what that attribute holds, and give the attribute by --prefix if there are several"
        )
    return text


def listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
