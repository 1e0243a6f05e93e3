# SPDX-License-Identifier: MPL-2.0
"""The Python package as users have it: a wheel is built and installed, the notebook runs on it, and plain torch judges what it attacked.

    python notebook_check.py

Where an array comes back from the element, it must be what the element's report speaks of.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "data"


def install(folder: Path) -> None:
    """Builds the wheel of a copy, since building writes beside the sources, and installs it into this environment."""
    source = shutil.copytree(ROOT / "examples" / "python", folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)], check=True)
    wheel = next(folder.glob("sparseadv-*-py3-none-any.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--force-reinstall", str(wheel)], check=True)


def execute(folder: Path) -> dict[str, str]:
    """Runs the notebook as it stands, and returns what was shown after its last lines."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(ROOT / "examples" / "python" / "sparseadv.ipynb", 4)
    assert not any(cell.get("outputs") for cell in book.cells), "the notebook is kept without outputs"
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    shown = {}
    for cell in book.cells:
        if cell.cell_type == "code":
            texts = [o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
            shown[cell.source.strip().splitlines()[-1]] = "".join(texts)
    return shown


def judged() -> None:
    """An attack's frames, by a model of plain torch."""
    import numpy as np
    import sparseadv
    import torch
    from sparseadv.preprocess import classify, frames, read_metadata

    assert "site-packages" in sparseadv.__file__, sparseadv.__file__  # the wheel, not the sources
    path = DATA / "figures-c3d.pt"
    model, meta = torch.jit.load(path, map_location="cpu").eval(), read_metadata(path)
    # A width that no row of RGB fills without padding.
    clean = np.stack([f for _, f in frames(DATA / "figures-walk.mp4")])[: 2 * meta.window, :, :237]
    result = sparseadv.attack(clean, path, label="walk", max_iterations=20)
    assert np.array_equal(result.clean, clean) and result.adversarial.shape == clean.shape
    assert result.fooled > 0 and result.calls > 0 and 0 < result.map < 10, result
    changed = set(np.flatnonzero((clean != result.adversarial).any((1, 2, 3))).tolist())
    keyframes = set()
    for window in result.windows.itertuples():
        left = result.adversarial[window.first_frame : window.first_frame + window.frames]
        assert classify(model, list(left), meta)[0] == window.final_label, window
        keyframes |= {window.first_frame + k for k in window.keyframes}
    assert changed == keyframes, (changed, keyframes)
    for mistake, words in (({"label": "nobody"}, "label property"), ({"max_iteration": 5}, "no property")):
        try:
            sparseadv.attack(clean[:16], path, **mistake)
        except sparseadv.AttackError as error:
            assert words in str(error), error
        else:
            raise AssertionError(f"{mistake} passed")
    print("ok judged")


def rated() -> None:
    """Rates of windows that are known by heart: right and fooled, right and not, wrong by itself, never classified."""
    import pandas as pd
    import sparseadv

    windows = pd.DataFrame(
        {
            "label_name": ["walk", "walk", "run", "run"],
            "label": [1, 1, 0, 0],
            "clean_label": pd.array([1, 1, 2, None], "Int64"),
            "final_label": pd.array([2, 1, 2, None], "Int64"),
            "success": [True, False, None, None],
            "forwards": [10, 20, 1, 0],
            "backwards": [8, 20, 0, 0],
            "map": [0.5, 0.0, 0.0, 0.0],
        }
    )
    row = sparseadv.rates(windows).loc["all"]
    assert (row["windows"], row["attacked"], row["fooled"], row["fooling_rate"]) == (4, 2, 1, 0.5), row
    assert abs(row["clean_accuracy"] - 2 / 3) < 1e-9 and abs(row["robust_accuracy"] - 1 / 3) < 1e-9, row
    assert (row["calls"], row["map"]) == (29, 0.5), row
    by = sparseadv.rates(windows, by="label_name")
    assert by.loc["walk", "clean_accuracy"] == 1 and by.loc["run", "clean_accuracy"] == 0 and by.loc["run", "attacked"] == 0, by
    print("ok rated")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        os.environ |= {"SPARSEADV_DATA": str(DATA), "GST_PLUGIN_PATH": str(ROOT / "target" / "release")}
        os.environ["GST_REGISTRY"] = str(place / "registry")
        install(place)
        said = execute(place)
        assert "windows, calls" in said["result"] and "windows, calls" in said["own"], json.dumps(said, indent=1)
        assert "robust_accuracy" in said["sparseadv.rates(table)"]
        print("ok notebook")
        judged()
        rated()
