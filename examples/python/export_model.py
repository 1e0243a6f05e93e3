# SPDX-License-Identifier: MPL-2.0
"""Writes a video classifier as the TorchScript archive that the GStreamer element `sparseadv` loads.

    python export_model.py r3d_18 --weights DEFAULT --out r3d_18.pt
    python export_model.py hara --weights resnext-101-kinetics.pth --layer layer2 --out resnext-101.pt
    python export_model.py --module my_model.py:build --metadata my_model.json --layer backbone.layer2 --out my_model.pt

The archive's forward takes [B,3,T,H,W] (or [B,T,3,H,W]) and returns logits, or with a layer the tuple (logits, features): the output of that
submodule, by which the keyframes are weighed. A module with encode_frames and classify_features keeps both. After writing, the archive is read back and compared with the model it was made from:
logits, the gradient at the input, the gradient at the features.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import warnings
from pathlib import Path

import torch
from hara import ARCHS, build_hara
from model_zoo import ZOO, build, load_into
from preprocess import MEMBER, ContractError, Metadata, read_metadata

HALVES = ("encode_frames", "classify_features")
TOLERANCE = 1e-5  # relative to the largest value compared
TIME_AXIS = {"BCTHW": 2, "BTCHW": 1, "BTD": 1}


class WithFeatures(torch.nn.Module):
    """Returns (logits, features) of a model that returns logits, by a hook on one submodule.

    The hook hands the very tensor it stores on to the rest of the model: a copy beside the path to the logits would have no gradient.
    """

    def __init__(self, model: torch.nn.Module, layer: str, channels_last: bool, window: int) -> None:
        super().__init__()
        self.model = model
        self.window = window
        self.layout: str | None = None  # of the features, known after a forward
        self.captured: list[torch.Tensor] = []
        names = dict(model.named_modules())
        if layer not in names:
            children = ", ".join(n for n in names if n and n.count(".") < 2)
            raise SystemExit(f"expected --layer to name a submodule, found {layer!r}; there are {children}")
        self.layer, self.channels_last = layer, channels_last
        names[layer].register_forward_hook(self.capture)

    def capture(self, _module: torch.nn.Module, _args: object, out: object) -> torch.Tensor:
        # A network run on every frame by itself gives [B*T, C, H, W] or [B*T, D], and B is 1.
        per_frame = torch.is_tensor(out) and out.dim() in (2, 4) and out.shape[0] == self.window > 1
        if not torch.is_tensor(out) or not (per_frame or out.dim() in (3, 5)):
            found = f"a tensor {list(out.shape)}" if torch.is_tensor(out) else f"a {type(out).__name__}"
            raise SystemExit(
                f"expected the output of layer {self.layer!r} to be a tensor with a time axis: 5 axes, 3 as [B, T, D], or one item a frame; "
                f"found {found}; name another layer, one before tokens are flattened (torchvision: conv_proj of mvit_v2_s, patch_embed of swin3d_t)"
            )
        if per_frame:
            self.layout = "BTCHW" if out.dim() == 4 else "BTD"
            features = out.unflatten(0, (1, self.window))
            self.captured.append(features)
            return features.flatten(0, 1)
        self.layout = "BCTHW" if out.dim() == 5 else "BTD"
        if not self.channels_last or out.dim() == 3:
            self.captured.append(out)
            return out
        features = out.permute(0, 4, 1, 2, 3)  # BTHWC -> BCTHW
        self.captured.append(features)
        return features.permute(0, 2, 3, 4, 1)

    def forward(self, clip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.captured.clear()
        logits = self.model(clip)
        if len(self.captured) != 1:
            raise SystemExit(
                f"expected layer {self.layer!r} to run once a forward, found {len(self.captured)} times; name a layer that sees the whole clip"
            )
        return logits, self.captured.pop()


def split(out: object) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits and features of what a model of the contract returned."""
    first, second = (out[0], out[1]) if isinstance(out, (tuple, list)) and len(out) >= 2 else (out, None)
    if not torch.is_tensor(first) or first.dim() != 2:
        found = f"a tensor {list(first.shape)}" if torch.is_tensor(first) else f"a {type(first).__name__}"
        raise SystemExit(
            f"expected forward to return logits [B, K] or (logits, features), found {found} first; wrap the model so that it does"
        )
    return first, second


