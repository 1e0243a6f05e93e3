# SPDX-License-Identifier: MPL-2.0
"""Models of other people's packages, exported by examples/python/export_model.py: small ones with random weights, in the files that each package
itself writes. What is exported must see a clip as the package's own model does.

    python packages_check.py
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "python"))
import torch  # noqa: E402
from sparseadv.exporter.command import main  # noqa: E402
from sparseadv.preprocess import Metadata, read_metadata  # noqa: E402
from torch import nn  # noqa: E402

VIEW = ["--resize", "32", "--mean", "0", "--std", "1"]


class Net(nn.Module):
    """A 3D network of nobody's."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv3d(3, 4, 3, stride=(2, 4, 4))
        self.norm = nn.BatchNorm3d(4)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(torch.relu(self.norm(self.conv(x))).mean((2, 3, 4))))


def build() -> nn.Module:
    return Net()


def export(out: Path, *argv: str) -> tuple[torch.jit.ScriptModule, Metadata]:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        assert main([*argv, "--out", str(out)]) == 0
    assert "reloaded, relative differences" in text.getvalue(), text.getvalue()
    return torch.jit.load(str(out)), read_metadata(out)


def fits(out: Path) -> None:
    """That the plugin takes the archive."""
    tool = ROOT / "target" / "release" / "gst-sparseadv"
    said = subprocess.run([tool, "inspect", out], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def refused(*argv: str) -> str:
    try:
        main([*argv, "--out", "never.pt"])
    except SystemExit as end:
        return str(end)
    raise AssertionError(f"{argv} was exported")


def alike(archive: torch.jit.ScriptModule, clip: torch.Tensor, logits: torch.Tensor) -> torch.Tensor | None:
    """That the archive gives the logits; its features."""
    found = archive(clip)
    features = found[1] if isinstance(found, tuple) else None
    found = found[0] if isinstance(found, tuple) else found
    assert torch.allclose(found, logits, atol=1e-4), (found, logits)
    return features


def hugging_face(folder: Path) -> None:
    from transformers import TimesformerConfig, TimesformerForVideoClassification, VideoMAEConfig, VideoMAEForVideoClassification
    from transformers import VideoMAEImageProcessor

    small = {"image_size": 32, "patch_size": 8, "num_frames": 8, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    names = {"id2label": {0: "run", 1: "walk", 2: "wave"}, "label2id": {"run": 0, "walk": 1, "wave": 2}}
    torch.manual_seed(1)
    models = {
        "videomae": VideoMAEForVideoClassification(VideoMAEConfig(**small, **names, intermediate_size=64, tubelet_size=2)),
        "timesformer": TimesformerForVideoClassification(TimesformerConfig(**small, **names, intermediate_size=64)),
    }
    processor = VideoMAEImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    for (name, model), shape in zip(models.items(), ((1, 32, 4, 4, 4), (1, 8, 32, 4, 4))):
        model.save_pretrained(folder / name)
        processor.save_pretrained(folder / name)
        archive, meta = export(out := folder / "out.pt", "huggingface", "--weights", str(folder / name), "--frame-step", "4")
        assert (meta.window, meta.layout, meta.resize, meta.crop, meta.frame_step) == (8, "BTCHW", 36, [32, 32], 4), meta
        assert (meta.labels, meta.antialias, meta.range) == (["run", "walk", "wave"], True, [0.0, 1.0]), meta
        # The processor makes the clip, from frames that the view would leave as they are.
        frames = list(torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8).numpy())
        clip = processor(frames, do_resize=False, return_tensors="pt")["pixel_values"]
        value = torch.from_numpy(frames[0]) / 255.0 * (meta.range[1] - meta.range[0]) + meta.range[0]
        assert torch.allclose((value - meta.mean[0]) / meta.std[0], clip[0, 0], atol=1e-5)
        features = alike(archive, clip, model.eval()(clip).logits)
        assert features is not None and tuple(features.shape) == shape, features
        fits(out)
        print(f"ok {name}")
    assert "huggingface, found none" in refused("huggingface", "--weights", "none")
    assert "preprocessor_config.json" in refused("huggingface", "--weights", str(folder))


def pytorchvideo(folder: Path) -> None:
    from pytorchvideo.models.hub import x3d_xs
    from pytorchvideo.models.slowfast import create_slowfast

    torch.manual_seed(1)
    x3d = x3d_xs(pretrained=False, model_num_class=5).eval()
    torch.save({"model_state": x3d.state_dict(), "epoch": 1}, folder / "w.pyth")
    archive, meta = export(folder / "out.pt", "pytorchvideo", "--arch", "x3d_xs", "--classes", "5", "--weights", str(folder / "w.pyth"))
    assert (meta.window, meta.frame_step, meta.crop) == (4, 12, [182, 182]), meta
    clip = torch.randn(1, 3, 4, 182, 182)
    x3d.blocks[-1].activation = None  # the softmax, which is not in the archive
    features = alike(archive, clip, x3d(clip))
    assert features is not None and features.shape[2] == 4
    print("ok x3d")
    small = {
        "model_num_class": 5,
        "model_depth": 18,
        "slowfast_channel_reduction_ratio": (8,),
        "stem_dim_outs": (16, 2),
        "head_pool_kernel_sizes": ((4, 1, 1), (16, 1, 1)),
        "slowfast_fusion_conv_kernel_size": (7, 1, 1),
    }
    slowfast = create_slowfast(**small).eval()
    torch.save(slowfast.state_dict(), folder / "w.pyth")
    (folder / "small.py").write_text(f"from pytorchvideo.models.slowfast import create_slowfast\ndef build(): return create_slowfast(**{small})\n")
    view = ["--window", "16", "--crop", "32", *VIEW]
    own = ["--module", f"{folder / 'small.py'}:build", "--weights", str(folder / "w.pyth")]
    archive, _ = export(folder / "out.pt", *own, "--pathways", "4", *view)
    clip = torch.randn(1, 3, 16, 32, 32)
    alike(archive, clip, slowfast([clip[:, :, [0, 5, 10, 15]], clip]))
    assert "expected the model to take" in refused(*own, *view)
    assert "--arch among slow_r50" in refused("pytorchvideo", "--weights", "none")
    print("ok slowfast")


def lightning(folder: Path) -> None:
    from lightning.pytorch import LightningModule, Trainer

    class Training(LightningModule):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.student, self.teacher = Net(), Net()
            with torch.no_grad():
                self.teacher.fc.bias += 1
            self.weigh = nn.Linear(width, 1)

        def training_step(self, batch: torch.Tensor) -> torch.Tensor:
            return self.student(batch[0]).square().sum()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    with contextlib.redirect_stderr(io.StringIO()):
        trainer = Trainer(
            max_steps=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False
        )
        module = Training(3)
        trainer.fit(module, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(2, 3, 8, 32, 32)), 2))
        trainer.save_checkpoint(folder / "last.ckpt")
    own = ["--module", f"{Path(__file__)}:build", "--window", "8", "--crop", "32", *VIEW, "--weights", str(folder / "last.ckpt")]
    assert "one under each of student., teacher.; say which by --prefix" in refused(*own)
    clip = torch.randn(1, 3, 8, 32, 32)
    for name, net in (("student.", module.student), ("teacher.", module.teacher)):
        archive, _ = export(folder / "out.pt", *own, "--prefix", name)
        alike(archive, clip, net.eval()(clip))
    sentence = refused("pytorchvideo", "--arch", "x3d_xs", "--weights", str(folder / "last.ckpt"))
    assert "This is a Lightning checkpoint" in sentence and "--prefix" in sentence, sentence
    assert "names that begin with 'net.'" in refused(*own, "--prefix", "net.")
    print("ok lightning")


