# SPDX-License-Identifier: MPL-2.0
"""What users bring to examples/python/export_model.py: checkpoints of other frameworks, wrapped models, mistakes. Each is exported, or
refused with one sentence and without a traceback.

    python export_check.py
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "python"))
import torch  # noqa: E402
from sparseadv.exporter.command import main  # noqa: E402
from sparseadv.exporter.hara import ARCHS, Block, Padded, Resnet  # noqa: E402

NET = """
import torch
from torch import nn
from torch.nn import functional as F
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv3d(3, 4, 3, stride=(2, 4, 4))
        self.fc = nn.Linear(4, 5)
    def forward(self, x):
        return self.fc(F.relu(self.conv(x)).mean((2, 3, 4)))
class InPlace(Net):
    def forward(self, x):
        return super().forward(x.sub_(0.5))
class Random(Net):
    def forward(self, x):
        return super().forward(F.dropout(x))
class SixAxes(Net):
    def forward(self, x):
        assert x.dim() == 6
        return super().forward(x[0])
class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 4, 3, stride=4)
        self.fc = nn.Linear(4, 5)
    def encode_frames(self, x):
        return F.relu(self.conv(x))
    def classify_features(self, f):
        return self.fc(torch.tanh(f).mean((1, 3, 4)))
    def forward(self, x):
        f = self.encode_frames(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (-1, 8))
        return self.classify_features(f), f
class Unlike(Halves):
    def classify_features(self, f):
        return super().classify_features(f)
    def forward(self, x):
        logits, f = super().forward(x)
        return -logits, f
class Lone(Halves):
    def forward(self, x):
        return super().forward(x)[0]
class Untraceable(Halves):
    # What script refuses, so that it is traced.
    def encode_frames(self, x):
        return F.relu(self.conv(x)) if not hasattr(x, "nothing") else x
def half(): return Net().half()
def double(): return Net().double()
def parallel(): return nn.DataParallel(Net())
def compiled(): return torch.compile(Net())
def softmax(): return nn.Sequential(Net(), nn.Softmax(1))
def sigmoid(): return nn.Sequential(Net(), nn.Sigmoid())
def broken(): raise KeyError("x")
"""
VIEW = ["--window", "8", "--crop", "32", "--resize", "32", "--mean", "0", "--std", "1"]


class Run:
    """Exports, and keeps the exit status, or the sentence, and what was printed."""

    def __init__(self, folder: Path, factory: str, *flags: str) -> None:
        self.name = f"{factory} {' '.join(flags)}"
        model = [factory] if factory == "hara" else ["--module", f"{folder / 'net.py'}:{factory}"]
        argv = [*model, "--out", str(folder / "out.pt"), *flags]
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            try:
                self.sentence = "" if main(argv) == 0 else "?"
            except SystemExit as end:
                self.sentence = str(end)
        self.said = text.getvalue()

    def exported(self, *words: str) -> None:
        assert not self.sentence, f"{self.name}: {self.sentence}"
        for word in words:
            assert word in self.said, f"{self.name}: nothing of {word!r} in {self.said}"
        assert words or "warning" not in self.said, f"{self.name}: {self.said}"

    def refused(self, *words: str) -> None:
        assert self.sentence, f"{self.name}: exported"
        for word in words:
            assert word in self.sentence, f"{self.name}: nothing of {word!r} in {self.sentence}"


def checkpoints(folder: Path) -> None:
    state = torch.load(folder / "plain.pt", weights_only=True)

    def named(prefix: str) -> dict[str, torch.Tensor]:
        return {prefix + k: v for k, v in state.items()}

    whole = {
        "lightning": {"state_dict": {**named("model."), "loss.weight": torch.zeros(2)}, "epoch": 3},
        "slowfast": {"model_state": named("module."), "epoch": 3},
        "compiled": named("_orig_mod."),
        "nested": {"state_dict": named("module._orig_mod.model.")},
        "net": {"net": named("")},
        "plain": state,
    }
    for name, checkpoint in whole.items():
        torch.save(checkpoint, folder / "w.pt")
        Run(folder, "Net", "--weights", str(folder / "w.pt"), *VIEW).exported()
        print(f"ok {name}")
    others = {
        "others": ({"weight": torch.zeros(2)}, "weights of this very model"),
        "no weights": ({"epoch": 3}, "a checkpoint with epoch"),
        "a list": ([1], "found a list"),
    }
    for name, (checkpoint, words) in others.items():
        torch.save(checkpoint, folder / "w.pt")
        Run(folder, "Net", "--weights", str(folder / "w.pt"), *VIEW).refused(words)
        print(f"ok {name}")


def models(folder: Path) -> None:
    Run(folder, "Net", *VIEW).exported()
    Run(folder, "half", *VIEW).exported("float16", ".float()")
    Run(folder, "double", *VIEW).exported("float64")
    Run(folder, "parallel", *VIEW).exported()
    Run(folder, "compiled", *VIEW).exported()
    Run(folder, "InPlace", *VIEW).exported()
    Run(folder, "softmax", *VIEW).exported("softmax", "logits")
    Run(folder, "sigmoid", *VIEW).exported("sigmoid")
    Run(folder, "Net", "--window", "8", "--crop", "32", "--resize", "32").exported("guessed", "mean", "std")
    Run(folder, "Net").exported("guessed", "window", "resize [128, 171]")
    Run(folder, "Random", *VIEW).refused("two passes over one clip")
    Run(folder, "SixAxes", *VIEW).refused("[1, 3, 8, 32, 32]", "AssertionError")
    for factory, how in (("Halves", "scripted"), ("Untraceable", "traced")):
        Run(folder, factory, *VIEW).exported(how, "halves")
        module = torch.jit.load(str(folder / "out.pt"))
        assert module.classify_features(module.encode_frames(torch.rand(8, 3, 32, 32)).unsqueeze(0)).shape == (1, 5)
    Run(folder, "Lone", "--layer", "conv", *VIEW).exported("leaves out encode_frames")
    Run(folder, "Unlike", *VIEW).refused("classify_features of what encode_frames gives")
    Run(folder, "broken", *VIEW).refused("KeyError", "correct that function")
    print("ok models")


def published(arch: str, folder: Path, padded: bool = False) -> Resnet:
    """A small random network, saved as the published ones are: under DataParallel, by a torch that counted no batches."""
    torch.manual_seed(2)
    model = Resnet(arch, 4, 2 if arch == "resnext-101" else 1, 5, padded).eval()
    state = {f"module.{k}": v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save({"epoch": 3, "arch": arch, "state_dict": state, "optimizer": {"state": {}}}, folder / "w.pth")
    return model


def hara(folder: Path) -> None:
    weights = ["--weights", str(folder / "w.pth")]
    small = ["--crop", "32", "--resize", "32"]
    for arch, padded in (("resnet-18", True), ("resnet-18", False), ("resnet-50", False), ("resnext-101", False)):
        model = published(arch, folder, padded)
        names = set(torch.load(folder / "w.pth", weights_only=True)["state_dict"])
        assert {"module.conv1.weight", "module.bn1.running_var", "module.layer1.0.conv1.weight", "module.fc.weight"} <= names, names
        assert ("module.layer2.0.downsample.0.weight" in names) != padded, names
        Run(folder, "hara", *weights, *small).exported("mean [114.7748", "range [0.0, 255.0]", "{'size': 2, 'stride': 2, 'start': 0}")
        clip = torch.randn(1, 3, 16, 32, 32) * 60
        logits, features = torch.jit.load(str(folder / "out.pt"))(clip)
        assert torch.allclose(logits, model(clip), atol=1e-4) and features.shape[2] == 8, arch
        print(f"ok hara {arch}{' A' if padded else ''}")
    Run(folder, "hara", *weights, *small, "--layer", "layer3").exported("{'size': 8, 'stride': 8, 'start': 0}")
    Run(folder, "hara", *weights, *small, "--layer", "layer4").refused("one step", "earlier --layer")
    Run(folder, "hara", *weights, *small, "--arch", "resnet-50").refused("weights of this very model")
    Run(folder, "hara", *small).refused("--weights FILE")
    Run(folder, "hara", *small, "--weights", "none", "--arch", "slowfast_r50").refused("--arch among resnet-18")
    torch.save({"arch": "densenet-121", "state_dict": {"module.fc.weight": torch.zeros(2)}}, folder / "w.pth")
    Run(folder, "hara", *weights, *small).refused("resnext-101", "densenet-121", "--arch")
    Run(folder, "hara", *weights, *small, "--arch", "resnet-18").refused("no conv1.weight")
    print("ok hara refuses")


class Cut(Padded):
    """The published shortcut of type A, whose gradient is cut."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.data)