def user_model(spec: str) -> torch.nn.Module:
    """`path.py:factory` -> factory()."""
    path, _, factory = spec.partition(":")
    if not factory or not Path(path).is_file():
        raise SystemExit(f"expected --module path.py:factory with an existing file, found {spec!r}; example: my_model.py:build")
    module_spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert module_spec and module_spec.loader
    module = importlib.util.module_from_spec(module_spec)
    # The file's own folder, so that it can import its neighbors as it does when it is run.
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        module_spec.loader.exec_module(module)
    except Exception as e:  # a user's own code
        raise SystemExit(f"expected Python code in {path}, found {type(e).__name__}: {first_line(e)}; correct that file") from None
    if not callable(getattr(module, factory, None)):
        raise SystemExit(f"expected a function {factory} in {path}, found none; it has {', '.join(n for n in vars(module) if n[0] != '_')}")
    try:
        model = getattr(module, factory)()
    except Exception as e:  # a user's own code
        raise SystemExit(f"expected {spec} to return a model, found {type(e).__name__}: {first_line(e)}; correct that function") from None
    if not isinstance(model, torch.nn.Module):
        raise SystemExit(f"expected {spec} to return a torch.nn.Module, found {type(model).__name__}; return the model, not its class")
    return plain(model).eval()


def plain(model: torch.nn.Module) -> torch.nn.Module:
    """The model without what wraps it for training, on the CPU and in single precision."""
    while isinstance(model, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)) or hasattr(model, "_orig_mod"):
        # torch.compile keeps the module it was given; nothing of what it compiles can be scripted.
        model = model._orig_mod if hasattr(model, "_orig_mod") else model.module
    kinds = {str(p.dtype).removeprefix("torch.") for p in [*model.parameters(), *model.buffers()] if p.is_floating_point()}
    other = sorted(kinds - {"float32"})
    if other:
        say(f"the model holds {', '.join(other)}: exported in single precision, as by .float()")
    return model.cpu().float()


