# SPDX-License-Identifier: MPL-2.0
"""What a model of the `sparseadv` contract sees, in plain Python: its metadata, decoded frames, the input tensor.

Shared by the exporter, the programs in examples/python and tests/python. Nothing here uses GStreamer or the Rust crate, so it can judge them.

    from sparseadv.preprocess import read_metadata, frames, to_input
    meta = read_metadata("r3d_18.pt")
    clip = [rgb for _, rgb in frames("clip.mkv")]
    logits = model(to_input(clip[: meta.window], meta))
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from pathlib import Path

import numpy as np
import torch

MEMBER = "sparseadv.json"
CHROMA = ("left", "center", "replicate")


class ContractError(ValueError):
    """Metadata that is missing, malformed or contradicts itself."""


@dataclass
class Metadata:
    """Mirror of src/model/metadata.rs, with the same names and defaults (C3D's)."""

    name: str = ""
    window: int = 16
    layout: str = "BCTHW"
    resize: int | list[int] = field(default_factory=lambda: [128, 171])
    crop: list[int] = field(default_factory=lambda: [112, 112])
    antialias: bool = False
    channels: str = "RGB"
    mean: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    std: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0])
    range: list[float] = field(default_factory=lambda: [0.0, 1.0])
    labels: list[str] = field(default_factory=list)
    frame_step: int = 1
    feature_layout: str | None = None
    feature_window: dict[str, int] | None = None

    @classmethod
    def from_json(cls, text: str | bytes, origin: str) -> Metadata:
        try:
            values = json.loads(text)
        except ValueError as e:
            raise ContractError(f"{origin}: expected JSON, found {e}; write it again with export_model.py") from e
        known = [f.name for f in dataclass_fields(cls)]
        if not isinstance(values, dict) or set(values) - set(known):
            found = sorted(set(values) - set(known)) if isinstance(values, dict) else type(values).__name__
            raise ContractError(f"{origin}: expected an object with fields among {', '.join(known)}; found {found}; remove or rename them")
        meta = cls(**values)
        meta.check(origin)
        return meta

    def to_json(self) -> str:
        return json.dumps({k: v for k, v in asdict(self).items() if v is not None})

    def check(self, origin: str) -> None:
        """The rules of metadata.rs that a hand-written file is likely to break."""
        side = self.resize if isinstance(self.resize, int) else None
        h, w = (side, side) if side is not None else self.resize
        rules = [
            (1 <= self.window <= 1024, "a window of 1 to 1024 frames", self.window),
            (self.frame_step >= 1, "a frame_step of at least 1", self.frame_step),
            (self.layout in ("BCTHW", "BTCHW"), "layout BCTHW or BTCHW", self.layout),
            (self.feature_layout in (None, "BCTHW", "BTCHW", "BTD"), "feature_layout BCTHW, BTCHW or BTD", self.feature_layout),
            (self.channels in ("RGB", "BGR"), "channels RGB or BGR", self.channels),
            (0 < self.crop[0] <= h and 0 < self.crop[1] <= w, f"a crop within the resize {self.resize}", self.crop),
            (
                len(self.mean) == len(self.std) == 3 and min(self.std) > 0,
                "three means and three positive deviations",
                (self.mean, self.std),
            ),
            (self.range[0] < self.range[1], "a rising range such as [0, 1]", self.range),
        ]
        for ok, expected, found in rules:
            if not ok:
                raise ContractError(f"{origin}: expected {expected}, found {found}; correct that field")

    def label_name(self, label: int) -> str:
        return self.labels[label] if 0 <= label < len(self.labels) else str(label)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the resize; a short side rounds the other one down, as torchvision does."""
        if not isinstance(self.resize, int):
            return self.resize[0], self.resize[1]
        if height <= width:
            return self.resize, int(self.resize * width / height)
        return int(self.resize * height / width), self.resize


def read_metadata(model: str | Path) -> Metadata:
    """The sidecar `MODEL.json` if there is one, else the archive's member `<root>/extra/sparseadv.json`."""
    model = Path(model)
    sidecar = model.with_name(model.name + ".json")
    if sidecar.exists():
        return Metadata.from_json(sidecar.read_bytes(), str(sidecar))
    if not zipfile.is_zipfile(model):
        raise ContractError(
            f"{model}: expected a TorchScript archive (a zip file), found something else or nothing; export it with export_model.py"
        )
    with zipfile.ZipFile(model) as archive:
        names = [n for n in archive.namelist() if n.endswith("/extra/" + MEMBER)]
        if not names:
            raise ContractError(f"{model}: expected a member extra/{MEMBER} or a sidecar {sidecar.name}, found neither; add one")
        return Metadata.from_json(archive.read(names[0]), f"{model}:{names[0]}")


def crop_offset(resized: int, crop: int) -> int:
    """torchvision's center_crop. Python's round takes halves to the even number: 171 - 112 gives 30, 57 / 2 gives 28."""
    return int(round((resized - crop) / 2.0))


