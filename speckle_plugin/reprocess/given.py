"""What is given for a stored run (masks, beam centre), and whether it fits what the session had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import Detector, FrameSettings
from speckle_plugin.reprocess.consistency import (
    check_centers,
    check_files,
    check_masks,
    check_steady,
    check_usable,
    recorded_masks,
)
from speckle_plugin.reprocess.task import Task

__all__ = ["Masks", "describe_given"]

Masks = NDArray[np.bool_] | Mapping[str, NDArray[np.bool_]] | None


def describe_given(
    task: Task, masks: Masks, beam_center: tuple[float, float] | None, everything: bool
) -> tuple[FrameSettings, dict[str, Detector]]:
    """Describe the detectors with what is given.

    Parameters
    ----------
    task : Task
    masks : array of bool, or mapping of data key to array, optional
        One array is for all detectors that had a mask in the session, or simply for all if none had or with
        `everything`.
    beam_center : (row, column), optional
        For detectors that don't state it; by default that of the session.
    everything : bool
        It need not be as in the session.

    Raises
    ------
    CompletionError
        If it is to be, and is not; if it makes frames unusable; or if a detector was configured anew in
        mid-run.
    """
    uid, model = task.stored.uid, task.stored.results.model
    check_steady(uid, task.images.values(), task.session)
    if isinstance(masks, np.ndarray):
        with_mask = () if everything else recorded_masks(model)
        masks = dict.fromkeys(with_mask or (images.data_key for images in task.images.values()), masks)
    settings = replace(task.session, beam_center=beam_center or task.session.beam_center, masks=masks)
    detectors = {key: images.describe(settings) for key, images in task.images.items()}
    before = [images.describe(task.session) for images in task.images.values()]
    check_usable(uid, detectors.values(), before)
    if not everything:
        check_masks(uid, model, settings.masks or {}, detectors.values())
        check_files(uid, task.images.values())
        check_centers(uid, model, detectors.values(), before)
    return settings, detectors