def programs(folder: Path) -> None:
    clip = torch.randn(1, 3, 8, 32, 32)
    net = Net().eval()
    path = folder / "net.pt2"
    torch.export.save(torch.export.export(net, (clip,)), path)
    archive, meta = export(folder / "out.pt", str(path), *VIEW)
    assert (meta.window, meta.crop, meta.layout) == (8, [32, 32], "BCTHW"), meta
    alike(archive, clip, net(clip))
    assert "expected 8 frames of 32x32" in refused(str(path), *VIEW, "--window", "16")
    torch.export.save(torch.export.export(Net().train(), (clip,)), path)
    assert "call .eval()" in refused(str(path), *VIEW)
    torch.export.save(torch.export.export(net, (torch.cat([clip] * 4),)), path)
    assert "one clip at a time, found 4" in refused(str(path), *VIEW)
    path.write_text("nothing")
    assert "expected a program of torch.export" in refused(str(path), *VIEW)
    print("ok pt2")
    path = folder / "net.onnx"
    with contextlib.redirect_stderr(io.StringIO()):
        torch.onnx.export(net, (clip,), str(path), dynamo=False, opset_version=17)
    archive, meta = export(folder / "out.pt", str(path), *VIEW)
    assert (meta.window, meta.crop, meta.layout) == (8, [32, 32], "BCTHW"), meta
    alike(archive, clip, net(clip))
    path.write_text("nothing")
    assert "expected an ONNX graph" in refused(str(path), *VIEW)
    print("ok onnx")


