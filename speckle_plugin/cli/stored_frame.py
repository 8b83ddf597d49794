"""Read one frame of a stored run, and what its detector says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import FrameSettings, describe_detector, holds_images
from speckle_plugin.store import read_frames

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns

    from speckle_plugin.documents.descriptors import Detector

__all__ = ["StoredFrame", "read_stored_frame"]


@dataclass(frozen=True, eq=False)
class StoredFrame:
    """One frame, and what its detector says of it.

    Parameters
    ----------
    run_uid, image_key : str
    pixels : array, shape (rows, columns)
    beam_center : (row, column) or None
    k_step : float or None
        Wave number per pixel.
    """

    run_uid: str
    image_key: str
    pixels: NDArray[Any]
    beam_center: tuple[float, float] | None
    k_step: float | None


def read_stored_frame(
    runs: CatalogOfBlueskyRuns, uid: str, frame_index: int, image_key: str | None = None
) -> StoredFrame:
    """Read a frame of a run, classified or not.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
    uid : str
        Of the run, or as much of its beginning as tells it from others.
    frame_index : int
        Counted from 0 over all frames of the image key.
    image_key : str, optional
        Needed if the run has several.

    Raises
    ------
    ValueError
        If there is no such run, key or frame.
    """
    import pandas as pd

    try:
        run = runs[uid]
    except KeyError as error:
        raise ValueError(f"no stored run has the uid {uid}: speckle query lists the runs") from error
    detector = _detector_of(run, image_key)
    row = {
        "run_uid": [run.start["uid"]],
        "image_key": [detector.image_key],
        "frame_index": [frame_index],
    }
    ((_, pixels),) = read_frames(run, pd.DataFrame(row))
    center = None
    if detector.geometry is not None and not detector.center_assumed:
        center = detector.geometry.beam_center
    return StoredFrame(run.start["uid"], detector.image_key, pixels, center, detector.k_step)


def _detector_of(run: BlueskyRun, image_key: str | None) -> Detector:
    detectors = {}
    for stream in run.base:
        descriptor = run.base[stream].metadata
        for key, data_key in descriptor.get("data_keys", {}).items():
            if holds_images(data_key):
                detector = describe_detector(key, descriptor, FrameSettings(), stream)
                detectors[detector.image_key] = detector
    if image_key is None and len(detectors) == 1:
        return next(iter(detectors.values()))
    if image_key in detectors:
        return detectors[image_key]
    if not detectors:
        raise ValueError(f"the run {run.start['uid']} holds no frames")
    asked = "several image keys" if image_key is None else f"no image key {image_key!r}"
    raise ValueError(
        f"the run {run.start['uid']} has {asked}: choose by --image-key among {', '.join(sorted(detectors))}"
    )
