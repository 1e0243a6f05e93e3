#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Writes what the fuzz targets begin with: small files of every kind that the project reads.

Models lose their weights, since no target runs them. Run it anywhere; it needs nothing but Python.
"""

import io
import json
import pathlib
import re
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DATA = ROOT / "examples" / "data"
CORPUS = HERE / "corpus"

KEYFRAMES = [
    "gradient", "gradient:features", "gradient:net", "gradient:loss", "gradient:input", "fixed", "fixed:4", "sa:2", "ifd",
    "ifd:16", "heuristic", "heuristic:1", "random:3", "all", "0", "0,5,7", " 15 , 3,3", "16", "18446744073709551615",
]  # fmt: skip
OTHERS = [
    "auto", "cpu", "cuda", "cuda:0", "cuda:18446744073709551616", "walk", "1", "0" * 64, "x264enc ! avdec_h264",
    "jpegenc ! jpegdec | vp8enc ! vp8dec", "|", "",
]  # fmt: skip


def write(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def without_weights(model, members):
    """A model's archive with just these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as small:
        for name, content in members.items():
            small.writestr(zipfile.ZipInfo(f"{model}/{name}"), content)
    return out.getvalue()


def models():
    for path in sorted(DATA.glob("*.pt")):
        with zipfile.ZipFile(path) as whole:
            members = {i.filename.split("/", 1)[1]: whole.read(i) for i in whole.infolist() if i.file_size < 4096}
        members = {name: content for name, content in members.items() if not name.startswith("constants/")}
        for name, content in members.items():
            if name.endswith((".pkl", ".py")):
                write("program", f"{path.stem}-{name.replace('/', '-')}", b"\x04" + content)
        metadata = members["extra/sparseadv.json"]
        write("archive", path.stem, without_weights(path.stem, members))
        write("archive", f"{path.stem}-bare", without_weights("m", {"constants.pkl": b"", "extra/sparseadv.json": b"{}"}))
        write("metadata", path.stem, metadata)
    write("metadata", "empty", "{}")
    write("metadata", "marked", "\ufeff{}")
    everything = {
        "name": "", "window": 8, "layout": "BTCHW", "resize": 128, "crop": [112, 96], "antialias": True, "channels": "BGR",
        "mean": [0.1, 1e-3, 2], "std": [1, 0.5, 1e3], "range": [0, 255], "labels": ["a", "b"], "frame_step": 2,
        "feature_layout": "BTD", "feature_window": {"size": 4, "stride": 2, "start": -1},
    }  # fmt: skip
    write("metadata", "everything", json.dumps(everything))


def safetensors(header, values):
    """A perturbation with this header and one tensor."""
    dtype, shape, data = values
    head = json.dumps({
        "__metadata__": {"sparseadv": json.dumps(header)},
        "perturbation": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]},
    }).encode()  # fmt: skip
    return len(head).to_bytes(8, "little") + head + data


def perturbations():
    view = {"window": 2, "resize": [6, 8], "crop": [4, 5]}
    sizes = {"circular": [2, 3, 4, 5], "flicker": [2, 3, 1, 1]}
    region = {"region": {"top": 1, "left": 2, "height": 3, "width": 2}}
    for n, kind in enumerate(["circular", "frame", {"border": 1}, "flicker", region]):
        shape = sizes.get(kind if isinstance(kind, str) else "", [1, 3, 4, 5])
        data = bytes(range(shape[0] * 3 * shape[2] * shape[3]))
        header = {"format": 1, "kind": kind, "view": view, "model_sha256": "0" * 64, "steps": n}
        write("perturbation", f"kind-{n}", safetensors(header, ("U8" if isinstance(kind, dict) else "I8", shape, data)))


def properties():
    for n, text in enumerate(KEYFRAMES + OTHERS):
        write("properties", f"text-{n}", f"walk,wave,jack\n{text}")
    write("properties", "unnamed", "\n1")


def lists():
    ucf = "v_Walk_g01_c01.avi\nWalk/v_Walk_g01_c02.avi 1\r\n'Wave Hand/a b.avi' 2\nC:\\x\\Wave Hand\\a b.avi,2\n"
    classes = "1 Walk\n2 WaveHand\n"
    hmdb = "a b.avi 1\n#20_(HQ)_x.avi 2\ncaf\u00e9.avi 0\n# comment\n../v_Walk_g01_c01.avi 1\n"
    for n, (which, text) in enumerate([("u", ucf), ("h", hmdb)]):
        for encoding in ["utf-8", "utf-8-sig", "utf-16", "latin-1"]:
            write("lists", f"{which}-{n}-{encoding}", which.encode() + (classes + "\0" + text).encode(encoding))


def reports():
    line = {
        "window": 0, "start_pts": 0, "end_pts": 640000000, "start_time": 0, "first_frame": 0, "frames": 4, "label": 1,
        "target_label": None, "clean_label": 1, "clean_label_name": "walk", "clean_probability": 0.9, "final_label": 0,
        "final_label_name": "jack", "final_probability": 0.8, "success": True, "already_fooled": False, "forwards": 27,
        "backwards": 24, "queries": 27, "codec_runs": 0, "queries_first_success": 16, "iterations_first_success": 12,
        "iterations": 20, "weights": [0.25, 0.5, 0.125, 0.125], "keyframes": [0, 1], "perturbed_frames": 2,
        "sparse_rate": 0.5, "map": 0.25, "map_float": 0.3, "map_keyframes": 0.7, "max_abs": 23.0, "l21": 914.5, "l2": 400.0,
        "seconds": 1.6, "overrun": False, "zero_gradient": False, "format": 2, "model": "a.pt", "model_sha256": "0",
        "input": "file:///a.mp4", "settings": {"survive": "identity"}, "plugin": "0.1.0", "libtorch": "2.13.0",
        "gstreamer": "GStreamer 1.22.0",
    }  # fmt: skip
    lines = [json.dumps(line | {"window": n, "first_frame": 4 * n, "start_time": n * 640000000}) for n in range(3)]
    write("reports", "three", "\n".join(lines) + "\n")
    write("reports", "cut", lines[0] + "\n" + lines[1][:200])
    write("reports", "other", '{"window":1}\n\n[]\nnull\n' + lines[2] + "\n")


def dictionary():
    """What is quoted in any of them: libFuzzer puts these words together."""
    texts = [path.read_bytes() for path in CORPUS.rglob("*") if path.is_file()]
    words = {word.decode() for text in texts for word in re.findall(rb'\\?"[A-Za-z0-9_]{1,30}\\?"', text)}
    lines = [json.dumps(word) + "\n" for word in sorted(words)]
    (HERE / "corpus" / "words.dict").write_text("".join(lines))


if __name__ == "__main__":
    for write_some in [models, perturbations, properties, lists, reports, dictionary]:
        write_some()
