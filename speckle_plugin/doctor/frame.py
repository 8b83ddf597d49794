"""A file of frames as a session would take it: what is read, which mask, which centre, which label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.doctor.finding import Finding, broken, fine, note
from speckle_plugin.frames.center import center_disagrees
from speckle_plugin.frames.files import FrameFile, open_frames
from speckle_plugin.frames.hot_pixels import hot_pixel_advice
from speckle_plugin.network import Bundle
from speckle_plugin.preprocessing import FrameGeometry, view_shape
from speckle_plugin.preprocessing.marked_pixels import marked_pixels, without_marked_pixels
from speckle_plugin.preprocessing.orientation import ORIENTATIONS
from speckle_plugin.preprocessing.resampling import LARGEST_CHANGE, SAME_K_STEP
from speckle_plugin.schema import Flag, Status
from speckle_plugin.settings import Settings, SettingsError

if TYPE_CHECKING:
    from speckle_plugin.network.classifier import Classifier, FrameResult

__all__ = ["examine_frame"]

REMEDIES = {
    Flag.WRONG_SHAPE: "give a dataset of numbers with rows and columns: --dataset",
    Flag.UNREADABLE: "can another program open the file? Copy it again",
    Flag.UNUSABLE_GEOMETRY: "mask and beam centre leave too little of the frame: correct them",
    Flag.NEGATIVE: "was too much subtracted as dark? If negative values mark pixels, mask these",
    Flag.SATURATED: "shorten the exposure, or attenuate the beam",
    Flag.EMPTY: "is the shutter open, and the mask the right way round?",
    Flag.NON_FINITE: "mask the pixels that are not finite",
    Flag.OTHER_PITCH: "speckle models NAME tells for which k step a network is; take another network",
    Flag.WRONG_K_STEP: "no network of the package is for it: train one, or set model to label all the same",
    Flag.RESAMPLED: "frames are resampled; finer pixels cost nothing, coarser ones do (docs/results.md)",
    Flag.ASSUMED_CENTER: "state the beam centre: speckle center finds it",
    Flag.OUT_OF_DISTRIBUTION: "unlike the frames that the network was trained on: do not trust its label",
    Flag.CENTER_DISAGREES: "correct the beam centre: speckle center finds it",
    Flag.HOT_PIXELS: "mask the pixels that stand out",
    Flag.NO_DARK: "measure a dark frame, or set subtract_darks = false",
    Flag.NO_FLAT: "measure a flat field, or set divide_by_flats = false",
    Flag.ODD_FEATURES: "unlike the frames that the network was trained on: do not trust its label",
    Flag.ODD_STATISTICS: "unlike the frames that the network was trained on: do not trust its label",
    Flag.ODD_NUMBER: "more or fewer disks than the network tells apart: have it solved (speckle solve)",
    Flag.ODD_K_STEP: "is the k step that the detector states right?",
    Flag.ODD_PIXELS: "mask hot and dead pixels",
    Flag.ODD_LINES: "mask the lines that do not count",
    Flag.ODD_BEAM: "correct the beam centre: speckle center finds it",
    Flag.ODD_CONTRAST: "does the sample or the beam move, is the beam less coherent than thought?",
    Flag.ODD_NOISE: "look at background, exposure and dark frames",
    Flag.ODD_SHAPE: "these may be no disks: have the frame solved (speckle solve)",
    Flag.ODD_MASK: "take a smaller beam stop, or have the frame solved (speckle solve)",
}


def examine_frame(
    path: Path, settings: Settings, classifier: Classifier | None, dataset: str | None = None
) -> Iterator[Finding]:
    """Look at the first frame of a file; without a classifier, as far as that goes."""
    try:
        frames = open_frames(path, dataset).turned(ORIENTATIONS[settings.orientation])
        pixels = frames.read_frame(0)
    except (ValueError, OSError) as error:
        yield broken("frame", str(error), "give a file of frames, and --dataset where there are several")
        return
    rows, columns = pixels.shape
    yield fine(
        "frame",
        f"{frames.shape[0]} frames of {rows} x {columns} pixels, {frames.dtype}; values of the first "
        f"from {np.nanmin(pixels):g} to {np.nanmax(pixels):g}",
    )
    try:
        mask, found = _mask(frames, pixels, settings)
    except SettingsError as error:
        yield broken("mask", str(error), "correct the setting mask")
        return
    yield found
    try:
        center, where = _center(frames, settings)
    except SettingsError as error:
        yield broken("beam centre", str(error), "correct the setting geometry")
        return
    geometry = FrameGeometry((rows, columns), center, mask)
    yield _beam(pixels, geometry, where)
    if advice := hot_pixel_advice([pixels], geometry):
        yield note("hot pixels", advice, "add them to the mask")
    if classifier is None:
        yield note("label", "none, since there is no network", "mend the network first: see above")
        return
    k_step = frames.statements.k_step or settings.read_beam()[1]
    classifier = classifier.for_k_step(k_step)
    bundle = classifier.bundle
    yield _k_step(k_step, bundle)
    geometry = without_marked_pixels(pixels, geometry, bundle.preprocessing)
    try:
        view_shape(bundle.preprocessing, geometry)
    except ValueError as error:
        yield broken(
            "network", f"{bundle.name} can't use these frames: {error}", "take another network or mask"
        )
        return
    (result,) = classifier.label([pixels], geometry, frames.statements.saturation_level, k_step=k_step)
    yield from _label(result, bundle.name)


def _mask(
    frames: FrameFile, pixels: NDArray[Any], settings: Settings
) -> tuple[NDArray[np.bool_] | None, Finding]:
    masks = settings.read_masks()
    own = frames.statements.mask
    parts = [] if own is None else [f"{np.count_nonzero(own)} by the file"]
    mask = own
    for name, read in masks.items():
        if read.shape == pixels.shape:
            mask = read if mask is None else mask | read
            parts.append(f"{np.count_nonzero(read)} by the setting mask ({name})")
            break
    marked = marked_pixels(pixels)
    if marked is not None:
        parts.append(f"{np.count_nonzero(marked)} that the detector marks")
    if masks and not any(read.shape == pixels.shape for read in masks.values()):
        shapes = ", ".join(str(read.shape) for read in masks.values())
        text = f"the setting mask has the shape {shapes}, these frames have {pixels.shape}"
        return mask, note("mask", text, "give a mask of these frames, if they are of your detector")
    if not parts:
        return mask, fine("mask", "no pixel is left out")
    return mask, fine("mask", "pixels left out: " + ", ".join(parts))


def _center(frames: FrameFile, settings: Settings) -> tuple[tuple[float, float], str]:
    if frames.statements.beam_center is not None:
        return frames.statements.beam_center, "by the file"
    if (center := settings.read_beam()[0]) is not None:
        return center, f"by the setting {'geometry' if settings.beam_center is None else 'beam_center'}"
    return (0.0, 0.0), ""


def _beam(pixels: NDArray[Any], geometry: FrameGeometry, where: str) -> Finding:
    row, column = geometry.beam_center
    seen = center_disagrees(pixels, geometry.beam_center, geometry.mask)
    if not where:
        remedy = "state it: the setting beam_center, or the detector's NAME_beam_center"
        if seen is not None:
            remedy += (
                f"; the frame shows it near row {seen.row:.0f}, column {seen.column:.0f} (speckle center)"
            )
        return note("beam centre", "nothing states it: pixel (0, 0) is taken, each frame is flagged", remedy)
    if seen is not None:
        return broken(
            "beam centre",
            f"row {row:g}, column {column:g} {where}, but the frame shows it near row {seen.row:.0f}, column "
            f"{seen.column:.0f}",
            "correct it (speckle center); is it given as (x, y), which is (column, row)?",
        )
    return fine("beam centre", f"row {row:g}, column {column:g}, {where}")


def _k_step(stated: float | None, bundle: Bundle) -> Finding:
    known = bundle.pitch
    if not stated or not known:
        return note(
            "k step",
            f"{stated or 'not stated'}; the network {bundle.name} is for {known or 'any'}",
            "have the detector state it (NAME_pitch), or set k_step or geometry: it chooses the network, and "
            "frames that none is for are flagged",
        )
    change = abs(stated / known - 1)
    if change > SAME_K_STEP:
        flag = Flag.RESAMPLED if change <= LARGEST_CHANGE else Flag.OTHER_PITCH
        text = f"{stated:g}; the network {bundle.name} is for {known:g}"
        return note("k step", text, REMEDIES[flag])
    return fine("k step", f"{stated:g}, that of the network {bundle.name}")


def _label(result: FrameResult, name: str) -> Iterator[Finding]:
    for flag in result.flags:
        yield note("flag", str(flag), REMEDIES[flag])
    if result.status == Status.CLASSIFIED:
        text = f"{result.disk_number} disks ({result.confidence:.1%}) by {name}"
        if Flag.OUT_OF_DISTRIBUTION in result.flags:
            yield note("label", text + ", which knows no such frames", REMEDIES[Flag.OUT_OF_DISTRIBUTION])
        else:
            yield fine("label", text)
    else:
        yield broken("label", f"none: {result.status}, {', '.join(result.flags)}", "see the flags above")
