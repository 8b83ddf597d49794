"""What is measured of a bundle, study by study; each gives plain numbers for a report.

A study takes the bundle's own kind of frames (families, grid, size of its training
recipe) and varies one thing: photons, size, beam centre, mask, family, or takes frames that
the bundle was not made for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

from simulated_devices import Family
from speckle_plugin.network import Bundle
from training.evaluation.baselines import baselines
from training.evaluation.confidence import confidence
from training.evaluation.measure import Predictions, predict, reliability_curve, scores
from training.evaluation.oddness import oddness
from training.evaluation.shortcut_audit import audit_recipe
from training.evaluation.study import Study
from training.evaluation.unknowns import FAULT_PHOTONS
from training.frames import DrawnFrame, balanced_set
from training.recipe import frame_recipe_of

__all__ = ["STUDIES"]

PHOTONS = (1e3, 3e3, 1e4, 3e4, 1e5, 1e6, 1e7)
SIZES_TAKEN_WHOLE = (257, 513)
SIZES = (65, 97, 129, 193, 257, 385, 513)
BEAM_OFFSETS = (0.25, 0.5, 1.0, 2.0, 3.0)
REAL_WORLD: dict[str, dict[str, Any]] = {
    "ideal": {},
    "coherence length 2000": {"coherence_length": (2000.0, 2000.0)},
    "coherence length 1000": {"coherence_length": (1000.0, 1000.0)},
    "coherence length 500": {"coherence_length": (500.0, 500.0)},
    "beam of a deviation of 700": {"beam_width": (700.0, 700.0)},
    "spheres": {"shape": "sphere"},
    "squares": {"shape": "square"},
    "motion of up to 100": {"motion": 100.0},
    "charge sharing of up to 0.3 pixels": {"charge_sharing": 0.3},
    "panels of 64 pixels, gaps of 4 masked": {"panel_size": 64, "panel_gap": 4},
}
"""What each changes in the recipe; lengths in the units of the box."""

CENTERED_PHOTONS = (0.0, 1e6, 1e5, 1e4)


def by_family(study: Study) -> dict[str, Any]:
    """Measure every family of simulated disks, each seed by itself and all of them together."""
    classifier = study.classifier()
    cases = _cases(study)
    if study.recipe.grid == "quadrant":
        large = {f"{family}, 513 x 513": {"families": (family,), "size": 513} for family in ("mono", "poly")}
        noisy = {f"poly, 1e{p} photons": {"families": ("poly",), **_photons(10.0**p)} for p in (5, 4)}
        cases |= {**large, **noisy}
    found: dict[str, Any] = {}
    for name, changes in cases.items():
        sets = [study.measure(name, classifier, seed, shares=(), **changes) for seed in study.seeds]
        found[name] = {
            "trained_on": changes["families"][0] in study.recipe.families,
            "seeds": {str(s): _brief(p) for s, p in zip(study.seeds, sets, strict=True)},
            "all": {**scores(joined := Predictions.join(sets)), "reliability": reliability_curve(joined)},
            **study.solved(name, shares=(), **changes),
        }
    return found


def _cases(study: Study) -> dict[str, dict[str, Any]]:
    """Give every family, and equal disks with few photons: what each changes in the recipe."""
    cases: dict[str, dict[str, Any]] = {family.value: {"families": (family.value,)} for family in Family}
    if study.recipe.grid == "quadrant":
        cases["mono, 1e4 photons"] = {"families": ("mono",), **_photons(1e4)}
    return cases


def _photons(count: float) -> dict[str, Any]:
    return {"photons": (count, count), "noisy_share": 1.0}


def by_photons(study: Study) -> dict[str, Any]:
    """Vary the expected photons in the whole frame, for every family that the bundle was trained on."""
    changes = {f"{p:g}": _photons(p) for p in PHOTONS}
    return _by_value(study, study.bundle, "photons", changes)


def by_size(study: Study) -> dict[str, Any]:
    """Vary the rows and columns: cropped to the k range that the bundle knows, and taken whole.

    Taken whole, large frames cost much: equal disks only, if the bundle knows them.
    """
    whole = replace(study.bundle, preprocessing=replace(study.bundle.preprocessing, crop=None, map_size=None))
    families = study.recipe.families
    found: dict[str, Any] = {}
    for how, bundle, sizes, chosen in (
        ("cropped", study.bundle, SIZES, families),
        ("whole", whole, SIZES_TAKEN_WHOLE, ("mono",) if "mono" in families else families[-1:]),
    ):
        changes = {str(size): {"size": size} for size in sizes}
        measured = _by_value(study, bundle, f"rows, {how}", changes, chosen)
        found |= {f"{family}, {how}": values for family, values in measured.items()}
    return found


def by_beam_offset(study: Study) -> dict[str, Any]:
    """Move the beam along rows and columns, by up to each of these offsets in pixels, without telling it."""
    changes = {f"{offset:g}": {"beam_offset": offset, "offset_share": 1.0} for offset in BEAM_OFFSETS}
    return _by_value(study, study.bundle, "pixels off", changes)


def _by_value(
    study: Study,
    bundle: Bundle,
    unit: str,
    changes: dict[str, dict[str, Any]],
    families: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure each family at each value; `changes` holds what a value changes in the recipe."""
    classifier = study.classifier(bundle)
    found: dict[str, Any] = {}
    for family in families or study.recipe.families:
        for value, change in changes.items():
            what, kind = f"{family}, {value} {unit}", {"families": (family,), "shares": (), **change}
            found.setdefault(family, {})[value] = {
                **_brief(study.sample(what, classifier, **kind)),
                **study.solved(what, **kind),
            }
    return found


