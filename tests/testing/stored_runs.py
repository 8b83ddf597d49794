"""Runs of the simulated detector in a real store, classified live, and a small parent for them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bluesky import RunEngine
from bluesky import plan_stubs as bps
from bluesky import plans as bp

from simulated_devices import DetectorResponse, PixelGrid, SampleMap, SpeckleDetector, SpeckleSample, quadrant
from speckle_plugin.live import LiveClassifier, SecondOpinion
from speckle_plugin.network import Bundle, find_bundle, save_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.store import RunSaver, Store
from tests.testing.engine import FakeEngine
from training.recipe import FrameRecipe, TrainingRecipe

CLASSES = (2, 7, 20)
SETTINGS = Preprocessing(crop=33)
FRAMES = FrameRecipe(size=65, disk_numbers=CLASSES)


class BlindDetector(SpeckleDetector):
    """A detector as real ones are: it does not know what its frames show."""

    def describe(self) -> Any:
        return {key: spec for key, spec in super().describe().items() if "_truth_" not in key}

    def read(self) -> Any:
        return {key: reading for key, reading in super().read().items() if "_truth_" not in key}

    @property
    def hints(self) -> dict[str, Any]:
        return {"fields": []}


def measure(
    engine: RunEngine,
    store: Store,
    count: int = 6,
    *,
    disk_numbers: Sequence[int] = CLASSES,
    grid: PixelGrid | None = None,
    seed: int = 1,
    classified: bool = True,
    response: DetectorResponse | None = None,
    second_opinion: SecondOpinion | None = None,
    truth: bool = True,
    held: Callable[[int], bool] | None = None,
    **metadata: Any,
) -> str:
    """Scan a sample along x, with `count` frames, and save the run; gives its uid.

    Without `truth` the detector does not tell the disk numbers. `held` is told the frames so far, after each
    one; the scan waits while it is true, but not longer than 30 s.
    """
    sample_map = SampleMap("gradient", disk_numbers=tuple(disk_numbers))
    sample = SpeckleSample(name="sample", sample_map=sample_map, family="poly", seed=seed)
    detector: Any = (SpeckleDetector if truth else BlindDetector)(
        name="det",
        sample=sample,
        data_directory=store.frames_directory,
        grid=quadrant(65) if grid is None else grid,
        response=response,
        seed=seed,
    )
    saver = RunSaver(store.runs, store.journal_directory)
    bundle = Bundle("sevens", "0", CLASSES, SETTINGS, {})
    live = LiveClassifier(Classifier(bundle, FakeEngine(classes=CLASSES)), second_opinion=second_opinion)
    live.subscribe(saver)
    token = engine.subscribe(live if classified else saver)
    try:
        result: Any = engine(
            bp.scan([detector], sample.x, -1, 1, count, per_step=_then_wait(held), md=metadata)
        )
    finally:
        engine.unsubscribe(token)
        live.close()
        saver.close()
    return str(result.run_start_uids[0])


def _then_wait(held: Callable[[int], bool] | None) -> Any:
    frames = itertools.count(1)

    def per_step(detectors: Any, step: Any, pos_cache: Any) -> Any:
        yield from bps.one_nd_step(detectors, step, pos_cache)
        taken, end = next(frames), time.monotonic() + 30.0
        while held is not None and held(taken) and time.monotonic() < end:
            yield from bps.sleep(0.05)

    return per_step


def small_parent(path: Path, **changes: Any) -> Bundle:
    """Make a bundle for three disk numbers out of the shipped network, for crops of 33 x 33 pixels.

    No network is built here: with TensorFlow in this process, Tiled's logging would break pytest's.
    """
    shipped = find_bundle()
    columns = [shipped.classes.index(n) for n in CLASSES]
    weights = {
        name: value[..., columns] if name.startswith("logits/") else value
        for name, value in shipped.weights.items()
    }
    recipe = TrainingRecipe("small", "1", frames=FRAMES, preprocessing=SETTINGS, batch=4)
    bundle = replace(
        shipped,
        name="small",
        classes=CLASSES,
        feature_statistics=None,
        preprocessing=SETTINGS,
        weights=weights,
        training={"recipe": asdict(recipe), "seed": 0},
        metrics={},
    )
    return save_bundle(replace(bundle, **changes), path)
