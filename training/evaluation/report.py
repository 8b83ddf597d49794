"""The report of an evaluation: `report.md` with pictures, and `results.json` with the numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speckle_plugin.explain.style import line_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_report"]

PAPER_TABLE_1 = 0.89
"""Precision, recall and F1 that the paper reports of `poly_published`."""

SOLVER = "structure solution, certified and right, few frames"
"""Its row among the baselines."""


def write_report(
    results: Mapping[str, Any], folder: Path, sections: dict[str, list[str]] | None = None
) -> Path:
    """Write the report, and return the path of its text.

    Parameters
    ----------
    results : mapping
        `about` (name, version, sha256, seeds, date, machine) and the numbers of each study.
    folder : path
        Made if it is not there; files of an earlier report in it are replaced.
    sections : dict of str to list of str, optional
        Lines of the studies that were written already, which are not written and drawn again; extended by
        those of the others.
    """
    sections = {} if sections is None else sections
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1, default=float) + "\n")
    about = results["about"]
    lines = [f"# {about['name']} {about['version']}", ""]
    lines += [f"- {key}: {value}" for key, value in about.items()]
    for name, write in SECTIONS.items():
        if name in results:
            if name not in sections:
                found = results[name]
                text = write(found, folder) if found else ["The bundle is not made for this study."]
                sections[name] = list(text)
            lines += ["", f"## {name[0].upper()}{name[1:]}", "", *sections[name]]
    path = folder / "report.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def _families(found: Mapping[str, Any], folder: Path) -> Iterable[str]:
    columns = (
        "frames",
        "errors",
        "accuracy",
        "within_one",
        "off_by_more_than_one",
        "off_by_more_than_two",
        "precision",
        "recall",
        "f1",
    )
    yield from _table(
        ("family", "trained on", *columns, "each seed"),
        (
            (
                family,
                "yes" if values["trained_on"] else "no",
                *(values["all"][c] for c in columns),
                ", ".join(f"{s['accuracy']:.4f}" for s in values["seeds"].values()),
            )
            for family, values in found.items()
        ),
    )
    yield ""
    yield from _solved(found.items())
    yield f"The paper's table 1 has precision, recall and F1 of {PAPER_TABLE_1} for `poly_published`."
    for family, values in found.items():
        from training.evaluation.figures import confusion_picture

        whole = values["all"]
        figure = confusion_picture(whole["confusion_matrix"], whole["per_class"]["disk_number"], family)
        yield from (
            "",
            _save(figure, folder, f"confusion-{_slug(family)}.png", f"Confusion matrix of {family}"),
        )
        per_class = whole["per_class"]
        yield ""
        yield from _table(
            ("disk number", "precision", "recall", "F1"),
            zip(*(per_class[k] for k in ("disk_number", "precision", "recall", "f1")), strict=True),
        )


def _calibration(found: Mapping[str, Any], folder: Path) -> Iterable[str]:
    yield f"Temperature {found['temperature']:.3f}, fitted on frames of their own; calibrated by each frame."
    yield ""
    names = ("not calibrated", "one temperature", "calibrated")
    yield from _table(
        ("", "accuracy", "expected calibration error"),
        ((name, found[name]["accuracy"], found[name]["expected_calibration_error"]) for name in names),
    )
    figure, axes = _axes("confidence", "accuracy")
    axes.plot([0, 1], [0, 1], color="0.7", label="as stated")
    for name, style in zip(names, line_styles(), strict=False):
        curve = found[name]["reliability"]
        axes.plot(curve["confidence"], curve["accuracy"], label=name, **style)
    axes.legend()
    yield from ("", _save(figure, folder, "calibration.png", "Reliability curve"), "")
    yield from _solved([("frames as in training", {**found["calibrated"], **found})])


def _confidence(found: Mapping[str, Any], folder: Path) -> Iterable[str]:
    yield "By chance is the calibration error of as many frames whose confidences are all right."
    yield ""
    columns = (
        "frames",
        "accuracy",
        "mean_confidence",
        "one_temperature",
        "calibration_error",
        "by_chance",
        "coverage",
        "mean_set_size",
    )
    yield from _table(
        ("frames of", *columns), ((what, *(row.get(c, "") for c in columns)) for what, row in found.items())
    )


def _curves(label: str, logarithmic: bool = False) -> Callable[[Mapping[str, Any], Path], Iterable[str]]:
    """Make the section of a study that varies one number, for each family."""

    def write(found: Mapping[str, Any], folder: Path) -> Iterable[str]:
        yield from _table(
            ("family", label, "frames", "errors", "accuracy", "within one", "calibration error"),
            (
                (
                    family,
                    value,
                    s["frames"],
                    s["errors"],
                    s["accuracy"],
                    s["within_one"],
                    s["expected_calibration_error"],
                )
                for family, values in found.items()
                for value, s in values.items()
            ),
        )
        yield ""
        yield from _solved((f"{f}, {v}", s) for f, values in found.items() for v, s in values.items())
        figure, axes = _axes(label, "accuracy")
        if logarithmic:
            axes.set_xscale("log")
        for (family, values), style in zip(found.items(), line_styles(), strict=False):
            accuracies = [s["accuracy"] for s in values.values()]
            axes.plot([float(v) for v in values], accuracies, label=family, **style)
            exact = {float(v): s["structure"]["exact"] for v, s in values.items() if "structure" in s}
            if exact:
                dashed = {**style, "linestyle": "--", "markerfacecolor": "none"}
                axes.plot(list(exact), list(exact.values()), label=f"{family}, solved", **dashed)
        axes.legend()
        yield from ("", _save(figure, folder, f"{label.split()[0]}.png", f"Accuracy against {label}"))

    return write


def _masked(found: Mapping[str, Any], folder: Path) -> Iterable[str]:
    yield from _table(
        ("family", "frames", "errors", "accuracy", "within one"),
        ((f, s["frames"], s["errors"], s["accuracy"], s["within_one"]) for f, s in found.items()),
    )
    yield ""
    yield from _solved(found.items())


def _real_world(found: Mapping[str, Any], folder: Path) -> Iterable[str]:
    columns = ("frames", "errors", "accuracy", "within_one", "expected_calibration_error")
    yield from _table(
        ("family", "world", *columns),
        ((f, world, *(s[c] for c in columns)) for f, values in found.items() for world, s in values.items()),
    )
    yield ""
    yield from _solved((f"{f}, {world}", s) for f, values in found.items() for world, s in values.items())


def _centered(found: Mapping[str, Any], folder: Path) -> Iterable[str]:
    columns = {
        "accuracy": "accuracy",
        "within one": "within_one",
        "calibration error": "expected_calibration_error",
    }
    yield from _table(
        (
            "family",
            "photons",
            *(f"{column}, {how}" for how in ("one quadrant", "both") for column in columns),
        ),
        (
            (
                family,
                name,
                *(s[how][key] for how in ("one quadrant", "both") for key in columns.values()),
            )
            for family, values in found.items()
            for name, s in values.items()
        ),
    )
    yield ""
    yield from _solved((f"{f}, {name}", s) for f, values in found.items() for name, s in values.items())


def _unknown(found: Mapping[str, Any], folder: Path) -> Iterable[str]:
    yield (
        f"Of {found['known_frames']} known frames, as in training, {found['false_alarms']:.1%} are flagged. "
        "Area under the ROC curve of the joined score, of its detectors, and of what a network alone offers; "
        "share flagged, and what most of these are said to be:"
    )
    yield ""
    names = ("joined", "features", "statistics", "perceptron", "novelty", "confidence", "energy")
    yield from _table(
        ("frames", *names, "flagged", "said to be"),
        (
            (kind, *(values["area_under_roc"][n] for n in names), values["flagged"], values["said"])
            for kind, values in found["kinds"].items()
        ),
    )
    yield ""
    yield from _solved(found["kinds"].items())


def _baselines(found: Mapping[str, Any], folder: Path) -> Iterable[str]:
    yield from _table(
        ("family", "baseline", "accuracy", "within one", "s a frame"),
        (
            (
                family,
                SOLVER if name == "structure" else name,
                s["accuracy"],
                s.get("within_one", "-"),
                s["seconds_per_frame"],
            )
            for family, values in found.items()
            for name, s in values.items()
        ),
    )


def _audit(found: Mapping[str, Any], folder: Path) -> Iterable[str]:
    yield "Accuracy by one number of the network's input alone:"
    yield ""
    scalars = next(iter(found.values()))
    yield from _table(("family", *scalars), ((family, *values.values()) for family, values in found.items()))


def _solved(entries: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterable[str]:
    """Make the table of the structure solution beside the network, of the entries that have one."""
    rows = [(name, values["structure"], values) for name, values in entries if "structure" in values]
    if not rows:
        return
    yield "The structure solution (`speckle solve`) on a few of these frames, and the time of both:"
    yield ""
    columns = ("frames", "certified", "certified_wrong", "exact", "seconds_per_frame")
    yield from _table(
        (
            "",
            "frames",
            "certified",
            "certified wrongly",
            "exact",
            "s a frame, one core",
            "network: s a frame",
        ),
        (
            (name, *(found[c] for c in columns), values.get("all", values).get("seconds_per_frame", "-"))
            for name, found, values in rows
        ),
    )
    yield ""


SECTIONS: dict[str, Callable[[Mapping[str, Any], Path], Iterable[str]]] = {
    "families": _families,
    "calibration": _calibration,
    "confidence": _confidence,
    "photons": _curves("photons in the frame", logarithmic=True),
    "sizes": _curves("rows and columns"),
    "beam offset": _curves("beam off by pixels"),
    "partly masked": _masked,
    "real world": _real_world,
    "centred detectors": _centered,
    "unknown frames": _unknown,
    "baselines": _baselines,
    "shortcut audit": _audit,
}


def _table(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> Iterable[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(_cell(v) for v in row) + " |"


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.1e}"


def _axes(x: str, y: str) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, ylim=(0.0, 1.03))
    axes.set_yticks(np.linspace(0.0, 1.0, 6))
    axes.grid(alpha=0.3)
    return figure, axes


def _slug(name: str) -> str:
    return re.sub("[^a-z0-9_]+", "-", name.lower())


def _save(figure: Figure, folder: Path, name: str, caption: str) -> str:
    figure.savefig(folder / name, dpi=110)
    return f"![{caption}]({name})"
