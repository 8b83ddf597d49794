"""What must hold of labelled frames before a network is trained further on them.

Each check ends in a message that names the runs, before anything slow begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from speckle_plugin.network import Bundle
from speckle_plugin.network.fitness import unfit_flag
from speckle_plugin.preprocessing import usable_pixels, view_shape
from speckle_plugin.preprocessing.resampling import SAME_K_STEP
from training.frames import frame_geometry
from training.progress import Report
from training.recipe import FrameRecipe
from training.stored_frames import LabelledFrame, LabelledFrames

__all__ = ["LEAST_FRAMES", "Say", "check_geometry", "check_labels", "leave_out_unfit"]

Say = Callable[[str], None]
"""Told what is to be known, a line at a time."""

LEAST_FRAMES = 10
"""Fewer labelled frames than this are neither split nor trained on."""


def check_labels(parent: Bundle, labelled: LabelledFrames) -> None:
    """See that there are enough labels, all known to the parent, of two disk numbers at least.

    Raises
    ------
    ValueError
        If not.
    """
    if len(labelled) < LEAST_FRAMES:
        raise ValueError(
            f"{len(labelled)} labelled frames are too few to split and to learn from: at least "
            f"{LEAST_FRAMES} are needed, of two runs and two disk numbers; widen the query, or measure more"
        )
    counts = labelled.disk_numbers
    unknown = {n: count for n, count in counts.items() if n not in parent.classes}
    if unknown:
        listed = ", ".join(f"{n} ({count} frames)" for n, count in unknown.items())
        raise ValueError(
            f"labels that the parent {parent.name!r} does not know: {listed}. Its disk numbers are "
            f"{', '.join(map(str, parent.classes))}; correct the labels or leave those frames out "
            "(0 stands for no label)"
        )
    if len(counts) < 2:
        raise ValueError(
            f"all {len(labelled)} labelled frames show {next(iter(counts))} disks: a network can't learn to "
            "tell disk numbers apart from one of them; widen the query"
        )


def check_geometry(parent: Bundle, labelled: LabelledFrames, simulated: FrameRecipe | None) -> None:
    """See that the network can be trained on all frames together.

    Parameters
    ----------
    parent : Bundle
    labelled : LabelledFrames
    simulated : FrameRecipe or None
        The simulated frames among which they are mixed.

    Raises
    ------
    ValueError
        If frames are of another size or k step than others, or than the parent can use; it says which runs.
    """
    views: dict[tuple[int, ...], dict[str, None]] = {}
    steps: dict[float, dict[str, None]] = {}
    for frame in _one_of_each(labelled):
        try:
            shape = view_shape(parent.preprocessing, frame.geometry)[1:]
        except ValueError as error:
            raise ValueError(
                f"the parent {parent.name!r} can't use the frames of the run {frame.run_uid}: {error}"
            ) from error
        views.setdefault(shape, {})[frame.run_uid] = None
        if frame.k_step:
            steps.setdefault(frame.k_step, {})[frame.run_uid] = None
    wanted: tuple[int, ...] | None = None
    if simulated is not None:
        wanted = view_shape(parent.preprocessing, frame_geometry(simulated))[1:]
    if len(views) > 1 or (wanted is not None and wanted not in views):
        expected = (
            "" if wanted is None else f"; simulated frames of the parent's recipe give {_pixels(wanted)}"
        )
        raise ValueError(
            "frames of one size only can be trained on together. The network would see "
            + "; ".join(f"{_pixels(shape)} of {_runs(uids)}" for shape, uids in views.items())
            + f"{expected}. Choose runs of one size by the query"
            + ("" if wanted is None else ", or take no simulated frames (share 0)")
        )
    known = parent.pitch or next(iter(steps), None)
    others = {p: uids for p, uids in steps.items() if known and abs(p / known - 1.0) > SAME_K_STEP}
    if others:
        source = f"the parent {parent.name!r} was trained on" if parent.pitch else "other runs have"
        raise ValueError(
            f"{source} a k step of {known:.6g} per pixel, but the frames have another: "
            + "; ".join(f"{step:.6g} of {_runs(uids)}" for step, uids in others.items())
            + ". Leave those runs out by the query, or train a network for their detector"
        )


def _one_of_each(labelled: LabelledFrames) -> Iterable[LabelledFrame]:
    return {(f.run_uid, f.image_key): f for f in labelled.frames}.values()


def leave_out_unfit(
    parent: Bundle, labelled: LabelledFrames, report: Report | None, say: Say
) -> LabelledFrames:
    """Leave out frames in which the network would see nothing, and tell how many.

    All frames are read for it, so that one that can't be read is found before the training.

    Raises
    ------
    ValueError
        If too few frames are left, or one can't be read.
    """
    fit = []
    for i, drawn in enumerate(labelled.read()):
        pixels = drawn.frame[usable_pixels(drawn.geometry, parent.preprocessing)]
        if unfit_flag(pixels.min(), pixels.max()) is None:
            fit.append(i)
        if report:
            report("read", i + 1, len(labelled), {})
    if labelled.left_out:
        why = labelled.why_left_out or "unfit, or without a label"
        say(f"{labelled.left_out} frames of the runs are left out: {why}")
    if len(fit) < len(labelled):
        say(f"{len(labelled) - len(fit)} frames are left out: not finite, or all pixels alike")
        labelled = labelled.select(fit)
        check_labels(parent, labelled)
    assumed = sorted({f.run_uid for f in labelled.frames if f.center_assumed})
    if assumed:
        say(f"the detector does not state where the beam is: pixel (0, 0) is taken for {_runs(assumed)}")
    return labelled


def _pixels(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) + " pixels"


def _runs(uids: Iterable[str], most: int = 3) -> str:
    uids = list(uids)
    more = f" and {len(uids) - most} more" if len(uids) > most else ""
    return f"the run{'s' if len(uids) > 1 else ''} {', '.join(uids[:most])}{more}"
