"""Whether new results may stand in one stream with those that a run has.

All results of a stream are by one model, with one mask and one beam centre for each detector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from speckle_plugin.detectors import Detector
from speckle_plugin.models import Bundle
from speckle_plugin.schema import BEAM_CENTER, MASKS

__all__ = ["CompletionError", "check_center", "check_masks", "check_model"]


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


def check_masks(uid: str, model: Mapping[str, Any], detectors: Iterable[Detector]) -> None:
    """See that the mask of each detector is that of the session.

    Raises
    ------
    CompletionError
        If it is another, is missing, or there was none.
    """
    recorded = dict(text.rsplit(" ", 1) for text in model.get(MASKS) or ())
    for detector in detectors:
        before = recorded.get(detector.data_key, "")
        if detector.geometry is None or detector.geometry.mask_hash == before:
            continue
        if not before and not model.get("weights_sha256"):
            continue  # no frame was classified
        now = detector.geometry.mask_hash
        raise CompletionError(
            f"frames of {detector.image_key!r} in the run {uid} were classified "
            + (f"with a mask (SHA-256 {before[:12]})" if before else "without a mask")
            + (f", and another one is given ({now[:12]})" if now else ", and none is given")
            + f": give {'that mask (--mask)' if before else 'none'}, or have every frame of the run "
            "classified again (--all)"
        )


def check_center(uid: str, model: Mapping[str, Any], given: tuple[float, float] | None) -> None:
    """See that the beam centre for detectors that do not state theirs is that of the session.

    Raises
    ------
    CompletionError
        If it is another, or there was none.
    """
    before = list(model.get(BEAM_CENTER) or ())
    if not model.get("weights_sha256") or before == list(given or ()):
        return
    raise CompletionError(
        f"the session of the run {uid} had "
        + (f"the beam centre {tuple(before)}" if before else "no beam centre")
        + f", and {given} is given: give none, then that of the session is taken, or have every frame of "
        "the run classified again (--all)"
    )