def say(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def random_clip(meta: Metadata, seed: int) -> torch.Tensor:
    t, (h, w) = meta.window, meta.crop
    shape = (1, 3, t, h, w) if meta.layout == "BCTHW" else (1, t, 3, h, w)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.5


def has_halves(model: torch.nn.Module) -> bool:
    """Whether it encodes frame by frame: then the element encodes only the frames that it changes."""
    return all(callable(getattr(model, name, None)) for name in HALVES)


def frames_of(clip: torch.Tensor, meta: Metadata) -> torch.Tensor:
    """The frames of a clip, [T, 3, H, W]."""
    return (clip.transpose(1, 2) if meta.layout == "BCTHW" else clip)[0].contiguous()


def compile_model(model: torch.nn.Module, meta: Metadata) -> tuple[torch.jit.ScriptModule, str]:
    """Scripted where possible (keeps control flow); traced where scripting fails, and always with a hooked layer, which scripts can't have."""
    if not isinstance(model, WithFeatures):
        if has_halves(model):
            for name in HALVES:
                torch.jit.export(getattr(type(model), name))
        try:
            return torch.jit.script(model), "scripted"
        except Exception as e:  # what script refuses comes as many types
            print(f"scripting failed, tracing instead: {first_line(e)}")
            for name in HALVES if has_halves(model) else ():
                torch.jit.unused(getattr(type(model), name))  # tracing would script it
    try:
        with torch.no_grad():
            clip = random_clip(meta, 1)
            inputs = {"forward": clip}
            if has_halves(model):
                frames = frames_of(clip, meta)
                inputs |= dict(zip(HALVES, (frames, model.encode_frames(frames).unflatten(0, (1, meta.window)))))
            return torch.jit.trace_module(model, inputs, check_trace=False), "traced"
    except Exception as e:  # likewise
        raise SystemExit(f"expected a model that can be scripted or traced, found {type(e).__name__}: {first_line(e)}; simplify its forward") from None


def gradients(model: torch.nn.Module, clip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Logits, gradient of the winning one at the input, and at the features."""
    clip = clip.clone().requires_grad_()
    # The element runs with the executor's optimization off as well: no slow second call.
    with torch.jit.optimized_execution(False):
        # A copy, as the element gives one to models that write into their input.
        logits, features = split(model(clip.clone()))
        if not logits.requires_grad:
            raise SystemExit(
                "expected logits with a gradient, found none; the model blocks it (no_grad, detach, argmax, integers): remove that"
            )
        wanted = [clip] if features is None else [clip, features]
        found = torch.autograd.grad(logits[0].max(), wanted, allow_unused=True)
    if found[0] is None:
        raise SystemExit("expected a gradient at the input, found none; the model detaches its input: remove that")
    if features is not None and found[1] is None:
        raise SystemExit(
            "expected the features to lie on the path to the logits, found no gradient there; return the tensor that the next layer takes, "
            "not a copy or a reshape made beside it, or let --layer pick a submodule's output"
        )
    return logits.detach(), found[0], found[1] if features is not None else None


def warn_of_outputs(model: torch.nn.Module, meta: Metadata) -> None:
    """What the plugin says when it loads the model, said before it is exported."""
    outputs = [split(model(random_clip(meta, seed)))[0][0].detach() for seed in (5, 6, 7)]
    sums = all(float(z.min()) >= 0 and abs(float(z.sum()) - 1) < 2e-3 for z in outputs)
    if sums or all(0 <= float(z.min()) and float(z.max()) <= 1 for z in outputs):
        what = "sum to 1, as probabilities (softmax) do" if sums else "stay between 0 and 1, as probabilities (sigmoid) do"
        say(f"the model's outputs {what}, where logits are expected: gradients vanish where it is sure. Take the softmax or sigmoid out of its end")


def warn_of_guesses(args: argparse.Namespace, meta: Metadata, given: set[str]) -> None:
    """The view that nobody stated: wrong values make every result wrong, and nothing else would tell."""
    given = given | {n for n in ("window", "resize", "crop", "mean", "std", "range") if getattr(args, n) is not None}
    guessed = [n for n in ("window", "resize", "crop", "mean", "std") if n not in given]
    if guessed:
        values = ", ".join(f"{n} {getattr(meta, n)}" for n in guessed)
        say(f"guessed, as neither the flags nor --metadata give them: {values}. Wrong ones make every result wrong")


def worst(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference relative to the largest value."""
    return float((a - b).abs().max() / max(float(a.abs().max()), 1e-12))


def verify(path: Path, model: torch.nn.Module, meta: Metadata) -> dict[str, float]:
    """Reads the archive back and compares it with the model, on a clip that was not used to trace it."""
    if read_metadata(path) != meta:
        raise SystemExit(f"expected the metadata just written in {path}, found other; this is a fault of the exporter, please report it")
    reloaded = torch.jit.load(str(path), map_location="cpu").eval()
    for p in reloaded.parameters():
        p.requires_grad_(False)
    names = ("logits", "input gradient", "feature gradient")
    result = {}
    for name, a, b in zip(names, gradients(model, random_clip(meta, 2)), gradients(reloaded, random_clip(meta, 2))):
        if a is None or b is None:
            continue
        result[name] = worst(a, b)
        if not result[name] <= TOLERANCE:
            raise SystemExit(
                f"expected the reloaded archive to give the model's {name} within {TOLERANCE:g}, found a difference of {result[name]:.2g}; the "
                "model is random in eval mode, or tracing froze a choice that depends on the data: make it scriptable"
            )
    if has_halves(model):
        clip = random_clip(meta, 2)
        with torch.no_grad():
            codes = reloaded.encode_frames(frames_of(clip, meta)).unflatten(0, (1, meta.window))
            result["halves"] = worst(split(model(clip.clone()))[0], reloaded.classify_features(codes))
        if not result["halves"] <= TOLERANCE:
            raise SystemExit(
                f"expected classify_features of what encode_frames gives to be the model's logits within {TOLERANCE:g}, found a difference of "
                f"{result['halves']:.2g}; let forward be made of both, or leave one of them out"
            )
    return result


def describe_features(model: torch.nn.Module, meta: Metadata, layout: str | None) -> list[int] | None:
    """Sets feature_layout, and feature_window where measuring finds a regular one. Returns the features' shape."""
    clip = random_clip(meta, 3).requires_grad_()
    features = split(model(clip.clone()))[1]
    if features is None:
        meta.feature_layout = meta.feature_window = None
        return None
    if features.dim() not in (3, 5):
        raise SystemExit(f"expected features with 5 axes, or 3 as [B, T', D], found {list(features.shape)}; return another layer's output")
    captured = model.layout if isinstance(model, WithFeatures) else None
    meta.feature_layout = layout or captured or meta.feature_layout or ("BCTHW" if features.dim() == 5 else "BTD")
    if (meta.feature_layout == "BTD") != (features.dim() == 3):
        raise SystemExit(
            f"expected {features.dim()} axes in --feature-layout, found {meta.feature_layout} for features {list(features.shape)}"
        )
    axis = TIME_AXIS[meta.feature_layout]
    steps = features.shape[axis]
    if steps > meta.window:
        raise SystemExit(
            f"expected at most {meta.window} steps on the time axis of the features {list(features.shape)} read as {meta.feature_layout}, "
            f"found {steps}; give the right --feature-layout, or --layer-channels-last for [B, T, H, W, C]"
        )
    if steps == 1:
        raise SystemExit(
            f"expected features with a time axis, found {list(features.shape)} with one step, which weighs every frame alike; name an earlier --layer"
        )
    meta.feature_window = measure_window(clip, features, axis, meta)
    return list(features.shape)


def measure_window(clip: torch.Tensor, features: torch.Tensor, axis: int, meta: Metadata) -> dict[str, int] | None:
    """Which frames each feature step depends on, as size, stride and start; None where no useful rule fits: attention, recurrence, and deep
    convolutions, each step of which sees the whole window."""
    time = 2 if meta.layout == "BCTHW" else 1
    others = [a for a in range(5) if a != time]
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(4))
    spans = []
    for j in range(features.shape[axis]):
        step = (features * weights).select(axis, j).sum()
        (grad,) = torch.autograd.grad(step, clip, retain_graph=True)
        seen = grad.abs().sum(others).nonzero().flatten()
        if len(seen) == 0:
            return None
        spans.append((int(seen[0]), int(seen[-1]) + 1))
    t = clip.shape[time]
    if all(span == (0, t) for span in spans):
        return None  # every step sees every frame: by this rule all frames would weigh the same
    stride = max(round(t / len(spans)), 1)
    # The window's edges hide the ends of the outer steps: every rule that fits what is left is tried, the smallest first.
    for size in range(1, 2 * t + 1):
        for start in range(-size + 1, stride + 1):
            rule = [(max(start + j * stride, 0), min(start + j * stride + size, t)) for j in range(len(spans))]
            if rule == spans:
                return {"size": size, "stride": stride, "start": start}
    return None


def run_once(model: torch.nn.Module, meta: Metadata, layout: str | None) -> tuple[list[int] | None, int]:
    """Shape of the features and number of classes. What a model refuses comes as many types, and a traceback tells users nothing."""
    clip = random_clip(meta, 2)
    try:
        shape = describe_features(model, meta, layout)
        classes = gradients(model, clip)[0].shape[1]
        repeated = worst(split(model(clip.clone()))[0], split(model(clip.clone()))[0])
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, AssertionError, NotImplementedError) as e:
        raise SystemExit(
            f"expected the model to take {list(clip.shape)} ({meta.layout}, {meta.window} frames of {meta.crop[0]}x{meta.crop[1]}), found "
            f"{type(e).__name__}: {first_line(e)}; give the right --window, --crop and --layout, or wrap the model so that it takes one such clip"
        ) from None
    if not repeated <= 1e-4:
        raise SystemExit(
            f"expected two passes over one clip to give the same logits, found a difference of {repeated:.2g}; the model is random (dropout that "
            "ignores .eval()) or has a memory: take that out"
        )
    return shape, classes


