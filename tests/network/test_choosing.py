"""Which network frames get by their k step: live, in files, in stored runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky import plans as bp
from numpy.typing import NDArray

from simulated_devices import PixelGrid, SpeckleDetector, draw_system, grid_by_name, intensity
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.live import LiveClassifier
from speckle_plugin.network import Bundle, find_bundle, shipped_bundles
from speckle_plugin.network.bundle import shipped_networks
from speckle_plugin.network.choosing import ChoosingClassifier, bundle_for, choose_network, open_classifier
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.engines import NetworkOutput
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.reprocess import complete_run
from speckle_plugin.reprocess.consistency import CompletionError
from speckle_plugin.schema import Flag, Status
from speckle_plugin.store import RunSaver, TiledStore, find_frames, find_runs
from tests.testing.camera import GivenCamera
from tests.testing.engine import FakeEngine

QUADRANT, PUBLISHED = (grid_by_name(name).pitch for name in ("quadrant", "published"))


class KnownFeatures(FakeEngine):
    """A fake engine in the place of a shipped network: its features are those of known frames."""

    def __init__(self, bundle: Bundle, **settings: Any) -> None:
        super().__init__({"quadrant": 7, "published": 3}[bundle.name], **settings)
        assert bundle.feature_statistics is not None
        self._features = bundle.feature_statistics.mean

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        logits, _ = super().run(inputs)
        return NetworkOutput(logits, np.repeat(self._features[None], len(inputs), axis=0))


def _choosing() -> ChoosingClassifier:
    return ChoosingClassifier(find_bundle(), KnownFeatures)


def _published() -> Classifier:
    bundle = find_bundle("published")
    return Classifier(bundle, KnownFeatures(bundle))


def test_the_manifests_tell_what_the_bundles_say() -> None:
    """They are read alone, since the weights take a second."""
    for network in shipped_networks():
        bundle = find_bundle(network.name)
        assert network == (bundle.name, bundle.classes, bundle.pitch, bundle.sha256)
    assert [network.name for network in shipped_networks()] == shipped_bundles()


@pytest.mark.parametrize(
    ("k_step", "name"),
    [
        (QUADRANT, "quadrant"),
        (QUADRANT * 1.009, "quadrant"),
        (QUADRANT * 1.25, "quadrant"),  # frames can be resampled to it
        (QUADRANT * 1.35, None),
        (PUBLISHED, "published"),
        (PUBLISHED / 1.009, "published"),
        (0.1, None),
    ],
)
def test_the_network_for_a_k_step(k_step: float, name: str | None) -> None:
    found = choose_network(k_step, shipped_networks())
    assert (found and found.name) == name
    assert bundle_for(k_step).name == (name or "quadrant")
    assert bundle_for(None).name == "quadrant"


def test_frames_that_no_network_is_for_have_no_label_unless_one_is_asked_for() -> None:
    """With the shipped weights: the default network calls frames of the other grid by wrong numbers."""
    rng = np.random.default_rng(18)
    grid = grid_by_name("published", 257)
    frames = [intensity(draw_system("constant_radius", n, rng), grid) for n in (3, 5, 8, 12, 15, 19)]
    geometry = FrameGeometry(grid.shape, grid.beam_center)
    choosing = open_classifier(None, "openvino")
    by_k_step = choosing.for_k_step(grid.pitch).label(frames, geometry, k_step=grid.pitch)
    assert all(result.status is Status.CLASSIFIED and not result.flags for result in by_k_step)
    strange = choosing.for_k_step(2 * grid.pitch).label(frames, geometry, k_step=2 * grid.pitch)
    assert {(r.status, r.disk_number, r.flags) for r in strange} == {
        (Status.FLAGGED, 0, (Flag.WRONG_K_STEP,))
    }
    asked = open_classifier("quadrant", "openvino").for_k_step(grid.pitch)
    labelled = asked.label(frames, geometry, k_step=grid.pitch)
    assert all(r.status is Status.CLASSIFIED and Flag.OTHER_PITCH in r.flags for r in labelled)


def test_a_network_is_loaded_when_its_frames_come() -> None:
    made: list[str] = []

    def make(bundle: Bundle) -> FakeEngine:
        made.append(bundle.name)
        return FakeEngine()

    choosing = ChoosingClassifier(find_bundle(), make)
    assert choosing.ready_for(QUADRANT) is choosing.for_k_step(QUADRANT) is choosing
    assert choosing.ready_for(PUBLISHED) is None and made == ["quadrant"]
    other = choosing.for_k_step(PUBLISHED)
    assert choosing.for_k_step(PUBLISHED) is choosing.ready_for(PUBLISHED) is other
    assert made == ["quadrant", "published"]


def _detectors(folder: Path, make_detector: Callable[..., SpeckleDetector]) -> list[SpeckleDetector]:
    """Give three detectors: one for each shipped network, and one that none is for."""
    steps = {"near": QUADRANT, "far": PUBLISHED, "strange": 5 * QUADRANT}
    return [
        make_detector(name, data_directory=folder, grid=PixelGrid((65, 65), step, (0.0, 0.0)))
        for name, step in steps.items()
    ]


@pytest.fixture
def measured(
    run_engine: RunEngine, store: TiledStore, make_detector: Callable[..., SpeckleDetector]
) -> Callable[..., Any]:
    """Give what measures three frames of each of three detectors, by some classifier, and gives the run."""

    def measure(classifier: Classifier, frames: FrameSettings | None = None) -> Any:
        live = LiveClassifier(classifier, frames)
        saver = RunSaver(store.runs, store.journal_directory)
        live.subscribe(saver, saves=True)
        token = run_engine.subscribe(live)
        try:
            detectors: list[Any] = [*_detectors(store.frames_directory, make_detector)]
            shown = np.random.default_rng(0).exponential(100.0, (3, 65, 65)).astype(np.float32)
            if frames is not None:
                detectors.append(GivenCamera("silent", store.frames_directory, shown))
            result: Any = run_engine(bp.count(detectors, 3))
        finally:
            run_engine.unsubscribe(token)
            live.close()
            saver.close()
        return store.runs[result.run_start_uids[0]]

    return measure


def test_each_detector_of_a_run_has_its_network(store: TiledStore, measured: Callable[..., Any]) -> None:
    run = measured(_choosing())
    table = find_frames(run).set_index("image_key")
    assert set(table.loc["near_image", "disk_number"]) == {7}
    assert set(table.loc["far_image", "disk_number"]) == {3}
    assert set(table.loc["strange_image", "status"]) == {"flagged"}
    assert all("wrong_k_step" in flags.split(",") for flags in table.loc["strange_image", "flags"])
    summary = run.metadata["stop"]["classification"]
    networks = {key: network["model"] for key, network in summary["networks"].items()}
    assert networks == {"near_image": "quadrant", "far_image": "published", "strange_image": "quadrant"}
    assert "no network is for the k step 0.007854" in summary["networks"]["strange_image"]["why"]
    assert (summary["classified"], summary["flagged"]) == (6, 3)
    for name in shipped_bundles():
        assert run.start["uid"] in find_runs(store.runs, model=name)
    assert run.start["uid"] not in find_runs(store.runs, model="mine")
    assert run.start["uid"] not in find_runs(store.runs, model="published", model_version="7")


def test_the_k_step_of_the_settings_is_for_detectors_that_state_none(measured: Callable[..., Any]) -> None:
    """Live, and when all frames are labelled again."""
    run = measured(_choosing(), FrameSettings(beam_center=(0.0, 0.0), k_step=PUBLISHED))
    for again in (False, True):
        if again:
            complete_run(run, _choosing(), everything=True)
            run.refresh()
        table = find_frames(run).set_index("image_key")
        numbers = {key: set(table.loc[key, "disk_number"]) for key in ("near_image", "silent_image")}
        assert numbers == {"near_image": {7}, "silent_image": {3}}
        networks = run.metadata["stop"]["classification"]["networks"]
        assert networks["silent_image"]["model"] == "published"


def test_what_is_left_gets_the_same_networks(measured: Callable[..., Any]) -> None:
    failing = ChoosingClassifier(
        find_bundle(),
        lambda bundle: KnownFeatures(bundle, fails_after=1 if bundle.name == "published" else 2),
    )
    run = measured(failing)
    left = run.metadata["stop"]["classification"]["deferred"]
    assert 0 < left <= 6  # frames that came in one batch fail together
    version = find_bundle("quadrant").version
    with pytest.raises(CompletionError, match=rf"was classified by quadrant {version} .* not by published 1"):
        complete_run(run, _published())
    done = complete_run(run, _choosing())
    assert (done.classified, done.flagged) == (left, 0)
    again = find_frames(run).set_index("image_key")
    assert set(again.loc["far_image", "disk_number"]) == {3}
    assert set(again.loc["near_image", "disk_number"]) == {7}
    assert set(again.loc["strange_image", "disk_number"]) == {0}


def test_a_network_that_was_asked_for_labels_all(measured: Callable[..., Any]) -> None:
    run = measured(_published())
    table = find_frames(run).set_index("image_key")
    assert set(table["disk_number"]) == {3}
    for key, flagged in (("near_image", True), ("far_image", False)):
        assert all(("other_pitch" in flags.split(",")) == flagged for flags in table.loc[key, "flags"])
    networks = run.metadata["stop"]["classification"]["networks"]
    assert networks["far_image"]["why"] == "asked for"
    assert networks["near_image"]["why"].startswith("asked for, though it is for the k step 0.000349")
