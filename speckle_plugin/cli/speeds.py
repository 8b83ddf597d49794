"""Measuring how fast this machine classifies, and what bounds it: for `speckle bench` and `benchmarks/`.

Every speed is measured beside the limit that it is compared with, in one process, so that their
ratio says something on any machine.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from simulated_devices import DetectorResponse, SampleMap, SpeckleDetector, SpeckleSample, quadrant
from simulated_devices.frame_files import write_frames
from speckle_plugin.live import PipelineSettings
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.stage_times import StageTimes

if TYPE_CHECKING:
    from simulated_devices.exposures import Truth
    from speckle_plugin.live import RunReport
    from speckle_plugin.session import Session

__all__ = [
    "PATIENT",
    "LiveSpeed",
    "ReadyDetector",
    "engine_and_machine",
    "live_burst",
    "live_scan",
    "make_detector",
    "network_operations",
    "one_frame_latency",
    "preparation_share",
    "resident_mebibytes",
    "sample_frames",
    "tell_stages",
]

SEED = 1

PATIENT = PipelineSettings(drain_timeout=3600.0)
"""A burst counts when its last frame is classified, on a slow machine too."""

ROUNDS = 3
MEASURED = 2.0
"""Seconds that a rate is measured for, each round."""

MATRIX_SIZE = 2048


class ReadyDetector(SpeckleDetector):
    """Makes no frames while it measures: each exposure is another name of a file that was written before.

    So it leaves the processor to what is measured, as a real detector does, whose frames come from
    another machine. Their truth is not that of their events.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._ready: dict[int, Path] = {}

    def make_ready(self, frames: int) -> None:
        """Write the file of exposures of so many frames, 64 different ones of equal disks."""
        if frames not in self._ready:
            shape = (frames, *self.grid.shape)
            images = itertools.islice(itertools.cycle(sample_frames(min(64, frames), shape[1])), frames)
            path = self.data_directory / f"{self.name}-ready-{frames}.h5"
            write_frames(path, images, shape, self.response.dtype)
            self._ready[frames] = path

    def _write(self, path: Path, truth: Truth, frames: int) -> None:
        self.make_ready(frames)
        os.link(self._ready[frames], path)


def make_detector(directory: Path | str, name: str, size: int = 257, **settings: Any) -> ReadyDetector:
    """Make a detector whose frames are ready in files, in a folder."""
    return ReadyDetector(
        name=name,
        sample=SpeckleSample(name=f"{name}_sample", sample_map=SampleMap(), seed=SEED),
        grid=quadrant(size),
        response=DetectorResponse(dtype="float32"),
        data_directory=directory,
        seed=SEED,
        **settings,
    )