def metadata_from_flags(args: argparse.Namespace, meta: Metadata) -> Metadata:
    for name in ("name", "window", "layout", "crop", "resize", "channels", "mean", "std", "range", "frame_step"):
        value = getattr(args, name)
        if value is not None:
            setattr(meta, name, value)
    if args.antialias:
        meta.antialias = True
    if args.labels:
        meta.labels = [line.strip() for line in args.labels.read_text("utf-8-sig").splitlines() if line.strip()]
    meta.check("the flags")
    return meta


def size(text: str) -> int | list[int]:
    numbers = [int(n) for n in text.lower().split("x")]
    return numbers[0] if len(numbers) == 1 else numbers[:2]


def numbers(text: str) -> list[float]:
    values = [float(n) for n in text.split(",")]
    return values * 3 if len(values) == 1 else values


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", nargs="?", choices=[*sorted(ZOO), "hara"], help="a model of torchvision, or hara: a 3D ResNet of Hara et al.")
    p.add_argument("--arch", choices=list(ARCHS), help="which of Hara's networks (default: what the checkpoint says)")
    p.add_argument("--module", metavar="FILE.py:FACTORY", help="your own model instead: FACTORY() returns it")
    p.add_argument(
        "--weights",
        default="DEFAULT",
        metavar="DEFAULT|none|FILE",
        help="torchvision's own, random ones, or a state_dict (default: DEFAULT)",
    )
    p.add_argument("--out", type=Path, required=True, metavar="MODEL.pt")
    p.add_argument(
        "--layer",
        help="submodule whose output weighs the keyframes; `none` for no features (default: the model's own choice; of hara layer1, which has "
        "8 steps for 16 frames; layer2 has 4, layer3 2, and layer4 one, which tells no frame from another)",
    )
    p.add_argument("--feature-layout", choices=["BCTHW", "BTCHW", "BTD"], help="order of the features' axes (default: by their number)")
    p.add_argument("--layer-channels-last", action="store_true", help="that output is [B, T, H, W, C]: turn it into BCTHW on its way")
    p.add_argument("--classes", type=int, help="number of classes of the weights given by file")
    p.add_argument("--metadata", type=Path, help="JSON file with the fields below; the flags win over it")
    p.add_argument("--labels", type=Path, help="text file with one class name a line")
    p.add_argument("--name")
    p.add_argument("--window", type=int, help="frames the model sees at a time")
    p.add_argument("--frame-step", type=int, help="frames of the stream from one frame of a window to the next (default: 1)")
    p.add_argument("--layout", choices=["BCTHW", "BTCHW"])
    p.add_argument("--resize", type=size, metavar="HxW|SHORT")
    p.add_argument("--crop", type=lambda t: size(t) if "x" in t else [int(t)] * 2, metavar="HxW|SIDE")
    p.add_argument("--channels", choices=["RGB", "BGR"])
    p.add_argument("--mean", type=numbers, metavar="R,G,B")
    p.add_argument("--std", type=numbers, metavar="R,G,B")
    p.add_argument("--range", type=numbers, metavar="LOW,HIGH", help="what black and white are before mean and std (default: 0,1)")
    p.add_argument("--antialias", action="store_true", help="the resize widens its kernel when it shrinks")
    args = p.parse_args(argv)
    if (args.model is None) == (args.module is None):
        p.error("expected either a model by name or --module, found " + ("neither" if args.model is None else "both"))
    if args.arch and args.model != "hara":
        p.error(f"expected --arch with hara alone, found it with {args.model or '--module'}; leave it out")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    sidecar = args.out.with_name(args.out.name + ".json")
    if sidecar.exists():
        raise SystemExit(f"expected no {sidecar}, found one, which would win over the metadata inside {args.out.name}; move it away")
    # TorchScript is deprecated upstream and is what libtorch loads; each call would say so.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
    try:
        if args.model == "hara":
            model, meta, entry = build_hara(args.weights, args.arch, args.classes)
        elif args.model:
            model, meta, entry = build(args.model, args.weights, args.classes)
        else:
            model, meta, entry = user_model(args.module), Metadata(name=Path(args.module.partition(":")[0]).stem), None
            if args.weights not in ("DEFAULT", "none"):
                load_into(model, Path(args.weights))
        given = {"window", "resize", "crop", "mean", "std"} if entry else set()
        if args.metadata:
            name = meta.name
            meta = Metadata.from_json(args.metadata.read_bytes(), str(args.metadata))
            meta.name = meta.name or name
            given |= set(json.loads(args.metadata.read_bytes()))
        meta = metadata_from_flags(args, meta)
    except (ContractError, OSError, UnicodeDecodeError) as e:
        raise SystemExit(str(e)) from None
    warn_of_guesses(args, meta, given)
    if entry and entry.fixed and (meta.window, meta.crop) != (entry.window, [224, 224]):
        raise SystemExit(
            f"expected {entry.window} frames of 224x224 for {args.model}, whose positions are fixed, found {meta.window} of {meta.crop}"
        )
    if entry and meta.window < entry.min_window:
        raise SystemExit(f"expected a window of at least {entry.min_window} frames for {args.model}, found {meta.window}; raise --window")
    layer = args.layer if args.layer is not None else (entry.layer if entry else "none")
    if layer != "none":
        channels_last = args.layer_channels_last or bool(entry and entry.channels_last and layer != "patch_embed.proj")
        if has_halves(model):
            say(f"--layer leaves out {' and '.join(HALVES)}: let forward return the codes as its features, and give no --layer")
        model = WithFeatures(model, layer, channels_last, meta.window)
    for p in model.parameters():
        p.requires_grad_(False)
    shape, classes = run_once(model, meta, args.feature_layout)
    if entry and layer in entry.strides:
        meta.feature_window = {"size": entry.strides[layer], "stride": entry.strides[layer], "start": 0}
    warn_of_outputs(model, meta)
    if meta.labels and len(meta.labels) != classes:
        raise SystemExit(f"expected {classes} labels, one a logit, found {len(meta.labels)}; correct --labels or the metadata")
    module, how = compile_model(model, meta)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until it is verified, so that a file at --out is always a good one.
    part = args.out.with_name(args.out.name + ".part")
    try:
        torch.jit.save(module, str(part), _extra_files={MEMBER: meta.to_json()})
        agreement = verify(part, model, meta)
        part.replace(args.out)
    finally:
        part.unlink(missing_ok=True)
    print(f"{args.out}: {how}, {args.out.stat().st_size / 1e6:.1f} MB, {classes} classes, {meta.window} frames, {meta.layout}")
    print(f"  view: resize {meta.resize}, crop {meta.crop}, mean {meta.mean}, std {meta.std}, range {meta.range}, {meta.channels}")
    if shape:
        origin = layer if layer != "none" else "returned by the model"
        window = meta.feature_window or "no rule that tells them apart; an earlier layer has one"
        print(f"  features: {origin} {shape} as {meta.feature_layout}, frames a step: {window}")
    else:
        print("  features: none; the keyframes will be weighed by the gradient at the input")
    print("  reloaded, relative differences: " + ", ".join(f"{k} {v:.1e}" for k, v in agreement.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