CONFIG = """
model = dict(
    type="{recognizer}",
    backbone=dict({backbone}),
    cls_head=dict(type="{head}", num_classes=5, in_channels=512, average_clips="prob"{more}),
    data_preprocessor=dict(type="ActionDataPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], format_shape="{shape}"),
)
val_pipeline = [
    dict(type="DecordInit"),
    dict(type="SampleFrames", clip_len={clip_len}, frame_interval={interval}, num_clips={num_clips}, test_mode=True),
    dict(type="DecordDecode"),
    dict(type="Resize", scale=(-1, 36)),
    dict(type="CenterCrop", crop_size=32),
    dict(type="FormatShape", input_format="{shape}"),
    dict(type="PackActionInputs"),
]
"""


def mmaction(folder: Path) -> None:
    import mmaction.models  # noqa: F401
    from mmaction.apis import init_recognizer
    from mmengine.runner import save_checkpoint

    of_clips = {
        "recognizer": "Recognizer3D",
        "backbone": "type='ResNet3d', depth=18, pretrained=None, conv1_kernel=(3, 7, 7), norm_eval=False",
        "head": "I3DHead",
        "more": "",
        "shape": "NCTHW",
        "clip_len": 8,
        "interval": 2,
        "num_clips": 1,
    }
    of_frames = of_clips | {
        "recognizer": "Recognizer2D",
        "backbone": "type='ResNetTSM', depth=18, num_segments=8, norm_eval=False",
        "head": "TSMHead",
        "more": ", num_segments=8",
        "shape": "NCHW",
        "clip_len": 1,
        "num_clips": 8,
    }
    config, weights = folder / "config.py", folder / "w.pth"
    for values, shape in ((of_clips, (1, 3, 8, 32, 32)), (of_frames, (1, 8, 3, 32, 32))):
        config.write_text(CONFIG.format(**values))
        torch.manual_seed(1)
        model = init_recognizer(str(config), device="cpu")
        save_checkpoint({"meta": {"epoch": 1}, "state_dict": model.state_dict()}, str(weights))
        archive, meta = export(folder / "out.pt", "mmaction", "--config", str(config), "--weights", str(weights))
        assert (meta.window, meta.resize, meta.crop, meta.range, meta.mean[0]) == (8, 36, [32, 32], [0.0, 255.0], 123.675), meta
        clip = torch.randn(shape)
        # The package's own way to its scores: several crops of one clip, then a softmax.
        crops = clip[:, None] if shape[1] == 3 else clip
        logits = model.cls_head(model.extract_feat(crops, test_mode=True)[0], num_segs=crops.shape[1])
        alike(archive, clip, logits)
        print(f"ok mmaction {values['recognizer']}")
    assert "--config CONFIG.py" in refused("mmaction")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    checks: list[Callable[[Path], None]] = [hugging_face, pytorchvideo, lightning, programs, mmaction]
    wanted = sys.argv[1:] or [check.__name__ for check in checks]
    for check in checks:
        with tempfile.TemporaryDirectory() as temporary:
            if check.__name__ in wanted:
                check(Path(temporary))
