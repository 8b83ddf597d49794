"""What a detector's file says of its frames, put beside what documents and the user say of the detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from speckle_plugin.documents.descriptors import Detector
from speckle_plugin.frames.source import Statements
from speckle_plugin.preprocessing import FrameGeometry, hash_mask

__all__ = ["SAME_PIXEL", "from_record", "to_record", "with_statements"]

SAME_PIXEL = 1.0
"""Two beam centres that differ by less, in pixels, are not worth a word."""


def with_statements(detector: Detector, statements: Statements) -> tuple[Detector, str]:
    """Add what a file says to a detector.

    Documents come first, then the file, then the user's settings for detectors that say nothing. A mask of
    the file and one of the user are joined.

    Parameters
    ----------
    detector : Detector
    statements : Statements
        A mask of another shape than the frames is not taken.

    Returns
    -------
    Detector
    str
        What is to be told; empty if nothing is.
    """
    detector = replace(
        detector,
        k_step=detector.k_step if detector.k_step_stated else statements.k_step or detector.k_step,
        saturation_level=detector.saturation_level or statements.saturation_level,
    )
    known = detector.geometry
    if known is None:
        return detector, ""
    center, mask, problem = known.beam_center, known.mask, ""
    if statements.beam_center is not None and not detector.center_stated:
        if not detector.center_assumed and _differ(center, statements.beam_center):
            problem = (
                f"{detector.image_key}: the file says that the beam is at "
                f"{_written(statements.beam_center)}, the settings say {_written(center)}; the file's is "
                "taken. A configuration attribute NAME_beam_center of the detector goes before both"
            )
        center = statements.beam_center
    if statements.mask is not None and statements.mask.shape == known.shape:
        mask = statements.mask if mask is None else mask | statements.mask
    if center is known.beam_center and mask is known.mask:
        return detector, problem
    try:
        geometry = FrameGeometry(known.shape, center, mask)
    except ValueError as error:
        return detector, f"{detector.image_key}: what the file says is not taken: {error}"
    assumed = detector.center_assumed and statements.beam_center is None
    return replace(detector, geometry=geometry, center_assumed=assumed), problem


def to_record(statements: Statements) -> dict[str, Any]:
    """Give statements as they are stored in a run's summary; a mask by its SHA-256."""
    record: dict[str, Any] = {}
    if statements.beam_center is not None:
        record["beam_center"] = [float(value) for value in statements.beam_center]
    for name in ("k_step", "saturation_level"):
        if (value := getattr(statements, name)) is not None:
            record[name] = float(value)
    if statements.mask is not None:
        record["mask"] = hash_mask(statements.mask)
    return record


def from_record(record: Mapping[str, Any]) -> Statements:
    """Give the statements of a run's summary again, without the mask."""
    center = record.get("beam_center")
    return Statements(
        beam_center=None if center is None else (center[0], center[1]),
        k_step=record.get("k_step"),
        saturation_level=record.get("saturation_level"),
    )


def _differ(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) > SAME_PIXEL


def _written(center: tuple[float, float]) -> str:
    return f"row {center[0]:g}, column {center[1]:g}"
