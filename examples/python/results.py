# SPDX-License-Identifier: MPL-2.0
"""Records of measurements, and the page that is made of them. Needs nothing but Python.

    python results.py examples/results                               writes examples/results/README.md
    python results.py examples/results --check                       exit status 1 if the page is another than the records give
    python results.py examples/results --take weizmann --name paper  a record for a folder of gst-sparseadv reproduce
    python results.py examples/results --take speed.jsonl --name speed  a record for what the example benchmark wrote

A measuring program writes one record, SECTION.ANYTHING.json, with --record. Records of one section make one table of the page. Every row of a
table has to be measured by one commit of the plugin, which the report lines behind that row name; anything else is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import textwrap
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

# What the page says of each section, in the page's order.
SECTIONS = {
    "paper": (
        "The paper's experiments",
        "`gst-sparseadv reproduce` measures the paper's tables on clips of actors that the models were not trained on. "
        "Clips and targets are drawn with a fixed seed. The whole report has the ablation too.",
    ),
    "variants": (
        "Variants of the paper's method",
        "Each row is the paper's method with one property changed, on the clips of an actor that the other tables leave out.",
    ),
    "systems": (
        "Systems without the model's gradient",
        "`gst-sparseadv reproduce --systems` runs each on the same windows. The settings of ours were picked on clips of another actor. A surrogate "
        "is another model of this table, trained on the same clips: the LRCN for both others, and C3D for the LRCN. Every model judges what was "
        "made on the others.",
    ),
    "search": (
        "Walk and descent",
        "`search=two-stage` is the paper's descent with this element's step, the default before the walk. Rows without `search` are walks, which make "
        "the perturbation small in the norm named, `l2` by default. PyAV decodes the lossless file that was pushed, and plain torch judges it. Calls "
        "are forwards and backwards.",
    ),
    "codec": (
        "What survives an encoder",
        "Every clip is attacked, encoded whole, decoded by PyAV and classified by plain torch. A window counts as fooled when its label differs "
        "from that of the clean window. `survive=same` stands for the codec of the line. `claimed` is the element's own count, behind the codec "
        "with `survive`; `lossless` and `whole` are fooled windows in the lossless and in the encoded file. `codec alone` counts clean windows "
        "whose label the codec changes.",
    ),
    "lead": (
        "What the lead buys behind an encoder",
        "The same measurement with several values of `confidence`.",
    ),
    "phase": (
        "Windows that do not line up",
        "An attacked clip is cut into windows at every offset from 0 to 15. The columns by number are the percentages of fooled windows at that offset.",
    ),
    "resizers": (
        "Other programs' resizers",
        "The model's view of the attacked clip is computed by each of these resizers. Percentages are fooled windows.",
    ),
    "judge": (
        "What another program confirms",
        "`tests/python/lossless_check.py` attacks clips with default settings, stores them without loss, and lets PyAV and plain torch judge. "
        "`confirmed` counts the claims of the element that they share.",
    ),
    "peers": (
        "Beside another attack",
        "ART's frame saliency attack and `sparseadv` on the same model and windows. Both are judged by plain torch after rounding to 8 bits. "
        "Calls are forwards and backwards of the model for a window, MAP is in gray levels. The settings of both sides were picked on clips of "
        "another actor.",
    ),
    "norm": (
        "Beside attacks of minimum norm",
        "adv-lib's DDN, FMN and ALMA perturb all frames, in L2 or L1, and `sparseadv` walks along the boundary in keyframes. All are judged after "
        "rounding to 8 bits. The picture shows what each reaches by how much it asks the model.",
    ),
    "universal": (
        "Universal perturbations",
        "`gst-sparseadv learn` fits one perturbation to the clips of six actors, and `judge` puts it into the clips of three others. RGB are the "
        "clips in RGB at the size that the models resize to, which all files are learned on. WEIZMANN are the clips as they are, of 180x144 in 4:2:0: "
        "the resizer and shared chroma take most of such a perturbation away, so learn on clips of the size and format that it is for. "
        "The middle window of each clip is classified at every phase, in the 8-bit frames that would be pushed. `changed` is the mean over all "
        "phases, of windows whose label is another than before, or is the target; `least` is the worst phase. `kept` counts windows of other "
        "labels that were to keep theirs.",
    ),
    "transfer": (
        "Universal perturbations on other models",
        "The same, with the clips in RGB: each file is judged by the model that it was learned on, and by the others.",
    ),
    "tried": (
        "What else was tried on the LRCN",
        "The LRCN falls to fewer windows than C3D, and these do no better. With a margin the descent spends its bound on windows that have "
        "fallen already, and windows that are far from any other label stay. Weights by the odds (`focus`, above) and more steps leave the "
        "same number.",
    ),
    "behind": (
        "Universal perturbations behind a codec",
        "The same, learned to outlive an encoder: half of the windows went through `x264enc pass=qual quantizer=23` while learning. `behind x264` "
        "is the verdict behind it.",
    ),
    "dual": (
        "Universal perturbations for one class",
        "The same, with `--only-label`: windows that the model calls by one label are to change, and all others are to keep theirs.",
    ),
    "causal": (
        "Live, from the beginning of a scene",
        "Windows fooled by how many seconds ago a scene began, over all offsets. Two clips are shown in turns. The frame rate stands for "
        "the speed of the model: attacks have as long as a window is shown. `ahead` is the latency that the element adds.",
    ),
    "warm": (
        "Warm start",
        "Clips are attacked window by window, cold and with `warm-start=true`. Calls are forwards and backwards for a window.",
    ),
    "steady": (
        "Whether the promised latency is kept",
        "Live streams of thirty frames a second, whose windows of four frames last 133 ms. A pass of the slow models takes five and fifty "
        "times as long. The sink drops what comes more than 20 ms late. `late` counts frames that came late at all, after those of the first "
        "window. `latest` is when the latest one came, negative where all were early. `jitter` is the standard deviation of when the sink showed "
        "frames, `apart` that of the time from one to the next.",
    ),
    "passing": (
        "What a universal perturbation costs",
        "Frames in I420 of 1920x1080 on one thread, from memory and into nothing, through `identity` and through `sparseadv` with a file.",
    ),
    "profile": (
        "Where the time goes",
        "perf samples the threads that attack a clip window by window. Samples are sorted by what the code does. Below, the model's arithmetic stands "
        "beside the peak of the processor, which no attack on this model can go beyond. With one window a pass, libtorch convolves small views without "
        "oneDNN. So two windows may cost less than one, as the picture of the next section shows.",
    ),
    "speed": (
        "Speed",
        "The cost of an attack beside that of the model alone, as ratios within one run. The picture shows what the cost of an iteration, a pass or a "
        "pipeline grows with, on models of random weights.",
    ),
    "against": (
        "Beside an earlier commit",
        "`convert` with its defaults on all test clips of Weizmann, built from both commits and run one after the other. Plain torch classifies "
        "the windows of what came out. An earlier commit may attack windows that are wrong before the attack, too.",
    ),
    "gpu": (
        "On a graphics card",
        "The benchmark on a card, with gradients in single precision and in bfloat16. `c3d-tran` is C3D at its published width with random weights. "
        "A pass of several windows is what windows that are attacked together have.",
    ),
}  # fmt: skip
# What stands there for a section until it is measured.
UNMEASURED = {
    "gpu": (
        "No card could be had when this page was made. An H100 80GB HBM3 was there for commit e8700dd. The benchmark took 4.0 ms for an iteration on "
        "c3d-tran in single precision and 3.6 ms in bfloat16, beside 2.2 ms of the module alone. On weizmann-c3d it took 3.1 ms and 3.5 ms, beside "
        "1.6 ms. Single precision had TF32 then. With one window a pass, the card waits for kernels to be launched in both. On a machine with a card, "
        "with the plugin built for CUDA, this fills the table:",
        "    examples/results/measure.sh MODELS WEIZMANN gpu",
        ["model", "gradients", "iteration over the module alone", "a window of a pass of 4", "of 16", "card"],
        [[model, gradients, "", "", "", ""] for model in ("c3d-tran", "weizmann-c3d", "weizmann-lrcn") for gradients in ("f32", "bf16")],
    ),
}
# Of a section, where its measuring program has drawn one.
PICTURES = {"norm": ("Windows fooled and MAP by calls", "curve.svg"), "speed": ("Seconds by what they depend on", "scale.svg")}
REPORT_SECTIONS = {"paper": ("Table 1.", "Table 2.", "The paper's claim"), "variants": ("Table 2.", "Variants"), "systems": ("Systems without", "What ours saves", "Transfer")}
PAGE = "README.md"


class Refused(Exception):
    """A table that the page must not show."""


def markdown(head: list[Any], rows: list[list[Any]]) -> str:
    text = [[str(c).replace("|", "\\|") for c in line] for line in (head, *rows)]
    widths = [max(len(line[i]) for line in text) for i in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |" for line in text]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def command_line(argv: list[str] | None) -> str:
    """The command to make a measurement again, without the places of this machine."""
    local = ("--plugins", "--work", "--out", "--timeout", "--json")
    program, words = Path(sys.argv[0]).resolve(), iter(sys.argv[1:] if argv is None else argv)
    kept: list[str] = []
    for word in words:
        if word in local:
            next(words)
        elif not word.startswith(tuple(f"{name}=" for name in local)):
            kept.append(word)
    return shlex.join(["python", str(program.relative_to(program.parents[2])), *kept])


def conditions(command: str) -> dict[str, Any]:
    processors = os.cpu_count() or 1
    return {
        "command": command,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{platform.machine()}, {processors} processors",
        "threads": int(os.environ.get("OMP_NUM_THREADS", processors)),
        "models": {},
        "versions": {},
    }


def dump(found: dict[str, Any]) -> str:
    """JSON with a line for each field and each row."""

    def value(v: Any) -> str:
        return "[\n  " + ",\n  ".join(map(json.dumps, v)) + "\n ]" if isinstance(v, list) and v and not isinstance(v[0], str) else json.dumps(v)

    return "{\n" + ",\n".join(f" {json.dumps(k)}: {value(v)}" for k, v in found.items()) + "\n}\n"


class Record:
    """A table under way, written whole after each row."""

    def __init__(self, path: Path | None, head: list[str], argv: list[str] | None) -> None:
        self.path, self.found = path, {**conditions(command_line(argv)), "head": head, "rows": [], "findings": []}

    def add(self, cells: list[Any], lines: list[dict[str, Any]]) -> None:
        """A row, and the element's report lines that it stands on; none for another program's row."""
        for line in lines:
            if "model" in line:
                self.found["models"][Path(line["model"]).name] = line["model_sha256"]
            self.found["versions"] = {name: line[name] for name in ("libtorch", "gstreamer")}
        plugins = sorted({line["plugin"] for line in lines})
        self.found["rows"].append({"plugins": plugins, "cells": cells})
        self.write()

    def conclude(self, findings: list[str]) -> None:
        self.found["findings"] = findings
        self.write()

    def write(self) -> None:
        if self.path:
            self.path.write_text(dump(self.found))


# Sections of what `judge` says.
JUDGED = ("universal", "transfer", "tried", "behind", "dual")


def take_judged(file: Path, name: str) -> Path:
    """The record of what `gst-sparseadv judge --json` wrote, which takes that file's place."""
    head = ["clips", "judged by", "file", "kind", "bound", "aim", "learned behind", "loss", "steps", "windows", "changed", "least", "kept", "behind x264", "least"]
    record = Record(file.with_name(f"{name}.json"), head, [])
    section, _, clips = name.partition(".")
    record.found["command"] = f"examples/results/measure.sh MODELS WEIZMANN {section}"

    def share(values: list[float]) -> str:
        return f"{100 * sum(values) / len(values):.1f} %"

    def shares(found: dict[str, Any]) -> list[str]:
        return [share(found["reached"]), share([min(found["reached"])]), share(found["kept"]) if found["others"] else "-"]

    for line in [json.loads(text) for text in file.read_text().splitlines()]:
        learned, found = line["learned"], line["held_out"]
        # What was learned behind a codec was judged there as well, on the clips that it was learned on.
        of_learn = learned["held_out_behind"] if clips == "RGB" else []
        behind = shares(of_learn[0][1])[:2] if of_learn else ["-", "-"]
        kind = line["kind"] if isinstance(line["kind"], str) else " ".join(next(iter(line["kind"].items()), "")[:1])
        aim = learned["aim"] if isinstance(learned["aim"], str) else " ".join(map(str, next(iter(learned["aim"].items()))))
        weights = ", ".join(f"{name} {learned[name]:g}" for name in ("margin", "focus") if learned[name])
        setting = [f"{learned['bound']:g}", aim, "x264" if learned["survive"] else "-", weights or "-", f"{learned['steps']} of {learned['batch']}"]
        cells = [clips, Path(line["model"]).stem, Path(line["file"]).stem, kind, *setting, found["windows"], *shares(found), *behind]
        plugins = {line["versions"]["plugin"], learned["versions"]["plugin"]}
        record.add(cells, [{**line, **line["versions"], "plugin": plugin} for plugin in plugins])
    file.unlink()
    return file.with_name(f"{name}.json")


