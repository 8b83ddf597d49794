"""`speckle evaluate`: the shipped weights with few frames, and every study on small frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from speckle_plugin.network import find_bundle, save_bundle
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.structure import SolveSettings
from training.evaluation import confidence, oddness, studies, unknowns


def test_it_measures_the_shipped_weights(speckle, tmp_path) -> None:
    out = tmp_path / "report"
    result = speckle(
        "evaluate",
        "--per-class",
        "2",
        "--seeds",
        "5",
        "--out",
        out,
        "--only",
        "partly masked",
        "--solve-frames",
        "2",
    )
    assert result.exit_code == 0, result.output
    results = json.loads((out / "results.json").read_text())
    assert results["about"]["name"] == "quadrant"
    assert results["partly masked"]["mono"]["accuracy"] > 0.95
    solved = results["partly masked"]["mono"]["structure"]
    assert (solved["frames"], solved["exact"], solved["certified_wrong"]) == (2, 1.0, 0)
    assert "| mono | 2 | " in (out / "report.md").read_text()


@pytest.fixture(scope="module")
def bundle_of_small_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the shipped weights for frames of 65 pixels: quick, and often wrong."""
    bundle = find_bundle()
    recipe = bundle.training["recipe"]
    frames = {**recipe["frames"], "size": 65, "families": ["poly", "mono"], "shares": []}
    small = {**recipe, "frames": frames}
    path = tmp_path_factory.mktemp("bundle") / "small.bundle"
    save_bundle(
        replace(
            bundle,
            preprocessing=Preprocessing(crop=40),
            training={**bundle.training, "recipe": small},
        ),
        path,
    )
    return path


FEW_VALUES: dict[str, Any] = {
    "PHOTONS": (1e3, 1e7),
    "SIZES": (65, 97),
    "BEAM_OFFSETS": (0.5, 2.0),
    "REAL_WORLD": {name: studies.REAL_WORLD[name] for name in ("ideal", "spheres")},
    "CENTERED_PHOTONS": (0.0, 1e4),
}
"""Of each study; all of them take minutes."""


@pytest.mark.parametrize("values", ["few", pytest.param("all", marks=pytest.mark.slow)])
def test_every_study_is_measured_and_reported(
    speckle, bundle_of_small_frames, tmp_path, monkeypatch, values
) -> None:
    if values == "few":
        for name, few in FEW_VALUES.items():
            monkeypatch.setattr(studies, name, few)
        monkeypatch.setattr(confidence, "SIZES", (257,))
        monkeypatch.setattr(confidence, "PHOTONS", {"10^4 photons": 1e4})
        monkeypatch.setattr(oddness, "UNKNOWNS", ("one disk", "flat Poisson noise", *unknowns.FAULTS))
    monkeypatch.setattr(studies, "SIZES_TAKEN_WHOLE", (97,))  # 513 takes half a minute
    monkeypatch.setattr(oddness, "UNKNOWN_FRAMES", 19)
    out = tmp_path / "report"
    # A frame that no disks explain takes all of it.
    monkeypatch.setattr("training.evaluation.solved.SETTINGS", SolveSettings(budget=0.2))
    options = ("--per-class", "2", "--seeds", "5,6", "--solve-frames", "1", "--out", out)
    result = speckle("evaluate", bundle_of_small_frames, *options)
    assert result.exit_code == 0, result.output
    results = json.loads((out / "results.json").read_text())
    assert list(results) == ["about", *studies.STUDIES]
    mono = results["families"]["mono"]
    assert mono["all"]["frames"] == 76
    assert set(mono["seeds"]) == {"5", "6"}
    assert mono["all"]["accuracy"] == pytest.approx(sum(s["accuracy"] for s in mono["seeds"].values()) / 2)
    assert results["photons"]["mono"]["1e+07"]["frames"] == 19
    assert {"one quadrant", "both", "structure"} == set(results["centred detectors"]["poly"]["no noise"])
    sizes = results["sizes"]["mono, whole"].values()
    solved = [results["families"]["poly"], *results["photons"]["mono"].values(), *sizes]
    assert all(s["structure"]["frames"] == 1 and not s["structure"]["certified_wrong"] for s in solved)
    assert results["unknown frames"]["kinds"]["flat Poisson noise"]["structure"]["certified"] == 0
    assert results["baselines"]["mono, 1e4 photons"]["radial average"]["accuracy"] > 0.1
    assert 0 < results["baselines"]["mono"]["structure"]["seconds_per_frame"] < 60
    text = (out / "report.md").read_text()
    assert {line[3:].lower() for line in text.splitlines() if line.startswith("## ")} == set(studies.STUDIES)
    assert "not made for" not in text
    for picture in out.glob("*.png"):
        assert picture.name in text
    assert text.count("![") == len(list(out.glob("*.png"))) >= 5
    assert "mono" in result.stdout


def test_a_network_is_measured_without_what_was_fitted_beside_it(speckle, tmp_path) -> None:
    """The heads of the shipped one know more than it does."""
    found = {}
    for name, more in (("alone", ("--alone",)), ("all", ())):
        out = tmp_path / name
        options = ("--only", "calibration", "--per-class", "4", "--seeds", "5", "--solve-frames", "0")
        result = speckle("evaluate", "quadrant", *options, "--out", out, *more)
        assert result.exit_code == 0, result.output
        found[name] = json.loads((out / "results.json").read_text())
    alone, heard = (found[name]["calibration"] for name in ("alone", "all"))
    assert "alone" in found["alone"]["about"]["measured"] and "measured" not in found["all"]["about"]
    assert alone["calibrated"] == alone["one temperature"]
    assert heard["calibrated"]["errors"] < alone["calibrated"]["errors"]


def test_the_studies_are_listed(speckle) -> None:
    result = speckle("evaluate", "--list")
    assert result.exit_code == 0
    assert "unknown frames" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "photons"), "give --out FOLDER"),
        (("--only", "colour"), "there is no study 'colour': expected one of shortcut audit, families"),
        (("--seeds", "a,b"), "the seeds 'a,b' can't be read"),
        (("nothing.bundle",), "no bundle at nothing.bundle"),
    ],
)
def test_bad_input(speckle, options: tuple[str, ...], message: str) -> None:
    result = speckle("evaluate", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
