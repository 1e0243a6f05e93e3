# SPDX-License-Identifier: MPL-2.0
"""The command line of examples/python/export_model.py."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from ..preprocess import ContractError, Metadata
from . import graph, hara, huggingface, mmaction, pytorchvideo, torchvision
from .checkpoint import load_into
from .errors import ExportError, warn
from .export import export, refuse_sidecar
from .inputs import TwoPathways
from .own import user_model
from .source import VIEW, Source

PACKAGES = ("hara", "huggingface", "mmaction", "pytorchvideo")
FILES = (".pt2", ".onnx")
DESCRIPTION = """Writes a video classifier as the TorchScript archive that the GStreamer element `sparseadv` loads.

    python export_model.py r3d_18 --weights DEFAULT --out r3d_18.pt
    python export_model.py huggingface --weights MCG-NJU/videomae-base-finetuned-kinetics --frame-step 4 --out videomae.pt
    python export_model.py pytorchvideo --arch slowfast_r50 --weights SLOWFAST_8x8_R50.pyth --out slowfast.pt
    python export_model.py mmaction --config tsm.py --weights tsm.pth --out tsm.pt
    python export_model.py hara --weights resnext-101-kinetics.pth --layer layer2 --out resnext-101.pt
    python export_model.py model.pt2 --resize 128x171 --mean 0 --std 1 --out model.pt
    python export_model.py --module my_model.py:build --metadata my_model.json --layer backbone.layer2 --out my_model.pt

The archive's forward takes [B,3,T,H,W] (or [B,T,3,H,W]) and returns logits, or with a layer the tuple (logits, features): the output of that
submodule, by which the keyframes are weighed. A module with encode_frames and classify_features keeps both. After writing, the archive is
read back and compared with the model it was made from: logits, the gradient at the input, the gradient at the features.
"""


def warn_of_guesses(args: argparse.Namespace, meta: Metadata, given: set[str]) -> None:
    """The view that nobody stated: wrong values make every result wrong, and nothing else would tell."""
    given = given | {n for n in ("window", "resize", "crop", "mean", "std", "range") if getattr(args, n) is not None}
    guessed = [n for n in VIEW if n not in given]
    if guessed:
        values = ", ".join(f"{n} {getattr(meta, n)}" for n in guessed)
        warn(f"guessed, as neither the flags nor --metadata give them: {values}. Wrong ones make every result wrong")


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


def source_name(text: str) -> str:
    names = [*sorted(torchvision.ZOO), *PACKAGES]
    if text in names or Path(text).suffix in FILES:
        return text
    raise argparse.ArgumentTypeError(f"expected {', '.join(names)}, or a file that ends in .pt2 or .onnx, found {text}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="export_model.py", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", nargs="?", type=source_name, help=f"{', '.join(sorted(torchvision.ZOO))} of torchvision; {', '.join(PACKAGES)}; or a file")
    p.add_argument("--arch", help="which network of hara (default: what the checkpoint says) or pytorchvideo")
    p.add_argument("--config", type=Path, metavar="CONFIG.py", help="which network of mmaction")
    p.add_argument("--module", metavar="FILE.py:FACTORY", help="your own model instead: FACTORY() returns it")
    p.add_argument("--pathways", type=int, metavar="ALPHA", help="your model takes [slow, fast]: slow is every ALPHA-th frame of the clip")
    p.add_argument(
        "--weights",
        default="DEFAULT",
        metavar="DEFAULT|none|FILE",
        help="torchvision's own, random ones, or a state_dict, also inside a checkpoint of training; of huggingface a folder or a name "
        "(default: DEFAULT)",
    )
    p.add_argument("--prefix", help="what stands before the model's names in that file (default: found by itself)")
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
    if args.model and Path(args.model).suffix in FILES and args.weights != "DEFAULT":
        p.error(f"expected no --weights with {args.model}, which has its own, found {args.weights}; leave it out")
    if args.prefix is not None and (args.model in ("hara", "huggingface") or args.weights in ("DEFAULT", "none")):
        p.error(f"expected --prefix with the --weights of a checkpoint, found it with {args.model or args.module}; leave it out")
    for name, owners in (("arch", ("hara", "pytorchvideo")), ("config", ("mmaction",)), ("pathways", (None,))):
        if getattr(args, name) is not None and args.model not in owners:
            with_what = " or ".join(o or "--module" for o in owners)
            p.error(f"expected --{name} with {with_what} alone, found it with {args.model or '--module'}; leave it out")
    return args


def source_of(args: argparse.Namespace) -> Source:
    """The model that the arguments name."""
    match args.model:
        case None:
            return own(args)
        case "hara":
            return hara.build(args.weights, args.arch, args.classes)
        case "huggingface":
            return huggingface.build(args.weights)
        case "mmaction":
            return mmaction.build(args.config, args.weights, args.prefix)
        case "pytorchvideo":
            return pytorchvideo.build(args.arch, args.weights, args.classes, args.prefix)
        case name if name in torchvision.ZOO:
            return torchvision.build(name, args.weights, args.classes, args.prefix)
        case file:
            return graph.build(Path(file))


def own(args: argparse.Namespace) -> Source:
    model = user_model(args.module)
    if args.weights not in ("DEFAULT", "none"):
        load_into(model, Path(args.weights), prefix=args.prefix)
    if args.pathways is not None:
        if args.pathways < 1:
            raise ExportError(f"expected --pathways of at least 1, found {args.pathways}; give the model's alpha")
        model = TwoPathways(model, args.pathways).eval()
    return Source(model, Metadata(name=Path(args.module.partition(":")[0]).stem), frozenset())


def run(args: argparse.Namespace) -> None:
    refuse_sidecar(args.out)  # before anything is built or downloaded
    source = source_of(args)
    fixed = (source.meta.window, source.meta.crop)
    try:
        given = set(source.given)
        if args.metadata:
            text = args.metadata.read_bytes()
            stated = Metadata.from_json(text, str(args.metadata))
            given |= set(json.loads(text))
            source.meta = replace(source.meta, **{name: getattr(stated, name) for name in json.loads(text)})
        source.meta = metadata_from_flags(args, source.meta)
    except (ContractError, OSError, UnicodeDecodeError) as e:
        raise ExportError(str(e)) from None
    meta, name = source.meta, args.model or args.module
    warn_of_guesses(args, meta, given)
    if source.sampling and "frame_step" not in given and args.frame_step is None:
        warn(f"guessed: frame_step {meta.frame_step}, as {source.sampling}. Give --frame-step")
    if source.fixed and (meta.window, meta.crop) != fixed:
        raise ExportError(
            f"expected {fixed[0]} frames of {fixed[1][0]}x{fixed[1][1]} for {name}, which takes no others, found {meta.window} of "
            f"{meta.crop[0]}x{meta.crop[1]}; leave --window and --crop out"
        )
    if meta.window < source.min_window:
        raise ExportError(f"expected a window of at least {source.min_window} frames for {name}, found {meta.window}; raise --window")
    print(export(source, args.out, args.layer, args.feature_layout, args.layer_channels_last))


def main(argv: list[str] | None = None) -> int:
    try:
        run(parse(argv))
    except ExportError as e:
        raise SystemExit(str(e)) from None
    return 0