def take(folder: Path, name: str) -> Path:
    """The record of a folder that `gst-sparseadv reproduce` wrote. To be made on the machine that measured, with its number of threads."""
    if folder.is_file():
        return take_judged(folder, name) if name.partition(".")[0] in JUDGED else take_lines(folder, name)
    lines = [json.loads(text) for text in (folder / "results.jsonl").read_text().splitlines()]
    runs = [line for line in lines if line["kind"] == "run"]
    if not runs:
        raise Refused(f"{folder}: expected results with a line of their run, found none")
    command = "\n".join(dict.fromkeys(f"gst-sparseadv {run['command']}" for run in runs))
    found = conditions(command) | {"versions": {key: runs[-1][key] for key in ("libtorch", "gstreamer")}, "report": folder.name}
    found["models"] = {line["model"] + ".pt": line["model_sha256"] for line in lines if line["kind"] == "accuracy"}
    path = folder.parent / f"{name}.json"
    path.write_text(dump(found))
    return path


# The columns of what an example wrote behind the model's name; those of `causal` depend on how long scenes are.
RATIOS = ["on", "gradients", "measured", "seconds", "beside", "seconds", "ratio"]
COLUMNS = {
    "steady": ["stream", "element", "promised, ms", "sent", "arrived", "dropped", "late", "latest, ms", "jitter, ms", "apart, ms"],
    "passing": ["perturbation", "frames", "ms a frame", "identity, ms a frame", "frames a second"],
}


