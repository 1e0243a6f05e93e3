# SPDX-License-Identifier: MPL-2.0
"""Frames through the element and back: a process of gst-launch-1.0, with raw video in its pipes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

# Of the repository that this file is in, if it is in one.
BUILT = Path(__file__).resolve().parents[3] / "target" / "release"
# What attack() sets itself.
OWN = ("report-location", "name")


class AttackError(RuntimeError):
    """What the element, or GStreamer, had to say."""


def run(frames: np.ndarray, fps: float, model: Path, properties: dict[str, Any]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The frames as they leave the element, and its report, a record a window."""
    t, height, width, _ = frames.shape
    program = shutil.which("gst-launch-1.0")
    if program is None:
        raise AttackError("Expected gst-launch-1.0 on the PATH, found none. Install GStreamer's tools (Debian: gstreamer1.0-tools).")
    # With four bytes a pixel no row ends in padding, whatever the width.
    padded = np.concatenate([frames, np.zeros((t, height, width, 1), np.uint8)], axis=3)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.jsonl"
        attack = element(properties | {"model": model, "report-location": report})
        rate = f"{round(fps * 1000)}/1000"
        receive, send = os.pipe()
        parse = f"fdsrc fd=0 ! rawvideoparse format=rgbx width={width} height={height} framerate={rate} !".split()
        process = subprocess.Popen(
            [program, "-q", *parse, *attack, *f"! fdsink fd={send} sync=false".split()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(send,),
            env=environment(),
        )
        os.close(send)
        try:
            with ThreadPoolExecutor(1) as pool, os.fdopen(receive, "rb") as pipe:
                pushed = pool.submit(pipe.read)
                _, errors = process.communicate(padded.tobytes())
        finally:
            process.kill()
        said = errors.decode(errors="replace")
        left = np.frombuffer(pushed.result(), np.uint8)
        if process.returncode != 0 or left.size != padded.size:
            raise AttackError(reason(said) or f"Expected {t} frames from the element, found {left.size / padded[0].size:g}.")
        records = [json.loads(line) for line in report.read_text().splitlines()]
    return left.reshape(padded.shape)[..., :3].copy(), records


def element(properties: dict[str, Any]) -> list[str]:
    """sparseadv with its properties, as gst-launch-1.0 reads them: a setting is an argument, whatever it holds."""
    return ["sparseadv", *(f"{name.replace('_', '-')}={quoted(value)}" for name, value in properties.items())]


def quoted(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def environment() -> dict[str, str]:
    # MKL otherwise adds in an order that depends on where the memory lies, and results differ from call to call.
    env = {"MKL_CBWR": "AUTO"} | os.environ
    if BUILT.joinpath("libgstsparseadv.so").exists():
        env["GST_PLUGIN_PATH"] = os.pathsep.join(filter(None, [str(BUILT), env.get("GST_PLUGIN_PATH")]))
    return env


def reason(said: str) -> str:
    """The sentence of the element in what gst-launch-1.0 has printed."""
    if 'no element "sparseadv"' in said:
        return (
            "Expected GStreamer to find the element sparseadv, found none. Build the plugin (cargo build --release), set GST_PLUGIN_PATH to "
            "its folder, and see what gst-inspect-1.0 sparseadv says."
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in lines:
        if line.startswith("ERROR: from element"):
            return line.split(": ", 2)[2]
    return next((line.removeprefix("WARNING: ") for line in lines if "erroneous pipeline" in line), lines[-1] if lines else "")
