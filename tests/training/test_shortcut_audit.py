"""The audit passes what the preprocessing gives, and fails where it is left out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from speckle_plugin.preprocessing import Preprocessing
from training.evaluation.shortcut_audit import ShortcutError, audit_inputs, audit_recipe, bounds
from training.frames import balanced_set
from training.recipe import FrameRecipe

NUMBERS = (2, 4, 7, 10, 13, 16, 20)
PER_CLASS = 40


def _raw(family: str) -> Iterator[tuple[np.ndarray, int]]:
    """Intensities as they are: fixed total area in `mono` and `poly`, growing with n in the third."""
    recipe = FrameRecipe(families=(family,), size=129, disk_numbers=NUMBERS)
    for drawn in balanced_set(recipe, PER_CLASS, 0, "test"):
        yield drawn.frame, drawn.disk_number


@pytest.mark.parametrize(
    ("family", "told"),
    [
        ("mono", "deviation"),
        ("poly", "deviation"),
        ("constant_radius", "maximum"),
    ],
)
def test_raw_intensities_give_the_disk_number_away(family: str, told: str) -> None:
    with pytest.raises(
        ShortcutError, match=rf"gives the disk number away by its .*{told}.* each number alone"
    ) as failure:
        audit_inputs(_raw(family))
    assert failure.value.accuracies[told] > bounds(len(NUMBERS), len(NUMBERS) * PER_CLASS)[told]
    assert set(failure.value.accuracies) == {
        "mean",
        "deviation",
        "maximum",
        "minimum",
        "first pixel",
        "last pixel",
    }


@pytest.mark.parametrize("family", ["mono", "poly", "constant_radius"])
@pytest.mark.parametrize("intensity", ["log", "patterson"])
def test_the_prepared_input_does_not(family: str, intensity) -> None:
    told: list[tuple[str, int, int]] = []
    found = audit_recipe(
        FrameRecipe(families=(family,)),
        Preprocessing(crop=65, intensity=intensity),
        per_class=25,
        report=lambda what, done, total, _: told.append((what, done, total)),
    )
    assert found["mean"] < 0.1
    assert found["deviation"] < 0.1
    assert told[-1] == ("shortcut audit", 475, 475)


def test_one_pixel_may_not_do_most_of_the_network_s_work() -> None:
    """Noise, but for one pixel that names the class: standardized, so that mean and deviation do not."""

    def inputs() -> Iterator[tuple[np.ndarray, int]]:
        rng = np.random.default_rng(0)
        for disk_number in NUMBERS * 25:
            pixels = rng.normal(size=(33, 33))
            pixels[-1, -1] = 0.1 * disk_number
            yield ((pixels - pixels.mean()) / pixels.std()).astype(np.float32), disk_number

    with pytest.raises(ShortcutError, match=r"away by its last pixel\. ") as failure:
        audit_inputs(inputs())
    assert failure.value.accuracies["maximum"] < 0.3


def test_what_is_below_the_resolution_of_the_input_does_not_count() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.permutation(1089).reshape(33, 33) / 100.0
    inputs = [(pixels + 1e-6 * n, n) for n in NUMBERS * 25]
    assert audit_inputs(inputs)["mean"] < 0.2
    with pytest.raises(ShortcutError, match="its mean"):
        audit_inputs([(pixels + 1e-2 * n, n) for pixels, n in inputs])


def test_bounds() -> None:
    many, few = bounds(19, 10**6), bounds(19, 475)
    assert many["mean"] == pytest.approx(0.1, abs=0.001)
    assert many["maximum"] == pytest.approx(0.684, abs=0.002)
    assert bounds(19, 10**6, target=0.5)["maximum"] == pytest.approx(0.351, abs=0.002)
    assert all(few[name] > many[name] for name in many)


@pytest.mark.parametrize(
    ("numbers", "target", "message"),
    [
        ((2,) * 30, 1.0, "two disk numbers or more and 25 frames of each"),
        ((2,) * 30 + (3,) * 24, 1.0, r"not \{2: 30, 3: 24\}"),
        ((2,) * 30 + (3,) * 30, 0.4, "target must be above chance"),
    ],
)
def test_bad_input(numbers: tuple[int, ...], target: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        audit_inputs([(np.zeros((4, 4), np.float32), n) for n in numbers], target)