def sample_frames(count: int, size: int = 257, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Make frames of equal disks, shape (count, size, size)."""
    from simulated_devices import draw_system, intensity

    rng = np.random.default_rng(SEED)
    grid = quadrant(size)
    frames = np.stack([intensity(draw_system("mono", 2 + i % 19, rng), grid) for i in range(count)])
    if np.dtype(dtype).kind == "u":
        frames = frames / frames.max() * np.iinfo(dtype).max
    return frames.astype(dtype)


def engine_and_machine(classifier: Classifier, inputs: NDArray[np.float32]) -> tuple[float, float | None]:
    """Measure the engine on batches of inputs that are ready, and the machine's limit, in turn.

    The limit is that of large matrix products in the same precision; they run in OpenVINO as the
    network does, on a CPU. Of each the best of three, as other work on the machine comes and goes.

    Parameters
    ----------
    classifier : Classifier
    inputs : array, shape (N, views, rows, columns)

    Returns
    -------
    frames/s, and floating-point operations/s; None for another engine than OpenVINO
    """
    product = _matrix_product(classifier.engine.precision) if classifier.engine.name == "openvino" else None
    rates, limits = [], []
    for _ in range(ROUNDS):
        rates.append(len(inputs) * _rate(lambda: classifier.infer(inputs)))
        if product is not None:
            limits.append(2.0 * MATRIX_SIZE**3 * _rate(product))
    return max(rates), max(limits, default=None)


def _matrix_product(precision: str) -> Callable[[], object]:
    import openvino as ov
    from openvino import opset13 as ops

    left = ops.parameter([MATRIX_SIZE, MATRIX_SIZE], np.float32)
    right = np.random.default_rng(SEED).normal(size=(MATRIX_SIZE, MATRIX_SIZE)).astype(np.float32)
    options = {"INFERENCE_PRECISION_HINT": {"bfloat16": "bf16"}.get(precision, "f32")}
    model = ov.Model([ops.matmul(left, right, False, False)], [left])
    compiled = ov.Core().compile_model(model, "CPU", options)
    values = np.ones((MATRIX_SIZE, MATRIX_SIZE), np.float32)
    return lambda: compiled(values)


def network_operations(classifier: Classifier, inputs: NDArray[np.float32]) -> float:
    """Give the floating-point operations that the network takes for one frame.

    Parameters
    ----------
    classifier : Classifier
    inputs : array, shape (N, views, rows, columns)
    """
    from speckle_plugin.network.engines.openvino import operations

    return inputs.shape[1] * operations(classifier.bundle, (inputs.shape[2], inputs.shape[3]))


def resident_mebibytes() -> float:
    """Give the memory that this process holds, in MiB; on Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def one_frame_latency(classifier: Classifier, inputs: NDArray[np.float32]) -> float:
    """Give the seconds that the engine takes for a single frame, the median."""
    durations = []
    for _ in range(20):
        started = time.perf_counter()
        classifier.infer(inputs[:1])
        durations.append(time.perf_counter() - started)
    return float(np.median(durations))


def preparation_share(classifier: Classifier, frames: NDArray[Any]) -> float:
    """Give the time of checking and preparing frames, as a part of the time of classifying them."""
    times = StageTimes()
    geometry = FrameGeometry(frames.shape[1:])
    for _ in range(4):
        classifier.label(list(frames), geometry, times=times)
    return times.seconds["prepare"] / times.seconds["classify"]


class LiveSpeed:
    """What a live scan took.

    Parameters
    ----------
    frames : int
    seconds : float
        From the call of the plan to its return: everything is stored then.
    report : RunReport
    """

    def __init__(self, frames: int, seconds: float, report: RunReport) -> None:
        self.frames, self.seconds, self.report = frames, seconds, report

    @property
    def rate(self) -> float:
        """Frames/s."""
        return self.frames / self.seconds


def live_burst(session: Session, detector: ReadyDetector, frames: int, per_trigger: int = 200) -> LiveSpeed:
    """Classify a burst live: through documents, files, pipeline and Tiled."""
    import bluesky.plans as bp

    per_trigger = min(per_trigger, frames)
    detector.frames_per_trigger.put(per_trigger)
    detector.make_ready(per_trigger)
    return live_scan(
        session, bp.count([detector], frames // per_trigger), frames // per_trigger * per_trigger
    )


def live_scan(session: Session, plan: Any, frames: int) -> LiveSpeed:
    """Run a plan that takes so many frames.

    Raises
    ------
    RuntimeError
        If frames were left without a label, or the run is not in Tiled: the speed would be of something else.
    """
    started = time.perf_counter()
    (uid,) = cast("tuple[str, ...]", session.RE(plan))
    seconds = time.perf_counter() - started
    report = session.live.reports[uid]
    if report.summary and report.summary["classified"] != frames:
        raise RuntimeError(
            f"of {frames} frames not all were classified, so this is no speed: {report.summary}"
        )
    if session.saver.failures:
        raise RuntimeError("; ".join(session.saver.failures.values()))
    return LiveSpeed(frames, seconds, report)


def tell_stages(speed: LiveSpeed) -> list[tuple[str, str, str]]:
    """Give the rows of a table of stages: name, milliseconds a frame, and part of the scan's time."""
    per_frame = speed.seconds / speed.frames
    rows = []
    for stage, seconds in speed.report.summary["seconds_per_frame"].items():
        share = "" if stage == "wait" else f"{seconds / per_frame:.1%}"
        rows.append((stage, f"{seconds * 1e3:.2f}", share))
    return rows


def _rate(call: Callable[[], object]) -> float:
    """Give how often a second something can be called."""
    call()
    started, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < MEASURED:
        call()
        calls += 1
    return calls / passed