STEP = 1e-8  # so small that hardly a rectifier changes sides


def off_by(block: torch.nn.Module, inputs: int) -> float:
    """Relative difference of a gradient along a random direction from the finite difference."""
    generator = torch.Generator().manual_seed(3)
    x, along = (torch.randn(1, inputs, 4, 6, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    weigh = torch.randn(block(x).shape, generator=generator, dtype=torch.float64)

    def value(x: torch.Tensor) -> torch.Tensor:
        return (block(x) * weigh).sum()

    (gradient,) = torch.autograd.grad(value(x.requires_grad_()), x)
    with torch.no_grad():
        difference = (value(x + STEP * along) - value(x - STEP * along)) / (2 * STEP)
    return float(abs((gradient * along).sum() - difference) / abs(difference))


def shortcuts() -> None:
    torch.manual_seed(2)
    for arch in ARCHS:
        for padded in (True, False) if ARCHS[arch][1] == 1 else (False,):
            model = Resnet(arch, 4, 2 if arch == "resnext-101" else 1, 5, padded).eval().double()
            blocks = [(n, m) for n, m in model.named_modules() if isinstance(m, Block)]
            for name, block in blocks:
                found = off_by(block, block.conv1.in_channels)
                assert found < 1e-4, f"{arch} {name}: a gradient off by {found}"
    block = Block(4, 8, 1, 2, 1, padded=True).eval().double()
    assert off_by(block, 4) < 1e-4
    block.downsample = Cut(2, 4)
    assert off_by(block, 4) > 0.1, "a gradient that is cut was not seen"
    print("ok shortcuts")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        (place / "net.py").write_text(NET)
        space: dict[str, type[torch.nn.Module]] = {}
        exec(NET, space)
        torch.save(space["Net"]().state_dict(), place / "plain.pt")
        checkpoints(place)
        models(place)
        hara(place)
        shortcuts()
