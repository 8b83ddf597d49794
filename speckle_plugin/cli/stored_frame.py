"""Choose one frame of a stored run by what the command line says, and read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from speckle_plugin.cli.console import remark
from speckle_plugin.cli.named_runs import named_runs
from speckle_plugin.preprocessing import Correction
from speckle_plugin.preprocessing.orientation import Orientation
from speckle_plugin.store import StoredRun

if TYPE_CHECKING:
    from speckle_plugin.store import Store
    from speckle_plugin.store.read.images import StoredImages

__all__ = ["StoredFrame", "read_stored_frame"]


@dataclass(frozen=True, eq=False)
class StoredFrame:
    """One frame, and what its detector, or the session, says of it.

    Parameters
    ----------
    run_uid, image_key : str
    pixels : array, shape (rows, columns)
    beam_center : (row, column) or None
    k_step : float or None
        Wave number per pixel.
    orientation : Orientation
        How it is turned for what users say of it.
    correction : Correction or None
        By which it was corrected before it was labelled.
    """

    run_uid: str
    image_key: str
    pixels: NDArray[Any]
    beam_center: tuple[float, float] | None
    k_step: float | None
    orientation: Orientation
    correction: Correction | None = None


def read_stored_frame(store: Store, name: str, frame_index: int, image_key: str | None = None) -> StoredFrame:
    """Read a frame of a run, classified or not.

    Parameters
    ----------
    store : Store
    name : str
        Of the run: its uid or as much of its beginning as tells it from others, its scan id, or ``last``.
    frame_index : int
        Counted from 0 over all frames of the image key.
    image_key : str, optional
        Needed if the run has several.

    Raises
    ------
    ValueError
        If there is no such run, key or frame.
    """
    (run,) = named_runs(store, [name])
    stored = StoredRun(run)
    images = stored.choose_images(image_key)
    detector = images.describe(stored.settings)
    (pixels,) = images.read([frame_index])
    return StoredFrame(
        stored.uid,
        images.image_key,
        pixels,
        detector.beam_center,
        detector.k_step,
        detector.orientation,
        _correction(stored, images, frame_index),
    )


def _correction(stored: StoredRun, images: StoredImages, frame_index: int) -> Correction | None:
    """Give how a frame was corrected before it was labelled, with a remark where that can't be done again."""
    if not stored.settings.corrections:
        return None
    if stored.stop is None:
        remark("the run is not finished: the frame is taken as it was measured, not corrected")
        return None
    from speckle_plugin.reprocess.corrections import StoredCorrections
    from speckle_plugin.reprocess.task import find_task

    ((_, corrected),) = StoredCorrections(find_task(stored, everything=True), images).split([frame_index])
    if corrected.problem:
        remark(corrected.problem)
    return corrected.correction
