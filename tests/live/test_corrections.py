"""Dark frames and flat fields are not classified, and correct frames where asked, live and stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import numpy as np
import pytest
from bluesky import RunEngine
from numpy.typing import NDArray

from simulated_devices import draw_system, intensity, quadrant
from speckle_plugin.cli.stored_frame import read_stored_frame
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.documents.roles import Role
from speckle_plugin.live import LiveClassifier
from speckle_plugin.monitor.model import Monitor
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.reprocess.complete import complete_run
from speckle_plugin.store import RunSaver, StoredRun, TiledStore, find_frames
from tests.testing.camera import GivenCamera
from tests.testing.documents import Documents

NUMBERS = (2, 5, 9, 14)


@pytest.mark.parametrize(
    ("settings", "stream", "key", "role"),
    [
        ({}, "primary", "det_image", Role.LIGHT),
        ({}, "dark", "det_image", Role.DARK),
        ({}, "primary", "det_dark", Role.DARK),
        ({}, "dark_frames", "det_image", Role.DARK),
        ({}, "primary", "darkroom_image", Role.LIGHT),
        ({"darks": ("closed",)}, "closed", "det_image", Role.DARK),
        ({"darks": ()}, "dark", "det_image", Role.LIGHT),
        ({}, "flat", "det_image", Role.FLAT),
        ({}, "primary", "det_flat_field", Role.FLAT),
        ({}, "primary", "flatfield", Role.FLAT),
        ({}, "primary", "flat_panel_image", Role.LIGHT),
        ({}, "primary", "inflated_image", Role.LIGHT),
        ({}, "dark", "det_flat", Role.DARK),
        ({"flats": ("white",)}, "white", "det_image", Role.FLAT),
        ({"flats": ()}, "flat", "det_image", Role.LIGHT),
        ({"leave_out": ("baseline",)}, "baseline", "det_image", Role.LEFT_OUT),
        ({"leave_out": ("baseline/*",)}, "primary", "det_image", Role.LIGHT),
        ({"leave_out": ("*/cam_image",)}, "baseline", "cam_image", Role.LEFT_OUT),
        ({"image_keys": ("baseline/det_image",)}, "baseline", "det_image", Role.LIGHT),
        ({"image_keys": ("baseline/det_image",)}, "primary", "det_image", Role.LEFT_OUT),
        ({"image_keys": ("det_image",)}, "dark", "det_image", Role.DARK),
        ({"image_keys": ()}, "dark", "det_image", Role.LEFT_OUT),
    ],
)
def test_what_images_are(settings: dict[str, Any], stream: str, key: str, role: Role) -> None:
    asked = FrameSettings(**settings)
    assert asked.role_of(stream, key) is role
    if asked.image_keys != ():  # then nothing is recorded
        assert FrameSettings.from_configuration(asked.to_configuration()).role_of(stream, key) is role


class Shutter:
    """Closed, the camera shows its dark frame only; it may see the same light on all pixels, too.

    `gain` is what each pixel shows of the light.
    """

    def __init__(self, dark: NDArray[Any], gain: NDArray[Any] | float = 1.0) -> None:
        self.dark, self.gain, self.is_open, self.is_flat = dark, gain, True, False

    def __call__(self, exposed: NDArray[Any]) -> NDArray[Any]:
        light = exposed if self.is_open else np.zeros_like(exposed)
        if self.is_flat:
            light = np.full_like(exposed, 20_000)
        return np.rint(light * self.gain).astype(exposed.dtype) + self.dark.astype(exposed.dtype)


@pytest.fixture(scope="module")
def frames() -> NDArray[Any]:
    rng = np.random.default_rng(4)
    drawn = [intensity(draw_system("poly", number, rng), quadrant(257)) for number in NUMBERS]
    return np.stack([rng.poisson(frame * (1e7 / frame.sum())) for frame in drawn]).astype(np.uint32)


@pytest.fixture
def dark() -> NDArray[Any]:
    """Give an offset that rises along the rows, by columns that are read out by two amplifiers."""
    rows, columns = np.indices((257, 257))
    return (100 + 20 * rows + 2000 * (columns % 8 == 3)).astype(np.uint32)


@pytest.fixture(scope="module")
def gain() -> NDArray[Any]:
    """Give two halves of unlike gain, with pixels that fall off to the side, and some that are dead."""
    rows, columns = np.indices((257, 257))
    gain = np.where(rows % 16 < 8, 1.0, 0.3) * (1.0 - columns / 400)
    gain[200:204, 10:200] = 0.0
    return gain


@pytest.fixture
def measure(
    run_engine: RunEngine, store: TiledStore, frames: NDArray[Any], dark: NDArray[Any], gain: NDArray[Any]
) -> Iterator[Callable[..., Any]]:
    """Give what counts frames by a session of its own, each run with a dark frame before it."""
    closed: list[Callable[[], None]] = []

    def count(live: LiveClassifier, with_dark: bool = True, uneven: bool = False, flats: int = 0) -> Any:
        saver = RunSaver(store.runs, store.journal_directory)
        closed.extend([live.close, saver.close])
        live.subscribe(saver, saves=True)
        token = run_engine.subscribe(live)
        shutter = Shutter(dark, gain if uneven else 1.0)
        center = {"beam_center": [0.0, 0.0]}
        camera = GivenCamera("det", store.frames_directory, frames, center, shutter, NUMBERS)

        def plan() -> Any:
            yield from bps.open_run()
            yield from bps.stage(camera)
            if with_dark:
                shutter.is_open = False
                yield from bps.trigger_and_read([camera], name="dark")
                shutter.is_open = True
                camera.stage()
            for _ in range(flats):
                shutter.is_flat = True
                yield from bps.trigger_and_read([camera], name="flat")
                shutter.is_flat = False
                camera.stage()
            for _ in NUMBERS:
                yield from bps.trigger_and_read([camera])
            yield from bps.unstage(camera)
            yield from bps.close_run()

        run_engine(plan())
        run_engine.unsubscribe(token)
        assert not saver.failures
        return store.runs.values().last()

    yield count
    for close in closed:
        close()


def test_dark_frames_have_no_labels(
    make_live: Callable[..., LiveClassifier], measure: Callable[..., Any]
) -> None:
    run = measure(make_live())
    summary = run.metadata["stop"]["classification"]
    assert summary["frames"] == summary["classified"] == len(NUMBERS)
    assert summary["left_out"] == {"dark/det_image": "dark frames are not classified"}
    table = find_frames(run)
    assert set(table["image_key"]) == {"det_image"}
    assert StoredRun(run).choose_images(None).image_key == "det_image"
    # Nor when they are labelled again.
    done = complete_run(run, Classifier(), everything=True)
    assert done.frames == done.classified == len(NUMBERS)


def assert_labels_are_right(run: Any, classifier: Classifier) -> None:
    """Live, and when all frames are labelled again."""
    table = find_frames(run)
    assert list(table["disk_number"]) == list(table["truth_disk_number"]) == list(NUMBERS)
    assert set(table["flags"]) == {""}
    complete_run(run, classifier, everything=True)
    run.refresh()
    again = find_frames(run)
    assert list(again["disk_number"]) == list(NUMBERS) and set(again["flags"]) == {""}
    np.testing.assert_allclose(again["confidence"], table["confidence"], atol=1e-4)


def test_dark_frames_are_subtracted(
    measure: Callable[..., Any], store: TiledStore, frames: NDArray[Any]
) -> None:
    """By the shipped weights: without it, labels are wrong."""
    classifier = Classifier()
    raw = find_frames(measure(LiveClassifier(classifier)))
    run = measure(LiveClassifier(classifier, FrameSettings(subtract_darks=True)))
    assert list(raw["disk_number"]) != list(NUMBERS)
    assert_labels_are_right(run, classifier)
    # What `speckle explain --run` shows is what was labelled.
    stored = read_stored_frame(store, run.start["uid"], 1)
    assert stored.correction is not None
    np.testing.assert_allclose(stored.correction(stored.pixels), frames[1])
    monitor = Monitor(store)
    with pytest.raises(ValueError, match="corrected by dark frames"):
        monitor.explain(run.start["uid"], "det_image", 1).result(20)
    monitor.close()


def test_no_dark_frame_to_subtract(
    make_live: Callable[..., LiveClassifier], measure: Callable[..., Any]
) -> None:
    run = measure(make_live(FrameSettings(subtract_darks=True)), with_dark=False)
    assert set(find_frames(run)["flags"]) == {"no_dark"}
    (problem,) = run.metadata["stop"]["classification"]["problems"]
    assert "there is none before it" in problem["reason"]


@pytest.mark.parametrize("with_dark", [True, False])
def test_frames_are_divided_by_a_flat_field(
    measure: Callable[..., Any], with_dark: bool, dark: NDArray[Any]
) -> None:
    """By the shipped weights: without it, labels are wrong."""
    if not with_dark:
        dark[:] = 0
    classifier = Classifier()
    settings = FrameSettings(subtract_darks=with_dark)
    as_measured = find_frames(measure(LiveClassifier(classifier, settings), with_dark, True, 1))
    assert list(as_measured["disk_number"]) != list(NUMBERS)
    settings = replace(settings, divide_by_flats=True)
    run = measure(LiveClassifier(classifier, settings), with_dark, uneven=True, flats=2)
    left_out = run.metadata["stop"]["classification"]["left_out"]
    assert left_out["flat/det_image"] == "flat fields are not classified"
    assert StoredRun(run).choose_images(None).image_key == "det_image"
    assert_labels_are_right(run, classifier)


def test_no_flat_field_to_divide_by(
    make_live: Callable[..., LiveClassifier], measure: Callable[..., Any]
) -> None:
    run = measure(make_live(FrameSettings(subtract_darks=True, divide_by_flats=True)))
    assert set(find_frames(run)["flags"]) == {"no_flat"}
    (problem,) = run.metadata["stop"]["classification"]["problems"]
    assert "divided by a flat field: there is none before it" in problem["reason"]


def test_images_called_flat_keep_the_labels_that_older_versions_gave_them() -> None:
    older = FrameSettings().to_configuration()
    del older["flats"], older["divide_by_flats"]
    assert FrameSettings.from_configuration(older).role_of("flat", "det_image") is Role.LIGHT
    assert FrameSettings.from_configuration({}).role_of("flat", "det_image") is Role.FLAT


def test_a_stream_that_is_left_out(
    run_engine: RunEngine,
    make_live: Callable[..., LiveClassifier],
    make_detector: Callable[..., Any],
    documents: Documents,
) -> None:
    from bluesky.preprocessors import baseline_wrapper

    det = make_detector()
    run_engine.subscribe(make_live(FrameSettings(leave_out=("baseline",))))
    run_engine(baseline_wrapper(bp.count([det], 2), [det]))
    assert [row["image_key"] for row in documents.rows()] == ["det_image"] * 2


def test_bluesky_darkframes(
    run_engine: RunEngine,
    make_live: Callable[..., LiveClassifier],
    documents: Documents,
    frames: NDArray[Any],
    dark: NDArray[Any],
    tmp_path: Any,
) -> None:
    """Two runs: the second one tells of the dark frame that was taken for the first."""
    darkframes = pytest.importorskip("bluesky_darkframes", reason="bluesky-darkframes is not installed")
    shutter = Shutter(dark)
    camera = GivenCamera("det", tmp_path, frames, {"beam_center": [0.0, 0.0]}, shutter, NUMBERS)

    def take_dark(detector: Any) -> Any:
        shutter.is_open = False
        yield from bps.trigger(detector, group="bluesky-darkframes-trigger", wait=True)
        shutter.is_open = True
        snapshot = darkframes.SnapshotDevice(detector)
        detector.stage()
        return snapshot

    classifier = Classifier()
    live = LiveClassifier(classifier, FrameSettings(subtract_darks=True))
    live.subscribe(documents)
    run_engine.subscribe(live)
    run_engine.preprocessors.append(
        darkframes.DarkFramePreprocessor(dark_plan=take_dark, detector=camera, max_age=300)
    )
    for _ in range(2):
        run_engine(bp.count([camera], len(NUMBERS)))
    live.close()
    summaries = documents.frame_counts()
    assert [summary["frames"] for summary in summaries] == [len(NUMBERS)] * 2
    rows = documents.rows()
    assert [row["disk_number"] for row in rows] == list(NUMBERS) * 2
    assert {row["flags"] for row in rows} == {""}
