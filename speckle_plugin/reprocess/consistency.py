"""Whether new results may stand in one stream with those that a run has.

All results of a stream are by one model, with one mask and one beam centre for each detector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import Detector, FrameSettings
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import hash_mask
from speckle_plugin.schema import CHOSEN_AMONG, MASKS
from speckle_plugin.store.read.images import StoredImages

__all__ = [
    "CompletionError",
    "check_centers",
    "check_files",
    "check_masks",
    "check_model",
    "check_steady",
    "check_usable",
    "recorded_masks",
]


class CompletionError(ValueError):
    """A run cannot be completed as asked; the message says how it can."""


def check_steady(uid: str, images: Iterable[StoredImages], settings: FrameSettings) -> None:
    """See that what detectors say of their frames holds for the whole run.

    Raises
    ------
    CompletionError
        If one was configured anew in mid-run.
    """
    for stored in images:
        if stored.is_configured_anew(settings):
            raise CompletionError(
                f"the detector of {stored.image_key!r} was configured anew during the run {uid}, so that "
                "beam centre, pitch or saturation level are not the same for all its frames: such a run "
                "cannot be completed yet. Its frames and results stay as they are; to label the frames, read "
                "them (read_frames) and hand them to a Classifier with their geometry"
            )


def check_model(
    uid: str,
    model: Mapping[str, Any],
    networks: Mapping[str, Mapping[str, str]],
    classifier: Classifier,
    detectors: Iterable[Detector],
) -> None:
    """See that each detector gets the network that classified its other frames, if one did.

    Parameters
    ----------
    uid : str
        Of the run.
    model : mapping
        The classifier's configuration in the descriptor of the run's results.
    networks : mapping of image key to mapping
        The network of each, from the run's summary; empty where that does not tell.
    classifier : Classifier
    detectors : iterable of Detector

    Raises
    ------
    CompletionError
        If it is another.
    """
    if not model.get("weights_sha256"):
        return
    # Where the k step chose, and no summary tells, it chooses the same again among the same networks.
    among = set(model.get(CHOSEN_AMONG) or ())
    for detector in detectors:
        bundle = classifier.for_k_step(detector.k_step).bundle
        before = networks.get(detector.image_key) or model
        if bundle.sha256 == before["weights_sha256"] or (before is model and bundle.sha256 in among):
            continue
        raise CompletionError(
            f"the run {uid} was classified by {before.get('model')} {before.get('model_version')} (SHA-256 "
            f"{before['weights_sha256'][:12]}), not by {bundle.name} {bundle.version} "
            f"({bundle.sha256[:12]}), and results of two models are not mixed: give that model (--model), or "
            "have every frame of the run classified again by this one (--all)"
        )


def recorded_masks(model: Mapping[str, Any]) -> dict[str, str]:
    """Give the SHA-256 of the session's masks by data key, from the configuration of its results."""
    return dict(text.rsplit(" ", 1) for text in model.get(MASKS) or ())


def check_masks(
    uid: str, model: Mapping[str, Any], masks: Mapping[str, NDArray[np.bool_]], detectors: Iterable[Detector]
) -> None:
    """See that the mask of each detector is that of the session.

    Parameters
    ----------
    uid : str
        Of the run.
    model : mapping
        The classifier's configuration in the descriptor of the run's results.
    masks : mapping of data key to array of bool
        Those that are given.
    detectors : iterable of Detector

    Raises
    ------
    CompletionError
        If it is another, is missing, or there was none; or if the results do not tell.
    """
    if model.get("weights_sha256") and MASKS not in model:
        raise CompletionError(
            f"the results of the run {uid} do not tell which masks and which beam centre they are with, "
            "since an older version of this package wrote them: have every frame of the run classified "
            "again (--all)"
        )
    recorded = recorded_masks(model)
    for detector in detectors:
        before, mask = recorded.get(detector.data_key, ""), masks.get(detector.data_key)
        now = "" if mask is None else hash_mask(mask)
        if detector.geometry is None or now == before:
            continue
        if not before and not model.get("weights_sha256"):
            continue  # no frame was classified
        raise CompletionError(
            f"frames of {detector.image_key!r} in the run {uid} were classified "
            + (f"with a mask (SHA-256 {before[:12]})" if before else "without a mask")
            + (f", and another one is given ({now[:12]})" if now else ", and none is given")
            + f": give {'that mask (--mask)' if before else 'none'}, or have every frame of the run "
            "classified again (--all)"
        )


def check_files(uid: str, images: Iterable[StoredImages]) -> None:
    """See that masks of detectors' files, with which frames were classified, can be read again.

    Raises
    ------
    CompletionError
        If one cannot.
    """
    for stored in images:
        if stored.lacks_mask:
            raise CompletionError(
                f"frames of {stored.image_key!r} in the run {uid} were classified with the mask of the "
                "detector's file, and that file is not on this machine, or has another one: do it where the "
                "file is, or have every frame of the run classified again (--all)"
            )


def check_centers(
    uid: str, model: Mapping[str, Any], now: Iterable[Detector], before: Iterable[Detector]
) -> None:
    """See that the beam stands where it did in the session, on each detector.

    Parameters
    ----------
    uid : str
        Of the run.
    model : mapping
        The classifier's configuration in the descriptor of the run's results.
    now, before : iterable of Detector
        As they are to be classified, and as in the session; in the same order.

    Raises
    ------
    CompletionError
        If it is elsewhere. A centre given for a detector that states its own changes nothing, and is
        not refused.
    """
    if not model.get("weights_sha256"):
        return
    for given, recorded in zip(now, before, strict=True):
        if given.beam_center != recorded.beam_center:
            raise CompletionError(
                f"frames of {given.image_key!r} in the run {uid} were classified with "
                + (f"the beam centre {recorded.beam_center}" if recorded.beam_center else "no beam centre")
                + f", and {given.beam_center} is given: give none, then that of the session is taken, or "
                "have every frame of the run classified again (--all)"
            )


def check_usable(uid: str, now: Iterable[Detector], plain: Iterable[Detector]) -> None:
    """See that what is given fits the detectors: else all their frames would be flagged, for good.

    Parameters
    ----------
    uid : str
        Of the run.
    now, plain : iterable of Detector
        As they are to be classified, and without what is given; in the same order.

    Raises
    ------
    CompletionError
        If a mask or centre makes frames unusable that can be used without it.
    """
    for given, without in zip(now, plain, strict=True):
        if given.problem and not without.problem:
            raise CompletionError(
                f"frames of the run {uid} cannot be classified with what is given: {given.problem}"
            )
