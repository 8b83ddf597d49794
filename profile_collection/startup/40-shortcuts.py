"""Short names for what is typed often: the newest run, the figure, and one call for all settings."""

from dataclasses import replace as _replace
from pathlib import Path as _Path

import numpy as _np
import pandas as _pd

from simulated_devices import Family as _Family
from speckle_plugin.frames.masks import looks_inverted as _looks_inverted
from speckle_plugin.frames.masks import read_mask as _read_mask

# Tables of frames have more columns than a terminal; pandas would leave out those in the middle, the labels.
_pd.set_option("display.max_columns", None)
_pd.set_option("display.width", None)


def last(back=1):
    """Give the newest run, or one before it.

    Others are `catalog[12]` by scan id, `catalog["0a1b2c"]` by the beginning of its uid, `catalog[-3]`.

    Parameters
    ----------
    back : int
        1 for the newest, 2 for the one before.
    """
    return catalog[-back]


def figure(where="auto"):
    """Open the live figure, also after its window was closed.

    Parameters
    ----------
    where : {"auto", "window", "inline", "none"}
        "none" closes it.
    """
    session.figure(where)


def configure(*, family=None, photons=None, exposure=None, mask=None, beam_center=None, model=None):
    """Set what the next scans are measured and classified with. What is not given stays as it is.

    Parameters
    ----------
    family : {"mono", "poly", "poly_published", "constant_radius"}
        How the radii of the sample's disks are chosen.
    photons : float
        In a whole frame, at an exposure of a second; 0 for frames without their noise.
    exposure : float
        Seconds for a frame.
    mask : path, or array of bool with the shape of the frames
        Pixels to leave out; "none" for no mask.
    beam_center : (row, column)
        In pixels, for a detector that does not state it; the simulated one does.
    model : str
        Name of a shipped network (`speckle models` lists them), or the path of a bundle.

    Examples
    --------
    >>> configure(family="poly", photons=1e5, exposure=0.1)
    >>> configure(model="published", mask="mask.npy")
    """
    # All is checked before anything is set.
    moves, frames = [], None
    if family is not None:
        moves += [sample.family, _Family(family).value]
    if exposure is not None:
        moves += [det.exposure_time, float(exposure)]
    if photons is not None:
        if not isinstance(det, SpeckleDetector):
            raise ValueError(
                "photons of the detector of ophyd-async are set where it is made, in 30-devices.py"
            )
        response = _replace(det.response, photons=float(photons) or None)
    if mask is not None or beam_center is not None:
        frames = session.live.frames
        if mask is not None:
            frames = _replace(frames, masks=_masks(mask))
        if beam_center is not None:
            frames = _replace(frames, beam_center=beam_center)
    if model is not None or frames is not None:
        session.change(model=model, frames=frames)
    if moves:
        RE(bps.mv(*moves))
    if photons is not None:
        det.response = response


def _masks(mask):
    """Give the mask by its data key; none for "none"."""
    if isinstance(mask, str) and mask == "none":
        return None
    values = _read_mask(_Path(mask).expanduser()) if isinstance(mask, str | _Path) else _np.asarray(mask)
    key, shape = ("det_image", det.grid.shape) if isinstance(det, SpeckleDetector) else ("det", None)
    if shape is not None and values.shape != tuple(shape):
        raise ValueError(f"the mask has the shape {values.shape}, and the frames of det have {tuple(shape)}")
    if _looks_inverted(values):
        raise ValueError(f"the mask leaves out {values.mean():.0%} of the pixels: it looks inverted (~mask)")
    return {key: values}
