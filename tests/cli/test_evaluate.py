"""`speckle evaluate` on the shipped weights, with few frames."""

from __future__ import annotations

import json

import pytest


def test_it_measures_and_writes_a_report(speckle, tmp_path) -> None:
    out = tmp_path / "report"
    studies = ("shortcut audit", "families", "calibration", "partly masked", "unknown frames")
    options = [part for name in studies for part in ("--only", name)]
    result = speckle("evaluate", "--per-class", "2", "--seeds", "5,6", "--out", out, *options)
    assert result.exit_code == 0, result.output
    results = json.loads((out / "results.json").read_text())
    assert set(results) == {"about", *studies}
    mono = results["families"]["mono"]
    assert mono["all"]["frames"] == 76
    assert set(mono["seeds"]) == {"5", "6"}
    assert mono["all"]["accuracy"] == pytest.approx(sum(s["accuracy"] for s in mono["seeds"].values()) / 2)
    assert results["unknown frames"]["kinds"]["flat Poisson noise"]["area_under_roc"]["novelty"] > 0.9
    text = (out / "report.md").read_text()
    for picture in out.glob("*.png"):
        assert picture.name in text
    assert text.count("![") == len(list(out.glob("*.png"))) >= 5
    assert "mono" in result.stdout


def test_the_studies_are_listed(speckle) -> None:
    result = speckle("evaluate", "--list")
    assert result.exit_code == 0
    assert "unknown frames" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "colour"), "there is no study 'colour': expected one of shortcut audit, families"),
        (("--seeds", "a,b"), "the seeds 'a,b' can't be read"),
        (("nothing.bundle",), "no bundle at nothing.bundle"),
    ],
)
def test_bad_input(speckle, options: tuple[str, ...], message: str) -> None:
    result = speckle("evaluate", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
