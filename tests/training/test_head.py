"""The head that counts disks beside a network: drawn, fitted, kept, and heard."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from speckle_plugin.network import Bundle, BundleError
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.engines import NetworkOutput
from speckle_plugin.network.trust import Trust, file, frame_statistics, load_trust, save_trust, views_of
from speckle_plugin.network.trust.head import Head
from speckle_plugin.network.trust.judge import heads_for, judge
from speckle_plugin.network.trust.oddness import log_probabilities
from speckle_plugin.network.trust.spots import SpotMaps
from speckle_plugin.preprocessing import Correction, FrameGeometry, Preprocessing, prepare
from training.confidence import graded_frames
from training.frames import balanced_set, stream
from training.head import (
    HeadFrames,
    draw_head_frames,
    fit_head,
    fit_shares,
    head_recipe,
    maps_of,
    recipe_of_rows,
)
from training.recipe import FrameRecipe
from training.trust import fit_trust, limit_heads

NUMBERS = (2, 5, 9)
RECIPE = FrameRecipe(families=("mono",), size=129, disk_numbers=NUMBERS, photons=(1e5, 1e6), noisy_share=0.2)
BUNDLE = Bundle(
    "fake",
    "1",
    NUMBERS,
    Preprocessing(crop=65, intensity="patterson"),
    {},
    training={"recipe": {"frames": {"families": ["mono"], "size": 129, "disk_numbers": list(NUMBERS)}}},
    sha256="of the fake",
)


class IgnorantEngine:
    """Takes each frame for the first number, and is not sure."""

    name, precision, device = "fake", "float32", "CPU"

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        features = inputs[:, :32, :32].reshape(len(inputs), 32, 32).mean(axis=2)
        return NetworkOutput(np.tile(np.array([0.2, 0.1, 0.0], np.float32), (len(inputs), 1)), features)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> HeadFrames:
    return draw_head_frames(BUNDLE, RECIPE, 129, 3, 500, tmp_path_factory.mktemp("head"), part_frames=250)


@pytest.fixture(scope="module")
def head(frames: HeadFrames) -> Head:
    return fit_head(frames, NUMBERS, maps_of(RECIPE, 129), 0)


def test_an_interrupted_drawing_goes_on(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def draw(count: int, seed: int = 3) -> HeadFrames:
        report = lambda what, done, total, numbers: told.append((done, total))  # noqa: E731
        return draw_head_frames(BUNDLE, RECIPE, 129, seed, count, tmp_path, report, part_frames=10)

    few = draw(10)
    (tmp_path / "00001.partial.npz").write_bytes(b"it was interrupted here")
    more = draw(20)
    assert told == [(10, 10), (20, 20)]
    again = draw(20)
    assert len(told) == 2 and len(more.disk_numbers) == 20  # nothing was drawn again
    for first, second, third in zip(few, more, again, strict=True):
        np.testing.assert_array_equal(first, np.asarray(second)[:10])
        np.testing.assert_array_equal(second, third)
    with pytest.raises(ValueError, match="holds what was seen of other frames: give another folder"):
        draw(20, seed=4)


def test_a_head_of_more_rows_learns_the_statistics_that_it_will_be_given(tmp_path: Path) -> None:
    drawn = draw_head_frames(BUNDLE, RECIPE, 257, 3, 2, tmp_path, part_frames=2)
    frames = list(itertools.islice(stream(recipe_of_rows(head_recipe(RECIPE), 257), 3, "head"), 2))
    for (frame, geometry, _), found in zip(frames, drawn.statistics, strict=True):
        inputs = prepare(frame, BUNDLE.preprocessing, geometry)[0]
        views = views_of(geometry, BUNDLE.preprocessing, 129)
        np.testing.assert_array_equal(frame_statistics(frame, inputs, views), found)


def test_the_frames_of_a_head_are_of_its_families_and_half_of_them_have_noise() -> None:
    recipe = head_recipe(replace(RECIPE, families=("mono", "poly")))
    assert recipe.noisy_share == 0.5 and recipe.shares[1] > recipe.shares[0]
    assert head_recipe(replace(RECIPE, photons=())).noisy_share == 0.0


def test_maps_show_the_box_finely_enough() -> None:
    # The largest disk has a radius of 90, and the map of 257 points reaches to 2000, as the box does.
    assert maps_of(FrameRecipe(), 257) == SpotMaps(257, np.ceil(180 / (2000 / 256)), 257, 1, 1)
    # Of this grid a plain point is at 18001 / 256: 4 finer ones each, and 115 of them reach to 2000.
    maps = maps_of(FrameRecipe(grid="published"), 129)
    assert maps == SpotMaps(
        129, np.ceil(180 / (18001 / 256 / 4)), np.ceil(2000 / (18001 / 256 / 4)) + 1, 4, 2
    )


def test_a_head_counts_disks_that_its_network_does_not(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.looks.make_engine", lambda bundle: IgnorantEngine())
    monkeypatch.setattr("training.trust.RANK", 8)  # of few frames
    own = replace(BUNDLE, path=tmp_path / "fake.bundle")
    alone = fit_trust(own, 5, 30, 20, graded=10)
    looked = tmp_path / "looked"
    trust = fit_trust(own, 5, graded=10, head=head, kept=alone, folder=looked)
    assert trust.oddness is alone.oddness and trust.made["held_out"] == alone.made["held_out"]
    assert trust.made["kept"]["seed"] == 5
    heard = trust.made["heads"]["129"]["accuracy"]["mono, no noise"]
    assert heard["joined"] > 0.9 > 0.5 > heard["network"]
    assert trust.heads[129].heard > 1  # frames that are flagged, but as odd as known ones can be, it hears
    with monkeypatch.context() as patched:  # what was seen is in the folder: no network runs again
        patched.setattr(IgnorantEngine, "run", None)
        again = fit_trust(own, 5, graded=10, head=head, kept=alone, folder=looked)
        np.testing.assert_array_equal(again.heads[129].shares, trust.heads[129].shares)
        assert again.calibration[129].limit == trust.calibration[129].limit
    fit_trust(own, 6, graded=6, head=head, kept=alone, folder=looked)
    assert len(list(looked.iterdir())) == 2  # others are kept beside the first
    # A file of before heads had limits gets them by the same frames, and all else stays.
    older = replace(trust, heads={129: replace(trust.heads[129], heard=np.inf)})
    with monkeypatch.context() as patched:
        patched.setattr(IgnorantEngine, "run", None)
        limited = limit_heads(own, older, 5, graded=10, folder=looked)
    assert limited.heads[129].heard == limited.made["heads"]["129"]["heard"] == trust.heads[129].heard
    assert limited.heads[129].layers is trust.heads[129].layers and limited.calibration is trust.calibration
    assert limited.made["heads"]["129"]["accuracy"] == trust.made["heads"]["129"]["accuracy"]
    with pytest.raises(ValueError, match="take a trust file with heads"):
        limit_heads(own, alone, 5, graded=10)
    without = fit_trust(own, 5, graded=10, kept=trust)
    assert not without.heads and "heads" not in without.made and without.made["kept"] == trust.made["kept"]

    save_trust(trust, tmp_path / "fake.trust.npz")
    classifier = Classifier(own, IgnorantEngine())
    assert classifier.trust is not None and list(classifier.trust.heads) == [129]
    drawn = list(balanced_set(replace(RECIPE, noisy_share=0.0), 12, 9, "test"))
    pixels, geometry = [d.frame for d in drawn], drawn[0].geometry
    truth = [d.disk_number for d in drawn]
    results = classifier.label(pixels, geometry)
    assert np.mean([r.disk_number == n for r, n in zip(results, truth, strict=True)]) > 0.9
    assert classifier.classify(np.stack(pixels), geometry).disk_number.tolist() == [
        r.disk_number for r in results
    ]
    # Frames that are odder than all that it was joined by are the network's, which takes all for two disks.
    hot = [frame + 1e3 * frame.max() * (np.indices(frame.shape).sum(axis=0) % 7 == 3) for frame in pixels]
    assert {r.disk_number for r in classifier.label([*hot, pixels[-1]], geometry)[:-1]} == {2}
    assert classifier.label([*hot, pixels[-1]], geometry)[-1].disk_number == truth[-1]

    # A second one, for larger frames, is heard after it where a frame is so large.
    larger = replace(head, maps=maps_of(RECIPE, 257))
    streams: set[str] = set()

    def graded(*arguments: Any) -> Any:
        streams.add(arguments[-1])
        return graded_frames(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("training.trust.graded_frames", graded)
        both = fit_trust(own, 5, graded=6, head=larger, kept=trust)
        fit_trust(own, 5, graded=6, head=head, kept=trust)
    # What tells families has learned the frames of the first head by heart: the second one's are of others.
    assert streams == {"trust graded", "trust graded, 257 rows"}
    assert both.heads[129] is trust.heads[129] and both.calibration[129] is trust.calibration[129]
    assert list(both.made["heads"]) == ["129", "257"]
    # The first one names all; the second one, which never saw such maps, does not spoil it.
    heard = both.made["heads"]["257"]["accuracy"]["mono, no noise"]
    assert heard["joined"] > 0.9 > 0.5 > heard["network"]
    for rows, heard_rows in ((257, [129, 257]), (256, [129]), (129, [129]), (128, [])):
        found = heads_for(both, FrameGeometry((rows, rows)), own.preprocessing)
        assert [of.maps.rows for of in found] == heard_rows
    # Without a first one the network's own confidences stay for frames that are not so large.
    lone = fit_trust(own, 5, graded=6, head=larger, kept=alone)
    assert list(lone.heads) == [257] and lone.calibration[129] is alone.calibration[129]
    smaller = replace(head, maps=maps_of(RECIPE, 97))
    with pytest.raises(ValueError, match="a head of 97 rows would be given statistics of 129"):
        fit_trust(own, 5, graded=6, head=smaller, kept=alone)
    # Another smaller one in the place of the first: what was joined with that is gone.
    anew = fit_trust(own, 5, graded=6, head=head, kept=both)
    assert list(anew.heads) == list(anew.calibration) == [129] and list(anew.made["heads"]) == ["129"]
    with pytest.raises(ValueError, match="a head of 257 rows comes beside one of 129"):
        fit_trust(own, 5, graded=2, head=larger)

    # What was not measured as it stands, and frames of fewer pixels, the network labels alone.
    corrected = classifier.label(
        pixels, geometry, correction=Correction(dark=np.zeros((129, 129), np.float32))
    )
    assert {r.disk_number for r in corrected} == {2}
    small = [frame[:100, :100] for frame in pixels]
    assert {r.disk_number for r in classifier.label(small, replace(geometry, shape=(100, 100)))} == {2}


def test_both_quadrants_of_a_centred_frame_are_heard(head: Head, frames: HeadFrames) -> None:
    rng = np.random.default_rng(4)
    sizes = frames.statistics.shape[1], 2 * frames.spots.shape[1]
    statistics, spots = (rng.normal(size=(5, size)).astype(np.float32) for size in sizes)
    families = np.ones((5, 1))
    two = head.join(np.zeros((5, 2, 3)), statistics, spots.reshape(5, 2, -1), families)
    one = head.join(np.zeros((5, 1, 3)), statistics, spots.reshape(5, 2, -1)[:, 1:], families)
    assert two.shape == (5, 2, 3)
    np.testing.assert_allclose(two[:, 1:], one, rtol=1e-5, atol=1e-6)


def test_a_head_is_not_heard_of_frames_that_are_odder_than_those_that_it_was_joined_by(
    head: Head, tmp_path: Path
) -> None:
    rng = np.random.default_rng(7)
    statistics = rng.normal(size=(3, head.means.shape[1] - 10)).astype(np.float32)
    spots, before = rng.normal(size=(3, 1, 10)).astype(np.float32), rng.normal(size=(3, 1, 3))
    given, odd = (before, statistics, spots, np.ones((3, 1))), np.array([0.3, 2.0, 2.1])
    every = head.join(*given)
    np.testing.assert_array_equal(head.join(*given, odd), every)
    path = save_trust(
        Trust("of the fake", {}, heads={129: replace(head, heard=2.0), 257: head}), tmp_path / "x.trust.npz"
    )
    read = load_trust(path).heads
    assert (read[129].heard, read[257].heard) == (2.0, np.inf)
    found = read[129].join(*given, odd)
    np.testing.assert_allclose(found[:2], every[:2], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[2], before[2])


def test_what_a_mask_leaves_of_other_quadrants_is_not_judged(head: Head) -> None:
    """Near the beam both quadrants are seen, of the larger range one: they are not taken for each other."""
    own = replace(BUNDLE, preprocessing=replace(BUNDLE.preprocessing, crop=49))
    middle, far = 128, 128 - 49
    mask = np.zeros((257, 257), bool)
    for corner in (mask[: middle + 1, : middle + 1][::-1, ::-1], mask[middle:, middle:]):
        corner[middle - far :] = corner[:, middle - far :] = True
    geometry = FrameGeometry((257, 257), (128.0, 128.0), mask)
    frame = np.random.default_rng(0).poisson(9.0, (257, 257)).astype(np.float32)
    inputs = np.stack([prepare(frame, own.preprocessing, geometry)[0]])
    assert inputs.shape[1] == 2 and len(views_of(geometry, own.preprocessing, 129)) == 1
    trust: Any = SimpleNamespace(oddness={129: None}, heads={129: head})
    output = IgnorantEngine().run(inputs[0])
    assert judge(trust, own, [frame], inputs, output, geometry) is None
    assert heads_for(trust, geometry, own.preprocessing) == []
    assert heads_for(trust, replace(geometry, mask=None), own.preprocessing) == [head]


def test_who_knows_nothing_is_not_heard(head: Head, frames: HeadFrames) -> None:
    truth = np.searchsorted(NUMBERS, frames.disk_numbers)
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(len(truth), 1, 3))
    alone = head.logits(frames.statistics, frames.spots[:, None])
    one = np.ones((len(truth), 1))
    shares = fit_shares(head, noise, alone, frames.statistics, one, truth).shares
    assert (shares[..., 0] < 0.1 * shares[..., 1]).all()
    knows = 4.0 * np.eye(3)[truth][:, None] + noise
    shuffled = rng.permutation(len(truth))
    shares = fit_shares(head, knows[shuffled], alone, frames.statistics, one, truth[shuffled]).shares
    assert (shares[..., 1] < 0.1 * shares[..., 0]).all()
    shares = fit_shares(head, noise[:0], alone[:0], frames.statistics[:0], one[:0], truth[:0]).shares
    assert (shares == [1.0, 0.0]).all()


def test_who_knows_one_family_is_heard_there(
    head: Head, frames: HeadFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The voice before the head knows the frames of the first family, the head those of the second."""
    truth = np.searchsorted(NUMBERS, frames.disk_numbers)
    rng = np.random.default_rng(6)
    families = np.eye(2)[rng.integers(2, size=len(truth))]
    knows, noise = (4.0 * np.eye(3)[truth][:, None], rng.normal(size=(2, len(truth), 1, 3)) * 2.0)
    first = families[:, :1, None] > 0.5
    before, alone = np.where(first, knows, noise[0]), np.where(first, noise[1], knows)
    shares = fit_shares(head, before, alone, frames.statistics, families, truth).shares
    assert shares.shape == (2, 2, 2)
    assert (shares[:, 0, 0] > 2 * shares[:, 0, 1]).all() and (shares[:, 1, 1] > 2 * shares[:, 1, 0]).all()
    monkeypatch.setattr(Head, "logits", lambda self, statistics, spots: log_probabilities(alone))
    joined = replace(head, shares=shares).join(before, frames.statistics, frames.spots[:, None], families)
    assert np.mean(joined[:, 0].argmax(axis=1) == truth) > 0.97


