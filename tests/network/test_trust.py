"""What a network does not know: statistics of frames, trust files, and the flags of odd frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import (
    DetectorResponse,
    DiskSystem,
    World,
    centered,
    draw_intensity,
    draw_system,
    grid_by_name,
    intensity,
    quadrant,
)
from speckle_plugin.network import BundleError, find_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.posterior import join_views
from speckle_plugin.network.trust import (
    find_trust,
    frame_statistics,
    load_trust,
    range_of,
    save_trust,
    trust_path,
    views_of,
)
from speckle_plugin.network.trust.calibration import (
    brief_inputs,
    brief_size,
    possible_classes,
    temperatures_by,
)
from speckle_plugin.network.trust.kernels import (
    line_sums,
    neighbour_outliers,
    pixel_sums,
    ring_sums,
    zeros_among,
    zone_sums,
)
from speckle_plugin.network.trust.statistics import NO_COUNTS, STATISTICS
from speckle_plugin.preprocessing import FrameGeometry, Preprocessing, prepare
from speckle_plugin.scattering import PixelGrid
from speckle_plugin.schema import Flag
from training.evaluation.unknowns import unknown_frames
from training.frames import balanced_set
from training.recipe import FrameRecipe, stored_frame_recipe

SETTINGS = Preprocessing(crop=129, intensity="patterson", radial_rows=64)
CORNER = FrameGeometry((257, 257))
SEED = 7_000_002


@cache
def frame(photons: float = 0.0, number: int = 7) -> NDArray[np.float32]:
    rng = np.random.default_rng(SEED)
    ideal = intensity(draw_system("poly", number, rng), quadrant())
    drawn = rng.poisson(ideal * photons / ideal.sum()) if photons else ideal
    return drawn.astype(np.float32)


def statistics(pixels: NDArray[Any], geometry: FrameGeometry = CORNER) -> dict[str, NDArray[np.float32]]:
    size = range_of(geometry, SETTINGS)
    assert size is not None
    inputs = prepare(pixels, SETTINGS, geometry)[0]
    found = frame_statistics(pixels, inputs, views_of(geometry, SETTINGS, size))
    ends = np.cumsum(list(STATISTICS.values()))
    return dict(zip(STATISTICS, np.split(found, ends[:-1]), strict=True))


@pytest.mark.parametrize("photons", [0.0, 1e5])
def test_statistics_do_not_depend_on_the_gain(photons: float) -> None:
    one, other = statistics(frame(photons)), statistics(frame(photons) * np.float32(4.0))
    for name in STATISTICS:
        np.testing.assert_allclose(other[name], one[name], rtol=1e-3, atol=2e-3, err_msg=name)


def test_photons_are_counted_whatever_their_step() -> None:
    # The blocked centre is left out, and most photons are there.
    outside = frame(1e5).sum() - frame(1e5)[:6, :6].sum()
    np.testing.assert_allclose(statistics(frame(1e5) * 2.5)["photons"], [np.log10(outside), 1.0], rtol=1e-5)
    np.testing.assert_array_equal(statistics(frame())["photons"], [NO_COUNTS, 0.0])


def test_the_contrast_is_that_of_speckle_less_the_noise_of_photons() -> None:
    """The second moment is 1 for one disk, 2 - 1/n for n equal ones, and photons do not change it."""
    grid, rng = quadrant(), np.random.default_rng(3)

    def second_moment(frames: list[NDArray[Any]]) -> float:
        return float(np.mean([statistics(f.astype(np.float32))["contrast"][12::3][:3] for f in frames]))

    for number, expected in ((1, 1.0), (2, 1.5), (12, 2 - 1 / 12)):
        # Small disks, whose form factor is flat in these zones.
        systems = [DiskSystem(rng.uniform(50, 1950, (number, 2)), np.full(number, 15.0)) for _ in range(4)]
        drawn = [intensity(system, grid) for system in systems]
        assert second_moment(drawn) == pytest.approx(expected, abs=0.1)
        noisy = [rng.poisson(f * 1e5 / f.sum()).astype(float) for f in drawn]
        assert second_moment(noisy) == pytest.approx(second_moment(drawn), abs=0.05)


def test_neighbours_are_compared_as_in_plain_words() -> None:
    rng = np.random.default_rng(1)
    values = rng.exponential(1.0, (40, 40)).astype(np.float32)
    ring = np.zeros((40, 40), np.int16)
    ring[10, 10:14] = -1
    found = neighbour_outliers(values, ring >= 0, 0.0)
    bright: list[float] = []
    dark: list[float] = []
    for i in range(1, 39):
        for j in range(1, 39):
            block = values[i - 1 : i + 2, j - 1 : j + 2].astype(float)
            if (ring[i - 1 : i + 2, j - 1 : j + 2] < 0).any():
                continue
            around = np.delete(block.ravel(), 4)
            if block[1, 1] > 1.3 * around.max():
                bright.append(float(np.log(block[1, 1] / around.max())))
            if around.min() > 1.3 * block[1, 1]:
                dark.append(float(np.log(around.min() / block[1, 1])))
    for row, differences in zip(found, (bright, dark), strict=True):
        expected = [max(differences), *((np.array(differences) > limit).sum() for limit in (1, 2, 4, 8))]
        np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_zones_are_summed_as_in_plain_words() -> None:
    rng = np.random.default_rng(1)
    values = rng.exponential(2.0, 320).astype(np.float32)
    ring = np.sort(rng.integers(0, 6, values.size))
    starts, zones = np.searchsorted(ring, np.arange(7)), np.array([0, 2, 4, 6])
    mean, slope = rng.uniform(1, 3, 6), rng.normal(size=6)
    angle = rng.uniform(0, 1.5, values.size)
    cosine, sine = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    found = zone_sums(values, starts, zones, cosine, sine, mean, slope, 0.5)
    np.testing.assert_allclose(ring_sums(values, starts), np.bincount(ring, values), rtol=1e-6)
    for z in range(3):
        chosen = ring // 2 == z
        r, a = ring[chosen], angle[chosen]
        y = np.minimum(values[chosen] / mean[r], 12.0)
        parts = (
            np.ones(len(y)), y**2 - 0.5 / mean[r], y / (1 + y), 1 / (1 + 8 * y), (y - 1) * np.cos(2 * a),
            (y - 1) * np.sin(2 * a), (y - 1) * np.cos(4 * a), (y - 1) * slope[r] * np.cos(a),
            (y - 1) * slope[r] * np.sin(a),
        )  # fmt: skip
        np.testing.assert_allclose(found[z], [p.sum() for p in parts], rtol=1e-4, atol=1e-4)


def test_pixels_are_counted_as_in_plain_words() -> None:
    rng = np.random.default_rng(2)
    values = 3.0 * rng.poisson(1.0, (40, 30)).astype(np.float32)
    values[2:5, 3] = -1.0
    values[7, 7:9] = 100.0
    values[0, :4] = 0.0  # left out
    found = pixel_sums(values, values.size - 4)
    assert found == (3.0, 100.0, 3, (values == 0.0).sum() - 4, 2, 5)


def test_a_frame_without_noise_is_not_of_counts_however_faint_its_faintest_pixel() -> None:
    faint = frame().copy()
    faint[120, 130] = faint.max() * 1e-12
    np.testing.assert_array_equal(statistics(faint)["photons"], [NO_COUNTS, 0.0])
    bright = frame(1e8)  # up to 700 thousand photons in a pixel
    assert statistics(bright)["photons"][1] == 1.0


def test_zeros_among_photons_are_counted_as_in_plain_words() -> None:
    rng = np.random.default_rng(4)
    values, valid = rng.poisson(1.0, (40, 30)).astype(np.float32), rng.random((40, 30)) > 0.01
    limits = np.array([4.0, 8.0, 12.0], np.float32)
    expected = np.zeros((3, 2))
    for i in range(1, 39):
        for j in range(1, 29):
            if valid[i - 1 : i + 2, j - 1 : j + 2].all():
                beside = values[i - 1 : i + 2, j - 1 : j + 2].sum() - values[i, j]
                expected += (beside >= limits)[:, None] * np.array([1, values[i, j] == 0])
    assert 0 < expected[2, 1] < expected[0, 0]
    np.testing.assert_array_equal(zeros_among(values, valid, limits), expected)


def test_dead_pixels_and_lines_stand_out_of_few_photons() -> None:
    """Pixels of 0 are nothing odd in counts, but where their neighbours have many."""
    dead, lines, stepped = frame(1e6).copy(), frame(1e5).copy(), frame(1e5).copy()
    dead[np.random.default_rng(5).random(dead.shape) < 0.02] = 0.0
    lines[40:43] = 0.0
    stepped[:, 100:] *= 2.5
    clean = statistics(frame(1e5))
    # Among 256 photons and more, of speckle that is dark here and there as well.
    assert (statistics(dead)["pixels"][-2:] > statistics(frame(1e6))["pixels"][-2:] + 0.2).all()
    missing, wide = 5, 7  # places among what is told of lines
    assert statistics(lines)["lines"][missing] > 2.0 * clean["lines"][missing]
    assert statistics(stepped)["lines"][wide] > clean["lines"][wide] + 0.1


def test_lines_are_summed_as_in_plain_words() -> None:
    values = np.random.default_rng(3).normal(1.0, 1.0, (40, 30)).astype(np.float32)
    roots = np.sqrt(np.maximum(values, 0.0))[4:, 4:]
    rows, columns = line_sums(values, 4)
    np.testing.assert_allclose(rows, roots.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(columns, roots.sum(axis=0), rtol=1e-5)


def test_a_masked_defect_does_not_count() -> None:
    broken, mask = frame(1e6).copy(), np.zeros((257, 257), bool)
    broken[40, 60] = 1e4
    mask[40, 60] = True
    geometry = FrameGeometry((257, 257), mask=mask)
    clean = statistics(frame(1e6))["pixels"]
    assert statistics(broken)["pixels"][0] > 2.5 * clean[0]
    np.testing.assert_allclose(statistics(broken, geometry)["pixels"][0], clean[0], rtol=0.2)


@pytest.mark.parametrize("left", [33, 45, 60])
@pytest.mark.parametrize("along", ["rows", "columns"])
def test_statistics_are_numbers_however_few_lines_a_mask_leaves(left: int, along: str) -> None:
    mask = np.ones((129, 129), bool)  # a quarter has to be seen
    mask[:left] = False
    geometry = FrameGeometry((129, 129), mask=mask if along == "rows" else mask.T)
    found = statistics(frame(1e6)[:129, :129].copy(), geometry)
    assert np.isfinite(found["lines"]).all() and np.isfinite(found["pixels"]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38, -1e38])
def test_statistics_are_numbers_whatever_stands_outside_of_the_crop(value: float) -> None:
    broken = frame(1e6).copy()
    broken[200, 210] = value
    found = statistics(broken)
    blocked, rest = np.split(found.pop("profile"), [6])  # bands in the blocked centre have no pixels
    assert np.isnan(blocked).all() and np.isfinite(rest).all()
    assert all(np.isfinite(part).all() for part in found.values())


@pytest.mark.parametrize(
    ("shape", "center", "size"),
    [
        ((513, 513), (0, 0), 257),
        ((257, 257), (0, 0), 257),
        ((200, 257), (0, 0), 129),
        ((257, 257), (128, 128), 129),
        ((100, 100), (0, 0), None),
    ],
)
def test_the_largest_range_that_a_frame_has(
    shape: tuple[int, int], center: tuple[float, float], size: int | None
) -> None:
    assert range_of(FrameGeometry(shape, center), SETTINGS) == size


@cache
def classifier(name: str) -> Classifier:
    return Classifier(name, "openvino")


@pytest.mark.parametrize("name", ["quadrant", "published"])
def test_a_shipped_bundle_has_a_small_trust_file(name: str) -> None:
    trust = classifier(name).trust
    assert trust is not None
    assert trust.bundle_sha256 == find_bundle(name).sha256
    assert trust.made["known_frames"] >= 3000
    folder = Path(str(find_bundle(name).path)).parents[1] / "trust"
    assert (folder / f"{name}.trust.npz").stat().st_size < (150_000, 300_000, 480_000)[len(trust.heads)]


def odd_share(name: str, frames: list[NDArray[Any]], geometry: FrameGeometry) -> tuple[float, list[str]]:
    found = classifier(name).label(frames, geometry)
    said = [str(r.flags[-1]) for r in found if Flag.OUT_OF_DISTRIBUTION in r.flags]
    return len(said) / len(frames), said


@pytest.mark.parametrize("name", ["quadrant", "published"])
def test_known_frames_pass(name: str) -> None:
    recipe = stored_frame_recipe(find_bundle(name))
    assert recipe is not None
    drawn = list(balanced_set(recipe, 2, SEED, "test"))
    flagged = [classifier(name).label([d.frame], d.geometry)[0].flags for d in drawn]
    assert sum(Flag.OUT_OF_DISTRIBUTION in flags for flags in flagged) <= 3  # of 38; 1 % are expected


@pytest.mark.parametrize("level", [10_000, 60_000])
@pytest.mark.parametrize("cut", [np.rint, np.floor])
@pytest.mark.parametrize("name", ["quadrant", "published"])
def test_frames_without_noise_that_were_stored_as_integers_pass(name: str, cut: Any, level: int) -> None:
    recipe = stored_frame_recipe(find_bundle(name))
    assert recipe is not None
    plain = replace(recipe, noisy_share=0.0, masked_share=0.0)
    flagged = []
    for drawn in balanced_set(plain, 2, SEED, "test"):
        # But for the blocked centre, which saturates.
        shape, center = drawn.geometry.shape, drawn.geometry.beam_center
        away = [np.abs(np.arange(n) - c) > 5 for n, c in zip(shape, center, strict=True)]
        brightest = drawn.frame[away[0][:, None] | away[1][None, :]].max()
        frame = np.minimum(cut(drawn.frame * (level / brightest)), 65_535).astype(np.uint16)
        flagged.append(classifier(name).label([frame], drawn.geometry)[0].flags)
    assert sum(Flag.OUT_OF_DISTRIBUTION in flags for flags in flagged) <= 3  # of 38; 1 % are expected


def beam_stop(grid: PixelGrid, half: int) -> FrameGeometry:
    mask = np.zeros(grid.shape, bool)
    row, column = (round(place) for place in grid.beam_center)
    mask[max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1] = True
    return FrameGeometry(grid.shape, grid.beam_center, mask)


@pytest.mark.parametrize("photons", [None, 1e6, 1e5])
@pytest.mark.parametrize("half", [0, 6, 9])
def test_a_whole_frame_with_a_beam_stop_passes(photons: float | None, half: int) -> None:
    """The network misses so much of the centre without harm; both quadrants are judged as one frame."""
    grid = centered()
    assert share_flagged(grid, beam_stop(grid, half), photons) <= 0.1


@pytest.mark.parametrize("make_grid", [quadrant, centered])
def test_a_beam_stop_that_hides_too_much_is_named(make_grid: Callable[[], PixelGrid]) -> None:
    grid = make_grid()
    assert share_flagged(grid, beam_stop(grid, 10), 1e6, Flag.ODD_MASK) == 1.0
    assert share_flagged(grid, beam_stop(grid, 9), 1e6, Flag.ODD_MASK) == 0.0


def share_flagged(
    grid: PixelGrid, geometry: FrameGeometry, photons: float | None, flag: Flag = Flag.OUT_OF_DISTRIBUTION
) -> float:
    rng = np.random.default_rng(SEED)
    flagged = []
    for number in range(2, 21):
        ideal = intensity(draw_system("poly", number, rng), grid)
        seen = DetectorResponse(photons=photons).respond(ideal, rng)
        flagged.append(flag in classifier("quadrant").label([seen], geometry)[0].flags)
    return float(np.mean(flagged))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("one disk", Flag.ODD_NUMBER),
        ("hot pixels (1 of 1000)", Flag.ODD_PIXELS),
        ("eight dead rows", Flag.ODD_LINES),
        ("gain step of 3", Flag.ODD_LINES),
        ("beam off by 10 pixels", Flag.ODD_BEAM),
        ("blurred by 1.5 pixels", Flag.ODD_CONTRAST),
        ("readout noise of 5 counts", Flag.ODD_NOISE),
        ("coherence length 500", Flag.ODD_CONTRAST),
    ],
)
def test_odd_frames_are_flagged_and_it_is_said_in_what(kind: str, said: Flag) -> None:
    recipe = replace(FrameRecipe(families=("poly", "mono")))
    frames = [drawn.frame for drawn in unknown_frames(kind, recipe, 8, SEED)]
    share, names = odd_share("quadrant", frames, CORNER)
    assert share >= 0.75
    assert names.count(said) >= len(names) / 2


def test_a_frame_too_small_for_the_statistics_is_judged_by_the_features() -> None:
    small = FrameGeometry((100, 100))
    noise = np.random.default_rng(0).exponential(1.0, (100, 100)).astype(np.float32)
    (result,) = classifier("quadrant").label([noise], small)
    assert result.flags == (Flag.OUT_OF_DISTRIBUTION, Flag.ODD_FEATURES)


def test_a_trust_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    trust = find_trust(find_bundle("quadrant"))
    assert trust is not None
    again = load_trust(save_trust(trust, tmp_path / "copy.trust.npz"))
    assert again.made == trust.made and len(again.sha256) == 64
    for size, oddness in trust.oddness.items():
        np.testing.assert_array_equal(again.oddness[size].limits, oddness.limits)
        assert again.oddness[size].kinds == oddness.kinds
        for one, other in zip(again.oddness[size].layers, oddness.layers, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_trust_file_of_before_confidences_were_fitted(tmp_path: Path) -> None:
    """It tells odd frames; the network speaks alone, and nothing is said of what is possible."""
    trust = find_trust(find_bundle("quadrant"))
    assert trust is not None and trust.calibration
    path = save_trust(trust, tmp_path / "old.trust.npz")
    with np.load(path) as arrays:
        parts = {name: value for name, value in arrays.items() if name.startswith(("oddness/", "manifest"))}
    manifest = json.loads(str(parts["manifest"]))
    del manifest["calibration"], manifest["heads"]
    parts["manifest"] = np.array(json.dumps(manifest))
    with path.open("wb") as file:
        np.savez(file, **parts)
    old = Classifier("quadrant", "openvino")
    old.trust = load_trust(path)
    assert not old.trust.calibration and not old.trust.heads
    frames = [frame(1e4, number) for number in (5, 12)]
    now, before = classifier("quadrant").label(frames, CORNER), old.label(frames, CORNER)
    expected = old.infer(old.prepare(np.stack(frames), CORNER))
    for index, (one, other) in enumerate(zip(now, before, strict=True)):
        assert other.possible == () and one.disk_number in one.possible
        assert other.disk_number == expected.disk_number[index] and other.flags == one.flags
        assert one.confidence != other.confidence
        np.testing.assert_allclose(other.probabilities, expected.probabilities[index], atol=1e-3)


def test_a_trust_file_of_before_confidences_were_told_of_masks(tmp_path: Path) -> None:
    trust = find_trust(find_bundle("quadrant"))
    assert trust is not None
    (rows, now), *_ = trust.calibration.items()
    told = brief_size(now.families)
    assert now.layers[0].shape[0] == told
    old = replace(now, layers=[now.layers[0][: told - 2], *now.layers[1:]])
    read = load_trust(save_trust(replace(trust, calibration={rows: old}), tmp_path / "old.trust.npz"))
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(6, len(now.families[0]))).astype(np.float32)
    logits = rng.normal(size=(6, 1, 19))
    brief = brief_inputs(inputs, now.probable_families(inputs), logits, 0.0)[:, :-2]
    for masked in (0.0, 0.2):
        found = read.calibration[rows].temperatures(inputs, logits, masked)
        np.testing.assert_allclose(found, temperatures_by(brief, old.layers), rtol=1e-5)


def test_possible_are_the_most_probable_number_and_all_of_at_least_the_limit() -> None:
    probabilities = np.array([[0.1, 0.6, 0.05, 0.25], [1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
    for limit, expected in (
        (0.9, [[1], [0], [0]]),
        (0.25, [[1, 3], [0], [0, 1, 2, 3]]),
        (0.08, [[0, 1, 3], [0], [0, 1, 2, 3]]),
        (0.0, [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]),
    ):
        found = [np.flatnonzero(row).tolist() for row in possible_classes(probabilities, limit)]
        assert found == expected, limit


def test_a_frame_has_the_label_that_its_logits_give_whatever_the_temperature() -> None:
    logits = np.random.default_rng(3).normal(size=(50, 2, 19)).astype(np.float32) * 5
    labels = join_views(logits, 1.0).argmax(axis=1)
    for temperature in np.exp(np.random.default_rng(4).normal(size=(20, 50, 1, 1))):
        np.testing.assert_array_equal(join_views(logits, temperature).argmax(axis=1), labels)


def test_a_trust_file_beside_a_bundle_is_found_and_that_of_another_is_not(tmp_path: Path) -> None:
    trust = find_trust(find_bundle("quadrant"))
    assert trust is not None
    own = replace(find_bundle("quadrant"), name="own", path=tmp_path / "own.bundle")
    assert find_trust(own) is None
    save_trust(trust, trust_path(tmp_path / "own.bundle"))
    assert find_trust(own) is not None
    assert find_trust(replace(own, sha256="another")) is None


@pytest.mark.parametrize(
    "fault", ["not a file of numpy", "another format", "other statistics", "missing part"]
)
def test_a_trust_file_that_cannot_be_read(fault: str, tmp_path: Path) -> None:
    trust = find_trust(find_bundle("quadrant"))
    assert trust is not None
    path = save_trust(trust, tmp_path / "own.trust.npz")
    if fault == "not a file of numpy":
        path.write_bytes(b"PK not a zip")
    else:
        with np.load(path) as arrays:
            parts = dict(arrays)
        manifest = json.loads(str(parts["manifest"]))
        if fault == "another format":
            manifest["format"] = 99
        elif fault == "other statistics":
            manifest["statistics"]["profile"] = 3
        else:
            parts.pop(next(name for name in parts if name.endswith("limits")))
        parts["manifest"] = np.array(json.dumps(manifest))
        with path.open("wb") as file:
            np.savez(file, **parts)
    with pytest.raises(BundleError, match="can't be read .* make it again with speckle calibrate"):
        load_trust(path)


def test_squares_are_no_disks() -> None:
    grid = grid_by_name("quadrant", 257)
    rng = np.random.default_rng(SEED)
    frames = [
        draw_intensity(World(shape="square"), "mono", n, grid, rng).astype(np.float32) for n in (3, 5, 8, 12)
    ]
    share, _ = odd_share("quadrant", frames, CORNER)
    assert share >= 0.5