def take_lines(file: Path, name: str) -> Path:
    """The record of what an example wrote with --json, which takes that file's place."""
    lines = [json.loads(text) for text in file.read_text().splitlines()]
    seconds = [f"{n} s" for n in range(len(lines[0]["cells"]) - 3)]
    columns = {**COLUMNS, "causal": ["frames a second", "mode", "ahead, ms", *seconds]}.get(name, RATIOS)
    head = ["model", *columns] if "model" in lines[0] else columns
    record = Record(file.with_name(f"{name}.json"), head, [])
    record.found["command"] = f"examples/results/measure.sh MODELS WEIZMANN {name}"
    for line in lines:
        record.add([*([Path(line["model"]).stem] if "model" in line else []), *line["cells"]], [line])
    file.unlink()
    return file.with_name(f"{name}.json")


def one_commit(plugins: set[str], where: str) -> str:
    if len(plugins) != 1:
        raise Refused(f"{where}: expected rows that one commit measured, found {', '.join(sorted(plugins)) or 'none'}; measure them again")
    return plugins.pop()


def fitted(part: str) -> str:
    """A part of a report in the page's width, and without a last column of seconds: they depend on what else the machine does."""
    timed = "| seconds |" in part
    lines = [(line.rsplit("|", 2)[0] + "|" if timed else line) if line.startswith("|") else wrap(line) for line in part.splitlines()]
    return "\n".join(lines)


