"""First moments against the authors' values, and what the baselines reach."""

from __future__ import annotations

import numpy as np
import pytest

from simulated_devices import published, quadrant
from speckle_plugin.preprocessing import FrameGeometry
from training.evaluation.baselines import FIRST_MOMENTS, FirstMoment, baselines, first_moment, radial_average
from training.evaluation.figures import first_moments
from training.frames import balanced_set
from training.recipe import FrameRecipe

# Of the frames that the paper's authors published: mean and standard deviation over 10 frames each.
PUBLISHED = {
    2: (61.506, 0.174),
    3: (61.402, 0.333),
    5: (60.900, 0.881),
    10: (60.249, 0.534),
    15: (59.768, 0.633),
    20: (58.980, 0.800),
}


def test_first_moments_are_those_of_the_published_frames() -> None:
    moments = first_moments("constant_radius", tuple(PUBLISHED))[0]
    mean, deviation = np.array(list(PUBLISHED.values())).T
    error = deviation * np.sqrt(2 / 10)  # of the difference of two means over 10 frames
    assert np.abs((moments.mean(axis=1) - mean) / error).max() < 3.0


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (FirstMoment(floored=True, blocked=False), (1 * 3 + 12 * 1) / 6),
        (FirstMoment(floored=False, blocked=False), (np.sqrt(2) * 3 + 12 * 1) / 6),
        (FirstMoment(floored=True, blocked=True), 12),
        (FirstMoment(floored=False, blocked=True), 12),
    ],
)
def test_first_moments_of_three_bright_pixels(definition: FirstMoment, expected: float) -> None:
    geometry = FrameGeometry((65, 65), (32.0, 32.0))
    frame = np.zeros((65, 65))
    frame[32, 32] = 2.0  # at the beam
    frame[33, 33] = 3.0  # at the square root of 2
    frame[32, 44] = 1.0  # at 12
    assert first_moment(frame, geometry, definition) == pytest.approx(expected)
    assert first_moment(np.stack([frame, 7 * frame]), geometry, definition) == pytest.approx([expected] * 2)


def test_first_moments_leave_out_masked_pixels_and_empty_frames() -> None:
    mask = np.zeros((65, 65), bool)
    mask[0, 60] = True
    geometry = FrameGeometry((65, 65), mask=mask)
    frame = np.zeros((65, 65))
    frame[0, [20, 60]] = 1.0, np.nan
    for definition in FIRST_MOMENTS:
        assert first_moment(frame, geometry, definition) == 20.0
        assert np.isnan(first_moment(np.zeros((65, 65)), geometry, definition))


def test_the_radial_average_follows_the_distance_from_the_beam() -> None:
    geometry = FrameGeometry((65, 65), (32.0, 32.0))
    i = np.arange(65) - 32
    frame = 1000.0 - np.rint(np.hypot(i[:, None], i))
    np.testing.assert_allclose(radial_average(frame, geometry), 1000.0 - np.arange(6, 46))
    masked = np.hypot(i[:, None], i).round() == 9  # a whole ring, which takes its value from its neighbours
    frame[masked] = np.nan
    masked_geometry = FrameGeometry((65, 65), (32.0, 32.0), masked)
    np.testing.assert_allclose(radial_average(frame, masked_geometry), 1000.0 - np.arange(6, 46))


@pytest.mark.parametrize("measure", [first_moment, radial_average])
def test_frames_of_another_shape(measure) -> None:
    with pytest.raises(ValueError, match=r"expected frames of \(65, 65\) pixels"):
        measure(np.ones((64, 65)), FrameGeometry((65, 65)))


def test_equal_disks_are_solved_by_the_radial_average() -> None:
    told: list[tuple[str, int, int]] = []
    found = baselines(
        FrameRecipe(families=("mono",), size=129),
        20,
        5,
        report=lambda what, n, total, _: told.append((what, n, total)),
    )
    scores = found["scores"]
    assert scores["radial average"]["accuracy"] > 0.95
    assert scores["total"]["accuracy"] < 0.4
    assert found["frames"] == 95
    assert found["chance"] == pytest.approx(1 / 19)
    assert set(scores) == {
        "radial average",
        "radial average, absolute",
        "total",
        *(f"first moment, {d.name}" for d in FIRST_MOMENTS),
    }
    assert all(0 <= s["accuracy"] <= s["within_one"] <= 1 for s in scores.values())
    assert told[0] == ("baselines, training", 1, 380)
    assert told[-1] == ("baselines, test", 95, 95)


def test_only_the_last_two_see_the_scale_of_the_intensity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of 2 disks are made brighter than those of 3, in training, and darker in the test."""

    def scaled(recipe, per_class, seed, purpose):
        for drawn in balanced_set(recipe, per_class, seed, purpose):
            bright = (drawn.disk_number == 2) == (purpose == "baseline")
            yield drawn._replace(frame=drawn.frame * np.float32(1e3 if bright else 1.0))

    recipe = FrameRecipe(families=("mono",), size=65, disk_numbers=(2, 3))
    honest = baselines(recipe, 20, 20)["scores"]
    monkeypatch.setattr("training.evaluation.baselines.balanced_set", scaled)
    misled = baselines(recipe, 20, 20)["scores"]
    for name in honest:
        if name in ("total", "radial average, absolute"):
            assert misled[name]["accuracy"] < 0.2
        else:
            assert misled[name]["accuracy"] == pytest.approx(honest[name]["accuracy"], abs=0.06)


def test_noisy_frames_partly_masked() -> None:
    """At one photon per frame many are empty, which must not end a measurement."""
    recipe = FrameRecipe(size=65, disk_numbers=(2, 20), photons=(1.0, 1e5), masked_share=0.5)
    scores = baselines(recipe, 10, 10)["scores"]
    assert all(np.isfinite(list(s.values())).all() for s in scores.values())


def test_too_few_frames() -> None:
    with pytest.raises(ValueError, match="per_class must be at least 2"):
        baselines(FrameRecipe(), per_class=1)


def test_the_grids_put_the_beam_where_the_frames_have_it() -> None:
    """A frame mirrored about the beam has the first moment of its quadrant, where edges count half."""
    whole, part = published(129), quadrant(65)
    frame = np.random.default_rng(0).exponential(1.0, (65, 65))
    mirrored = np.block([[frame[:0:-1, :0:-1], frame[:0:-1]], [frame[:, :0:-1], frame]])
    frame[0] *= 0.5
    frame[:, 0] *= 0.5
    assert first_moment(mirrored, FrameGeometry(whole.shape, whole.beam_center)) == pytest.approx(
        first_moment(frame, FrameGeometry(part.shape, part.beam_center))
    )