def test_weights_of_before_families_were_told_are_those_of_all(head: Head, tmp_path: Path) -> None:
    path = save_trust(
        Trust("of the fake", {}, heads={129: replace(head, shares=np.eye(2))}), tmp_path / "x.trust.npz"
    )
    read = load_trust(path).heads[129]
    assert read.shares.shape == (2, 1, 2)
    rng = np.random.default_rng(8)
    statistics = rng.normal(size=(5, head.means.shape[1] - 10)).astype(np.float32)
    spots, before = rng.normal(size=(5, 1, 10)).astype(np.float32), rng.normal(size=(5, 1, 3))
    told = [
        read.join(before, statistics, spots, of) for of in (np.eye(4)[[0, 1, 2, 3, 0]], np.full((5, 4), 0.25))
    ]
    np.testing.assert_allclose(told[0], told[1])


def test_a_head_takes_graded_frames() -> None:
    ones = np.ones((2, 1), np.float32)
    head = Head(SpotMaps(129, 3.0, 129), ones, ones, [], np.ones((2, 2)))
    with pytest.raises(ValueError, match="joined with the network by graded frames"):
        fit_trust(BUNDLE, 5, graded=0, head=head)


def test_a_file_of_other_statistics_is_of_another_version(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_trust(Trust("of the fake", {}, heads={129: head}), tmp_path / "x.trust.npz")
    read = load_trust(path).heads[129]
    np.testing.assert_array_equal(read.means, head.means)
    assert read.maps == head.maps
    for read_layer, layer in zip(read.layers, head.layers, strict=True):
        np.testing.assert_allclose(read_layer, layer, rtol=1e-6)
    monkeypatch.setattr(file, "SPOTS", {"other": 3})
    with pytest.raises(BundleError, match="of another version"):
        load_trust(path)
