"""Measuring how fast this machine classifies, and what bounds it: for `speckle bench` and `benchmarks/`.

Every speed is measured beside the limit that it is compared with, in one process, so that their
ratio says something on any machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from bluesky.protocols import Readable
from numpy.typing import NDArray

from speckle_plugin.live import PipelineSettings
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.stage_times import StageTimes

if TYPE_CHECKING:
    from speckle_plugin.live import RunReport
    from speckle_plugin.session import Session

__all__ = [
    "PATIENT",
    "BurstDetector",
    "LiveSpeed",
    "engine_and_machine",
    "live_burst",
    "live_scan",
    "measure_engine",
    "network_operations",
    "one_frame_latency",
    "preparation_share",
    "resident_mebibytes",
    "tell_stages",
]

PATIENT = PipelineSettings(drain_timeout=3600.0)
"""A burst counts when its last frame is classified, on a slow machine too."""

ROUNDS = 3
MEASURED = 2.0
"""Seconds that a rate is measured for, each round."""

MATRIX_SIZE = 2048
SEED = 1


class BurstDetector(Readable[Any], Protocol):
    """A detector that has the frames of a burst ready, such as `simulated_devices.ready_detector` has."""

    frames_per_trigger: Any

    def make_ready(self, frames: int) -> None:
        """Have the frames of one trigger ready."""


def measure_engine(classifier: Classifier, frames: NDArray[Any]) -> dict[str, Any]:
    """Measure the engine on a batch of frames, shape (N, rows, columns), beside the machine's limit."""
    inputs = classifier.prepare(frames, FrameGeometry(frames.shape[1:]))
    engine = classifier.engine
    operations = network_operations(classifier, inputs)
    rate, limit = engine_and_machine(classifier, inputs)
    numbers = {
        "engine": f"{engine.name}, {engine.precision}, {engine.device}",
        "batch": len(frames),
        "network_gflop_per_frame": operations / 1e9,
        "engine_frames_per_s": rate,
        "one_frame_ms": one_frame_latency(classifier, inputs) * 1e3,
        "preprocessing_over_classification": preparation_share(classifier, frames),
    }
    if limit is not None:
        numbers |= {
            "machine_gflop_per_s": limit / 1e9,
            "machine_frames_per_s": limit / operations,
            "engine_over_machine": rate * operations / limit,
        }
    return numbers


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


def live_burst(session: Session, detector: BurstDetector, frames: int, per_trigger: int = 200) -> LiveSpeed:
    """Classify a burst live: through documents, files, pipeline and Tiled."""
    import bluesky.plans as bp

    per_trigger = min(per_trigger, frames)
    detector.frames_per_trigger.put(per_trigger)
    detector.make_ready(per_trigger)
    return live_scan(
        session, bp.count([detector], frames // per_trigger), frames // per_trigger * per_trigger
    )


def live_scan(session: Session, plan: Any, frames: int) -> LiveSpeed:
    """Run a plan that takes this number of frames.

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
