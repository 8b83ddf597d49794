"""Odd frames to learn from, the real world in recipes, and what is fitted beside a bundle."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import training.trust as fitting
from simulated_devices import Family, World, draw_intensity, grid_by_name
from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.engines import NetworkOutput
from speckle_plugin.network.posterior import join_views
from speckle_plugin.network.trust import Look, load_trust, save_trust
from speckle_plugin.network.trust.calibration import PHOTONS
from speckle_plugin.network.trust.oddness import inputs_of
from speckle_plugin.network.trust.statistics import STATISTICS
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.schema import ODD_IN, Flag
from training.confidence import GROUPS, fit_calibration, fit_families, graded_frames, temperature_loss
from training.frames import balanced_set, draw_frame, frame_geometry, generator, stream
from training.looks import Seen
from training.odd_frames import INTEGERS, ODD_FRAMES, as_integers, draw_odd
from training.recipe import FrameRecipe, load_recipe

NUMBERS = (2, 5, 9)
SMALL = FrameRecipe(families=("mono",), size=129, disk_numbers=NUMBERS, photons=(1e5, 1e6), noisy_share=0.5)
GRID = grid_by_name("quadrant", 129)


@pytest.mark.parametrize("flag", ODD_FRAMES)
def test_odd_frames_are_frames_and_come_again(flag: Flag) -> None:
    assert flag in ODD_IN
    for index in range(6):
        frame, again = (draw_odd(flag, SMALL, GRID, generator(1, "odd", index)) for _ in range(2))
        assert frame.shape == GRID.shape and frame.dtype == np.float32
        assert np.isfinite(frame).all() and frame.max() > 0
        np.testing.assert_array_equal(frame, again)


def draw(recipe: FrameRecipe, index: int = 0) -> Any:
    return draw_frame(recipe, 5, generator(3, "world", index), GRID, frame_geometry(recipe))


IDEAL = FrameRecipe(families=("poly",), size=129)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": "sphere"},
        {"shape": "square"},
        {"coherence_length": (300.0, 600.0)},
        {"beam_width": (400.0, 600.0)},
        {"motion": 300.0},
        {"charge_sharing": 0.4, "photons": (1e6, 1e6)},
    ],
)
def test_each_effect_changes_the_frames_of_a_recipe(change: dict[str, Any]) -> None:
    drawn = draw(replace(IDEAL, **change)).frame
    plain = draw(replace(IDEAL, real_share=0.0, **change)).frame
    assert np.abs(drawn - plain).sum() > 0.01 * plain.sum()


def test_without_an_effect_nothing_more_is_drawn() -> None:
    rng = generator(3, "world", 0)
    rng.choice(1, p=[1.0])  # the family
    rng.random(3)  # noise, offset, mask
    expected = draw_intensity(World(), "poly", 5, GRID, rng).astype(np.float32)
    np.testing.assert_array_equal(draw(IDEAL).frame, expected)
    np.testing.assert_array_equal(draw(replace(IDEAL, real_share=0.3)).frame, expected)


def test_half_of_the_frames_of_the_recipe_for_the_real_world_are_of_it() -> None:
    recipe = load_recipe("real_world").frames
    drawn, ideal = (
        itertools.islice(stream(r, 3, "t"), 60) for r in (recipe, replace(recipe, real_share=0.0))
    )
    real = [not np.array_equal(one.frame, other.frame) for one, other in zip(drawn, ideal, strict=True)]
    assert 20 <= sum(real) <= 40


def test_gaps_between_panels_are_masked() -> None:
    drawn = draw(replace(IDEAL, panel_size=40, panel_gap=4, masked_share=1.0))
    assert drawn.geometry.mask is not None
    assert drawn.geometry.mask[40:44].all() and drawn.geometry.mask[:, 84:88].all()
    assert (drawn.frame[40:44] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": "cube"}, "shape must be one of disk, sphere, square"),
        ({"coherence_length": (3.0,)}, "coherence_length must be empty or"),
        ({"beam_width": (5.0, 3.0)}, "beam_width must be empty or"),
        ({"real_share": 2.0}, "real_share must be from 0 to 1"),
        ({"panel_gap": 3}, "need panel_size"),
    ],
)
def test_recipes_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(IDEAL, **change)


class BrightnessEngine:
    """Its features are means over parts of the input; it knows nothing of disks."""

    name, precision, device = "fake", "float32", "CPU"

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        features = inputs[:, :32, :32].reshape(len(inputs), 32, 32).mean(axis=2)
        return NetworkOutput(features[:, : len(NUMBERS)], features)


BUNDLE = Bundle(
    "fake",
    "1",
    NUMBERS,
    Preprocessing(crop=65, intensity="patterson"),
    {},
    training={"recipe": {"frames": {"families": ["mono"], "size": 129, "disk_numbers": list(NUMBERS)}}},
    sha256="of the fake",
)


def test_confidences_fall_where_a_mask_makes_labels_wrong() -> None:
    rng = np.random.default_rng(7)
    count = 1200
    numbers = rng.choice(NUMBERS, count)
    truth = np.searchsorted(NUMBERS, numbers)
    masked = np.where(rng.random(count) < 0.3, 0.1, 0.0)
    wrong = rng.random(count) < np.where(masked > 0, 0.5, 0.1)
    logits = 4.0 * np.eye(3)[np.where(wrong, (truth + 1) % 3, truth)][:, None]
    statistics = np.zeros((count, sum(STATISTICS.values())), np.float32)
    look = Look(statistics, np.zeros((count, 1)), logits)
    inputs = inputs_of(statistics, look, None)
    groups = np.arange(count) % len(GROUPS)
    families = fit_families(inputs, groups)
    found = fit_calibration(BUNDLE, inputs, Seen(look, groups, numbers, masked), families)
    for share, right in ((0.0, 0.9), (0.1, 0.5)):
        temperatures = found.temperatures(inputs, logits, share)
        confidence = np.exp(join_views(logits, temperatures[:, None, None])).max(axis=1)
        assert abs(confidence.mean() - right) < 0.05, share


def test_confidences_are_right_in_the_middle_of_a_groups_photons_too() -> None:
    rng = np.random.default_rng(7)
    count = 2400
    numbers, photons = rng.choice(NUMBERS, count), rng.uniform(-1.0, 1.0, count)
    truth = np.searchsorted(NUMBERS, numbers)
    wrong = rng.random(count) < np.where(np.abs(photons) < 0.5, 0.2, 0.5)
    logits = 4.0 * np.eye(3)[np.where(wrong, (truth + 1) % 3, truth)][:, None]
    statistics = np.zeros((count, sum(STATISTICS.values())), np.float32)
    look = Look(statistics, np.zeros((count, 1)), logits)
    inputs = inputs_of(statistics, look, None)
    inputs[:, PHOTONS.start] = photons
    groups = np.arange(count) % len(GROUPS)
    seen = Seen(look, groups, numbers, np.zeros(count))
    found = fit_calibration(BUNDLE, inputs, seen, fit_families(inputs, groups))
    temperatures = found.temperatures(inputs, logits, 0.0)
    confidence = np.exp(join_views(logits, temperatures[:, None, None])).max(axis=1)
    for right, chosen in ((0.8, np.abs(photons) < 0.4), (0.5, np.abs(photons) > 0.6)):
        assert abs(confidence[chosen].mean() - right) < 0.04, right


def test_what_is_fitted_is_found_beside_the_bundle_and_tells_noise_from_speckle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.looks.make_engine", lambda bundle: BrightnessEngine())
    monkeypatch.setattr(fitting, "RANK", 8)  # of few frames
    told: list[int] = []
    own = replace(BUNDLE, path=tmp_path / "fake.bundle")
    (tmp_path / "fake.trust.npz").write_bytes(b"of another version: it is made again because of that")
    trust = fitting.fit_trust(own, 5, 50, 25, lambda what, done, total, numbers: told.append(total), 24)
    assert list(dict.fromkeys(told)) == [3 * 50 + 8 * 25, 12 * 3 * 24]
    assert trust.made["known_frames"] == 150 and list(trust.oddness) == [129]
    assert trust.made["graded_frames"] == 864 and list(trust.calibration) == [129]

    (tmp_path / "fake.trust.npz").unlink()
    assert Classifier(own, BrightnessEngine()).trust is None
    save_trust(trust, tmp_path / "fake.trust.npz")
    assert load_trust(tmp_path / "fake.trust.npz").bundle_sha256 == BUNDLE.sha256
    classifier = Classifier(own, BrightnessEngine())
    assert classifier.trust is not None

    recipe = replace(SMALL, photons=())
    known = [classifier.label([d.frame], d.geometry)[0].flags for d in balanced_set(recipe, 10, 9, "test")]
    assert sum(Flag.OUT_OF_DISTRIBUTION in flags for flags in known) <= 4  # of 30, fitted on few
    # So few frames teach little, but noise is told from speckle.
    assert trust.made["held_out"]["odd_noise"]["area_under_roc"] > 0.8

    # This network knows nothing: it is told to be unsure, and what it calls possible holds the truth.
    drawn = list(balanced_set(recipe, 30, 9, "test"))
    found = classifier.classify(np.stack([d.frame for d in drawn]), drawn[0].geometry)
    bare = classifier.infer(classifier.prepare(np.stack([d.frame for d in drawn]), drawn[0].geometry))
    truth = np.array([d.disk_number for d in drawn])
    np.testing.assert_array_equal(found.disk_number, bare.disk_number)
    gaps = [abs(each.confidence.mean() - (each.disk_number == truth).mean()) for each in (found, bare)]
    assert gaps[0] < 0.15
    assert np.mean([n in numbers for n, numbers in zip(truth, found.possible, strict=True)]) > 0.85


@pytest.mark.parametrize("numbers", [NUMBERS, tuple(range(2, 13)), tuple(range(2, 21))])
def test_every_number_is_among_the_frames_that_give_the_thresholds(numbers: tuple[int, ...]) -> None:
    known = 4 * len(numbers)
    zeros = np.zeros((known, 1), np.float32)
    look = Look(zeros, zeros, zeros[:, None])
    chosen, _ = fitting.held_out(fitting.Samples(look, np.zeros(known, np.int64), 129, len(numbers)))
    assert set(chosen % len(numbers)) == set(range(len(numbers)))
    left = np.setdiff1d(np.arange(known), chosen)
    assert set(left % len(numbers)) == set(range(len(numbers)))


def test_a_family_is_told_by_a_perceptron_that_never_saw_the_same_disks() -> None:
    """Without noise and with it a group has the same disks: who has seen one knows the other by heart."""
    count, rng = 20, np.random.default_rng(2)
    groups = np.repeat(np.arange(len(GROUPS)), count)
    families = np.array([list(Family).index(Family(GROUPS[group][0])) for group in groups])
    places = np.tile(np.arange(count), len(GROUPS))
    disks = rng.normal(size=(len(Family), count, 200)).astype(np.float32)
    told = fit_families(disks[families, places], groups).probable
    assert told[np.arange(len(groups)), families].mean() < 0.5


def test_some_frames_without_noise_are_known_as_integers_too() -> None:
    grid, rng = grid_by_name("quadrant", 129), np.random.default_rng(6)
    drawn = draw_frame(SMALL, 5, rng, grid, frame_geometry(SMALL)).frame
    plain = np.abs(drawn) + 0.25
    stored = [as_integers(plain, grid, rng) for _ in range(200)]
    integers = [s for s in stored if s is not plain]
    assert len(integers) == pytest.approx(200 * INTEGERS, abs=25)
    for frame in integers:
        np.testing.assert_array_equal(frame, np.rint(frame))
        outside = np.where(np.add.outer(np.arange(129) > 5, np.arange(129) > 5), frame, 0.0)
        assert 2999 <= outside.max() <= frame.max() <= 65535 and frame.min() >= 0
    counts = rng.poisson(3.0, grid.shape).astype(float)
    assert all(as_integers(counts, grid, rng) is counts for _ in range(20))
    assert all(as_integers(-plain, grid, rng)[0, 0] < 0 for _ in range(20))


def test_half_as_many_graded_frames_are_masked() -> None:
    """Confidences are for frames as they are measured, most of which are whole."""
    drawn = [frame for _, frame in graded_frames(replace(SMALL, masked_share=1.0), 4, 40, [0])]
    assert np.mean([frame.geometry.mask is not None for frame in drawn]) == pytest.approx(0.5, abs=0.12)


def test_the_slope_of_the_loss_is_that_of_its_value() -> None:
    rng = np.random.default_rng(8)
    joined, truth, at = rng.normal(size=(6, 5)), rng.integers(5, size=6), rng.normal(size=6)
    moments = [(np.array([0, 2, 3]), rng.normal(size=(2, 3))), (np.array([1, 4]), rng.normal(size=(2, 2)))]
    _, slopes = temperature_loss(joined, truth, at, moments)
    for place in range(6):
        step = 1e-6 * (np.arange(6) == place)
        more, less = (temperature_loss(joined, truth, at + sign * step, moments)[0] for sign in (1, -1))
        assert slopes[place] == pytest.approx((more - less) / 2e-6, rel=1e-4, abs=1e-9)


def test_the_frames_that_confidences_are_fitted_on_are_balanced_and_come_again() -> None:
    recipe = FrameRecipe(families=("mono",), size=65, disk_numbers=NUMBERS)
    drawn, again = (list(graded_frames(recipe, 4, 2)) for _ in range(2))
    assert [group for group, _ in drawn] == [g for g in range(len(GROUPS)) for _ in range(6)]
    assert [d.disk_number for _, d in drawn] == [2, 2, 5, 5, 9, 9] * len(GROUPS)
    for (_, one), (_, other) in zip(drawn, again, strict=True):
        np.testing.assert_array_equal(one.frame, other.frame)
    of_others = next(iter(graded_frames(recipe, 4, 2, stream="of others")))[1]
    assert not np.array_equal(of_others.frame, drawn[0][1].frame)
    photons = [d.frame.sum() for group, d in drawn if GROUPS[group][1] == "few photons"]
    assert 6e3 < min(photons) < max(photons) < 2.1e4


def test_a_bundle_that_does_not_say_how_it_was_trained() -> None:
    with pytest.raises(ValueError, match="does not say on which simulated frames"):
        fitting.fit_trust(replace(BUNDLE, training={}), 5)
    real = {"recipe": {"frames": {"size": 257, "motion": 50.0, "disk_numbers": list(NUMBERS)}}}
    with pytest.raises(ValueError, match="trained on frames of a less ideal world .real_share is 1."):
        fitting.fit_trust(replace(BUNDLE, training=real), 5)
    small = {"recipe": {"frames": {"size": 65, "disk_numbers": list(NUMBERS)}}}
    with pytest.raises(ValueError, match="too small to tell odd ones: expected 129 or more"):
        fitting.collect(replace(BUNDLE, training=small), replace(SMALL, size=65), 5)
