"""How fast frames are classified live, beside the engine alone, in one run.

A burst of frames goes through documents, HDF5 files, pipeline and Tiled; the same frames
then go through the engine in batches of the same size. Prints frames/s of both and their
ratio. Run it on an idle machine: ``make bench``.
"""

from __future__ import annotations

import tempfile
import time

import bluesky.plans as bp
import numpy as np

from simulated_devices import SampleMap, SpeckleDetector, SpeckleSample
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.session import start_session

FRAMES_PER_TRIGGER = 128
TRIGGERS = 3


def main() -> None:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory() as folder,
        start_session(folder, table=False) as session,
    ):
        classifier = session.live.classifier
        sample = SpeckleSample(name="sample", sample_map=SampleMap(), seed=1)
        det = SpeckleDetector(
            name="det",
            sample=sample,
            data_directory=session.store.frames_directory,
            frames_per_trigger=FRAMES_PER_TRIGGER,
            seed=1,
        )
        session.RE(bp.count([det], 1))  # compiles the simulator, warms the engine
        started = time.perf_counter()
        session.RE(bp.count([det], TRIGGERS))
        live = FRAMES_PER_TRIGGER * TRIGGERS / (time.perf_counter() - started)

        batch = session.live.settings.batch
        frames = session.catalog[-1]["primary"]["det_image"].read()[0][:batch]
        inputs = classifier.prepare(frames, FrameGeometry(frames.shape[1:]))
        repeats = 4
        started = time.perf_counter()
        for _ in range(repeats):
            classifier.infer(inputs)
        engine = batch * repeats / (time.perf_counter() - started)
        started = time.perf_counter()
        for _ in range(repeats):
            classifier.prepare(np.asarray(frames), FrameGeometry(frames.shape[1:]))
        prepare = batch * repeats / (time.perf_counter() - started)

        single = []
        for _ in range(20):
            started = time.perf_counter()
            classifier.infer(inputs[:1])
            single.append(time.perf_counter() - started)
    name = f"{classifier.engine.name}, {classifier.engine.precision}, {classifier.engine.device}"
    print(f"engine alone       {engine:8.1f} frames/s ({name}; batches of {batch})")
    print(f"one frame          {np.median(single) * 1e3:8.1f} ms")
    print(
        f"preprocessing      {prepare:8.1f} frames/s ({engine / prepare:.1%} of the time of classification)"
    )
    print(f"live, end to end   {live:8.1f} frames/s (a burst of {FRAMES_PER_TRIGGER * TRIGGERS} frames)")
    print(f"live / engine      {live / engine:8.2f}")


if __name__ == "__main__":
    main()
