"""Write the results of reprocessing as a new result stream, whole, and make it the newest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from speckle_plugin.documents.descriptors import Detector, FrameSettings
from speckle_plugin.documents.frame_finder import FrameReference
from speckle_plugin.documents.structure_counts import StructureCounts
from speckle_plugin.frames.stated import to_record
from speckle_plugin.live.results import RunResults
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.reprocess.parts import Results
from speckle_plugin.reprocess.task import Frame, Task
from speckle_plugin.schema import NO_DISK_NUMBER, STRUCTURE_SUMMARY, join_flags
from speckle_plugin.stage_times import StageTimes
from speckle_plugin.store import StoredRun
from speckle_plugin.store.read.results import free_stream

__all__ = ["write_results"]


def write_results(
    task: Task,
    settings: FrameSettings,
    detectors: Mapping[str, Detector],
    results: Results,
    classifier: Classifier,
    times: StageTimes,
) -> str:
    """Write a row for every frame of a run: new results, those that stay, and labels better than a flag.

    Returns
    -------
    str
        Name of the stream.
    """
    from speckle_plugin.store.write.run_writer import ResultStreamWriter  # imports Tiled

    stored = task.stored
    stream = free_stream(stored.run)
    writer = ResultStreamWriter(stored.run)
    rows = RunResults(stored.start, writer, settings, stream=stream)
    rows.times.add(times.seconds)
    for key, images in task.images.items():
        rows.note_stated(key, to_record(images.statements))
    model = stored.results.model
    labels: dict[Frame, int] = {}
    for frame in task.frames:
        k_step = detectors[frame[0]].k_step
        if frame in task.kept:
            labels[frame] = task.kept[frame].data["disk_number"]
            rows.take_over(task.kept[frame].data, task.kept[frame].time, classifier, k_step=k_step)
            continue
        result, problem = results[frame]
        if better := task.better(frame, result):
            data = _of_classes(better.data, model.get("classes") or (), classifier.bundle.classes)
            reason = (
                f"not labelled again, being {join_flags(result.flags)}: the label by {model.get('model')} "
                f"{model.get('model_version')} (SHA-256 {str(model.get('weights_sha256'))[:12]}) is kept"
            )
            labels[frame] = data["disk_number"]
            rows.take_over(data, better.time, classifier, reason, k_step)
            continue
        reference = FrameReference(detectors[frame[0]], frame[1], *task.event_of(frame))
        rows.expect(reference)
        labels[frame] = result.disk_number
        rows.close_frame(reference, result, classifier, problem)
    writer.publish({**rows.stop(stored.stop or {}), **_structures_beside(stored, labels)})
    return stream


def _structures_beside(stored: StoredRun, labels: Mapping[Frame, int]) -> dict[str, Any]:
    """Give the summary of second opinions, if there are any: with other labels, other frames disagree."""
    if not stored.structure_summary:
        return {}
    counts = StructureCounts()
    for frame, row in stored.structures.rows.items():
        counts.add(row.data, labels.get(frame, NO_DISK_NUMBER))
    return {STRUCTURE_SUMMARY: {**stored.structure_summary, "disagree": counts.summary()["disagree"]}}


def _of_classes(data: Mapping[str, Any], before: Sequence[int], now: Sequence[int]) -> dict[str, Any]:
    """Give a row with its probabilities for the disk numbers of another network; 0 for those it lacked."""
    known = dict(zip(before or now, data["probabilities"], strict=False))
    return {**data, "probabilities": [known.get(number, 0.0) for number in now]}