def by_mask(study: Study) -> dict[str, Any]:
    """Mask single pixels of every frame, and a bar in half of them."""
    classifier = study.classifier()
    found: dict[str, Any] = {}
    for family in study.recipe.families:
        what = f"{family}, masked in part"
        kind: dict[str, Any] = {"families": (family,), "shares": (), "masked_share": 1.0}
        found[family] = {**_brief(study.measure(what, classifier, **kind)), **study.solved(what, **kind)}
    return found


def real_world(study: Study) -> dict[str, Any]:
    """Take frames of a less ideal world, one effect at a time, which the bundle was not told of."""
    changes = {
        name: {"real_share": 1.0, "photons": (FAULT_PHOTONS, FAULT_PHOTONS), "noisy_share": 1.0, **change}
        for name, change in REAL_WORLD.items()
    }
    return _by_value(study, study.bundle, "", changes)


def centered_detectors(study: Study) -> dict[str, Any]:
    """Take frames with the beam inside: one quadrant against two whose posteriors are joined."""
    if study.recipe.grid != "quadrant":
        return {}
    found: dict[str, Any] = {}
    classifier = study.classifier()
    for family in study.recipe.families:
        for photons in CENTERED_PHOTONS:
            recipe = replace(
                study.recipe,
                families=(family,),
                shares=(),
                grid="centered",
                size=2 * study.recipe.size - 1,
                photons=(photons, photons) if photons else (),
                noisy_share=1.0,
            )
            frames = list(balanced_set(recipe, max(1, study.per_class // 4), study.seeds[0], "test"))
            name = f"{photons:g} photons" if photons else "no noise"
            both = predict(classifier, frames, len(frames), study.report, f"{family} centred, {name}")
            one = predict(classifier, _lower_right(frames), len(frames), study.report, "one quadrant")
            entry = found.setdefault(family, {})[name] = {"one quadrant": _brief(one), "both": _brief(both)}
            if study.solver is not None:
                entry["structure"] = study.solver.measure(
                    recipe, study.seeds[0], report=study.report, what=f"{family} centred, {name}"
                )
    return found


def _lower_right(frames: list[DrawnFrame]) -> Iterator[DrawnFrame]:
    """Cut the quadrant from the beam to the last row and column out of each frame."""
    for frame, geometry, disk_number in frames:
        row, column = (round(c) for c in geometry.beam_center)
        quadrant = frame[row:, column:]
        yield DrawnFrame(
            quadrant, replace(geometry, shape=quadrant.shape, beam_center=(0.0, 0.0)), disk_number
        )


def calibration(study: Study) -> dict[str, Any]:
    """Compare confidence with accuracy on frames as in training, by what is fitted and without it."""
    trained = frame_recipe_of(study.bundle)
    as_trained = {each.name: getattr(trained, each.name) for each in fields(trained)}
    found: dict[str, Any] = {"temperature": study.bundle.temperature}
    shipped = study.measure("calibrated", study.classifier(), **as_trained)
    bare = study.measure(
        "not calibrated", study.classifier(replace(study.bundle, temperature=1.0)), **as_trained
    )
    for name, predictions in (
        ("calibrated", shipped),
        ("one temperature", shipped.with_one_temperature()),
        ("not calibrated", bare.with_one_temperature()),
    ):
        found[name] = {"reliability": reliability_curve(predictions), **_brief(predictions)}
    return {**found, **study.solved("calibration", **as_trained)}


def beside_baselines(study: Study) -> dict[str, Any]:
    """Train baselines without a network, and test them on the frames of the first seed."""
    found: dict[str, Any] = {}
    for name, changes in _cases(study).items():
        recipe = replace(study.recipe, shares=(), **changes)
        measured = baselines(recipe, 2 * study.per_class, study.per_class, study.seeds[0], study.report)
        found[name] = {**measured["scores"], **study.solved(name, shares=(), **changes)}
    return found


def shortcut_audit(study: Study) -> dict[str, Any]:
    """Check that no single number of the network's input tells the disk number."""
    return {
        family: audit_recipe(
            replace(study.recipe, families=(family,), shares=()),
            study.bundle.preprocessing,
            seed=study.seeds[0],
            report=study.report,
        )
        for family in study.recipe.families
    }


def _brief(predictions: Predictions) -> dict[str, Any]:
    whole = scores(predictions)
    return {
        key: whole[key]
        for key in (
            "frames",
            "errors",
            "accuracy",
            "within_one",
            "expected_calibration_error",
            "seconds_per_frame",
        )
    }


STUDIES = {
    "shortcut audit": shortcut_audit,  # the first, since an input that gives the answer away stops all
    "families": by_family,
    "calibration": calibration,
    "confidence": confidence,
    "photons": by_photons,
    "sizes": by_size,
    "beam offset": by_beam_offset,
    "partly masked": by_mask,
    "real world": real_world,
    "centred detectors": centered_detectors,
    "unknown frames": oddness,
    "baselines": beside_baselines,
}
"""All studies by name, in the order of the report."""