def report_parts(folder: Path, titles: tuple[str, ...]) -> tuple[str, str]:
    """The plugin that measured a folder of `reproduce`, and the parts of its report with these titles."""
    runs = [json.loads(text) for text in (folder / "results.jsonl").read_text().splitlines() if text.startswith('{"kind":"run"')]
    plugin = one_commit({run["plugin"] for run in runs}, str(folder))
    parts = [part.strip() for part in (folder / "report.md").read_text().split("\n## ")[1:]]
    kept = [f"#### {fitted(part)}" for part in parts if part.startswith(titles)]
    figures = [f"![{path.stem}]({folder.name}/{path.name})" for path in [*sorted(folder.glob("figure-2-*.svg")), *sorted(folder.glob("systems-*.svg"))]]
    return plugin, "\n\n".join([*kept, *figures])


def wrap(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def section(name: str, records: list[tuple[Path, dict[str, Any]]]) -> str:
    title, measured = SECTIONS[name]
    bodies, plugins, heads = [], set(), []
    rows: list[list[Any]] = []
    for path, record in records:
        if "report" in record:
            plugin, body = report_parts(path.parent / record["report"], REPORT_SECTIONS[name])
            plugins.add(plugin)
            bodies.append(f"[The whole report]({record['report']}/report.md)\n\n{body}")
            continue
        heads.append(record["head"])
        for row in record["rows"]:
            plugins.update(row["plugins"])
            rows.append(row["cells"])
    plugin = one_commit(plugins, name)
    if any(head != heads[0] for head in heads):
        raise Refused(f"{name}: expected records with the same columns, found several; measure them again with one version of the program")
    if rows:
        bodies.append(markdown(heads[0], rows))
    findings = [f"- {finding}" for _, record in records for finding in record.get("findings", [])]
    made = [f"Plugin {plugin}."]
    for say in ("libtorch {versions[libtorch]}, {versions[gstreamer]}.", "{machine}, threads of the model: {threads}.", "{date}."):
        made += dict.fromkeys(say.format(**record) for _, record in records)
    sums = sorted({f"- `{model}`: SHA-256 `{digest}`" for _, record in records for model, digest in record["models"].items()})
    lines = dict.fromkeys(line for _, record in records for line in record["command"].splitlines())
    commands = "\n".join(f"    {line}" for line in lines)
    alt, drawing = PICTURES.get(name, ("", ""))
    picture = f"![{alt}]({drawing})" if drawing and (records[0][0].parent / drawing).exists() else ""
    parts = [f"## {title}", wrap(measured), picture, commands, wrap(" ".join(made)), "\n".join(sums), *bodies, "\n".join(findings)]
    return "\n\n".join(filter(None, parts))


def unmeasured(name: str) -> str:
    title, measured = SECTIONS[name]
    why, command, head, rows = UNMEASURED[name]
    return "\n\n".join([f"## {title}", wrap(measured), wrap(why), command, markdown(head, rows)])


def page(folder: Path) -> str:
    records: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for path in sorted(folder.glob("*.json")):
        records.setdefault(path.name.split(".")[0], []).append((path, json.loads(path.read_text())))
    if unknown := set(records) - set(SECTIONS):
        raise Refused(f"{folder}: expected records of {', '.join(SECTIONS)}, found {', '.join(sorted(unknown))}; rename them")
    intro = (
        "`examples/python/results.py` makes this page of the records beside it. Each table was measured by one commit, which "
        "stands above it. MODELS is a folder of TorchScript models, WEIZMANN one of the Weizmann clips in class folders; neither is part of "
        "this repository. MAP is the mean absolute perturbation in gray levels, over all pixels of all frames of a window."
    )
    sections = [section(name, records[name]) if name in records else unmeasured(name) for name in SECTIONS if name in records or name in UNMEASURED]
    return "\n\n".join(["# Measurements", wrap(intro), *sections]) + "\n"


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path, help="folder of the records")
    p.add_argument("--check", action="store_true", help="compare the page instead of writing it")
    p.add_argument("--take", metavar="FOLDER", help="write the record of these results inside the folder")
    p.add_argument("--name", default="paper", help="of the record that --take writes (default: paper)")
    args = p.parse_args(argv)
    try:
        if args.take:
            take(args.folder / args.take, args.name)
        text = page(args.folder)
    except (Refused, OSError, KeyError, ValueError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    path = args.folder / PAGE
    if not args.check:
        path.write_text(text)
    elif not path.is_file() or path.read_text() != text:
        print(f"error: expected {path} to be what the records give, found another text; write it with results.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