def to_input(clip: Sequence[np.ndarray], meta: Metadata) -> torch.Tensor:
    """HxWx3 uint8 RGB frames -> the model's input, batch 1. A clip shorter than the window repeats its last frame."""
    if not clip:
        raise ValueError("expected at least one frame, found none; check the window's timestamps")
    chosen = list(clip[: meta.window])
    chosen += [chosen[-1]] * (meta.window - len(chosen))
    x = torch.from_numpy(np.stack(chosen)).permute(0, 3, 1, 2).float()
    size = meta.resized(*x.shape[-2:])
    x = torch.nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=meta.antialias)
    top, left = crop_offset(size[0], meta.crop[0]), crop_offset(size[1], meta.crop[1])
    x = x[..., top : top + meta.crop[0], left : left + meta.crop[1]]
    if meta.channels == "BGR":
        x = x.flip(1)
    lo, hi = meta.range
    x = x / 255.0 * (hi - lo) + lo
    x = (x - torch.tensor(meta.mean).view(3, 1, 1)) / torch.tensor(meta.std).view(3, 1, 1)
    return (x.transpose(0, 1) if meta.layout == "BCTHW" else x)[None].contiguous()


# Kr, Kb by AVColorSpace. 2 (unspecified) is resolved by height as GStreamer does; swscale would always take BT.601.
KR_KB = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
FULL_RANGE = 2  # AVCOL_RANGE_JPEG


def yuv_to_rgb(y: np.ndarray, u: np.ndarray, v: np.ndarray, kr: float, kb: float, full: bool) -> np.ndarray:
    """Float gray levels of equal shape -> float RGB 0..255, neither rounded nor clipped."""
    luma, chroma, black = (255.0, 255.0, 0.0) if full else (219.0, 224.0, 16.0)
    y, u, v = (y - black) / luma, (u - 128.0) / chroma, (v - 128.0) / chroma
    r, b = y + 2.0 * (1.0 - kr) * v, y + 2.0 * (1.0 - kb) * u
    return np.stack([r, (y - kr * r - kb * b) / (1.0 - kr - kb), b], axis=-1) * 255.0


def upsample(plane: np.ndarray, height: int, width: int, chroma: str) -> np.ndarray:
    """A chroma plane at luma size. `left`: MPEG-2/H.264 siting (on the left luma column, between the rows); `center`: MPEG-1/JPEG."""
    out = plane.astype(np.float32)
    for axis, size in ((0, height), (1, width)):
        small = out.shape[axis]
        if small == size:
            continue
        if chroma == "replicate":
            out = np.take(out, np.arange(size) // 2, axis)
            continue
        offset = 0.0 if axis == 1 and chroma == "left" else 0.5
        position = np.clip((np.arange(size) - offset) / 2.0, 0, small - 1)
        low = np.floor(position).astype(int)
        weight = (position - low).astype(np.float32).reshape([size if a == axis else 1 for a in (0, 1)])
        out = np.take(out, low, axis) * (1 - weight) + np.take(out, np.minimum(low + 1, small - 1), axis) * weight
    return out


def frame_to_rgb(frame: av.VideoFrame, chroma: str = "left") -> np.ndarray:  # noqa: F821
    """A decoded frame as HxWx3 uint8 RGB, rounded to nearest.

    swscale is not asked to do this, for three measured reasons (PyAV 18.1, swscale 9.5): its default path replicates chroma and is about one
    gray level too dark; its accurate path (BILINEAR|FULL_CHR_H_INT|ACCURATE_RND) interpolates chroma by the siting the container declares,
    which muxers drop, so that a lossless transcode changes colors; and untagged HD is taken for BT.601.
    """
    if frame.format.name in ("nv12", "nv21"):
        frame = frame.reformat(format="yuv420p")  # the same samples in three planes
    name = frame.format.name
    if name.startswith(("rgb", "bgr", "gbrp", "0rgb", "0bgr")) and frame.format.components[0].bits == 8:
        return frame.to_ndarray(format="rgb24").copy()
    full = frame.color_range == FULL_RANGE or name.startswith("yuvj")
    space = frame.colorspace if frame.colorspace in KR_KB else (5 if frame.height <= 576 else 1)
    if name.removeprefix("yuvj").removeprefix("yuv") in ("420p", "422p", "444p"):
        planes = [np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in frame.planes]
        y, u, v = (upsample(p, frame.height, frame.width, chroma) for p in planes)
        return np.rint(np.clip(yuv_to_rgb(y, u, v, *KR_KB[space], full), 0, 255)).astype(np.uint8)
    raise ValueError(
        f"expected 8-bit yuv420p, yuv422p, yuv444p, nv12 or RGB frames, found {name}; convert the file first, for instance with "
        "videoconvert ! video/x-raw,format=I420 ! avenc_ffv1 ! matroskamux"
    )


def iter_frames(path: str | Path, chroma: str = "left") -> Iterator[tuple[float, np.ndarray]]:
    import av  # only the decoding needs PyAV; the exporter does without

    if chroma not in CHROMA:
        raise ValueError(f"expected chroma {', '.join(CHROMA)}, found {chroma}")
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError(f"{path}: expected a video stream, found none; give a file with one")
        for frame in container.decode(video=0):
            # NaN for a frame without a timestamp: comparisons with it are false, so callers fall back on the order.
            pts = float("nan") if frame.pts is None else float(frame.pts * frame.time_base)
            yield pts, frame_to_rgb(frame, chroma)


def frames(path: str | Path, chroma: str = "left") -> list[tuple[float, np.ndarray]]:
    """All frames of the first video stream in display order: (pts in seconds, HxWx3 uint8 RGB)."""
    return list(iter_frames(path, chroma))


def classify(model: torch.nn.Module, clip: Sequence[np.ndarray], meta: Metadata) -> tuple[int, float]:
    """The label of a clip and its probability."""
    with torch.no_grad():
        out = model(to_input(clip, meta))
    logits = out[0] if isinstance(out, (tuple, list)) else out
    label = int(logits[0].argmax())
    return label, float(logits[0].softmax(0)[label])
