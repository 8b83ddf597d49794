"""Whether new results may stand in one stream with those that a run has.

All results of a stream are by one model, with one mask and one beam centre for each detector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from speckle_plugin.detectors import Detector
from speckle_plugin.models import Bundle
from speckle_plugin.schema import Flag, Status, split_flags

__all__ = ["CompletionError", "check_centers", "check_mask", "check_model"]


class CompletionError(ValueError):
    """A run cannot be completed as asked; the message says how it can."""


def check_model(uid: str, model: Mapping[str, Any], bundle: Bundle) -> None:
    """See that a bundle is the one that classified a run, if one did.

    Parameters
    ----------
    uid : str
        Of the run.
    model : mapping
        The classifier's configuration in the descriptor of the run's results.
    bundle : Bundle

    Raises
    ------
    CompletionError
        If it is another.
    """
    weights = model.get("weights_sha256")
    if not weights or weights == bundle.sha256:
        return
    raise CompletionError(
        f"the run {uid} was classified by {model.get('model')} {model.get('model_version')} (SHA-256 "
        f"{weights[:12]}), not by {bundle.name} {bundle.version} ({bundle.sha256[:12]}), and results of two "
        "models are not mixed: give that model (--model), or have every frame of the run classified again by "
        "this one (--all)"
    )


def check_mask(uid: str, model: Mapping[str, Any], detectors: Iterable[Detector]) -> None:
    """See that the mask is that of the session.

    The descriptor holds the hash of one mask: with several detectors, one of them must have it.

    Raises
    ------
    CompletionError
        If it is another, is missing, or there was none.
    """
    recorded = model.get("mask_hash", "")
    given = {detector.geometry.mask_hash for detector in detectors if detector.geometry is not None}
    any_may_be = not model.get("weights_sha256") and not recorded
    if any_may_be or not given or recorded in given:
        return
    now = ", ".join(sorted(mask[:12] for mask in given if mask))
    raise CompletionError(
        f"the run {uid} was classified "
        + (f"with a mask (SHA-256 {recorded[:12]})" if recorded else "without a mask")
        + (f", and another one is given ({now})" if now else ", and none is given")
        + f": give {'that mask (--mask)' if recorded else 'none'}, or have every frame of the run classified "
        "again (--all)"
    )


def check_centers(uid: str, rows: Iterable[Mapping[str, Any]], detectors: Mapping[str, Detector]) -> None:
    """See that a beam centre is given for detectors that don't state it, if the session was given one.

    Which one it was is not stored, only whether there was any.

    Parameters
    ----------
    uid : str
        Of the run.
    rows : iterable of mapping
        The results that stay.
    detectors : mapping of image key to Detector

    Raises
    ------
    CompletionError
        If it is missing, or there was none.
    """
    for row in rows:
        detector = detectors.get(row["image_key"])
        if detector is None or row["status"] != Status.CLASSIFIED:
            continue
        assumed = Flag.ASSUMED_CENTER in split_flags(row["flags"])
        if assumed and not detector.center_assumed:
            raise CompletionError(
                f"the session of the run {uid} took pixel (0, 0) for the beam on {row['image_key']!r}, and "
                "another one is given: give none, or have every frame of the run classified again (--all)"
            )
        if detector.center_assumed and not assumed:
            raise CompletionError(
                f"the detector of {row['image_key']!r} in the run {uid} does not say where the beam is, and "
                "the session was told: give the same beam centre (--beam-center ROW,COLUMN)"
            )
