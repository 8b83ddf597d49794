"""Whether a frame can have a label, by the pixels that the network sees: live, stored, and to train on."""

from __future__ import annotations

import numpy as np

from speckle_plugin.schema import Flag

__all__ = ["unfit_flag"]


def unfit_flag(least: float, most: float) -> Flag | None:
    """Tell why a frame can have no label; None if it can.

    Parameters
    ----------
    least, most : float
        Smallest and largest value among the pixels that the network sees; NaN if one of them is.
    """
    if not np.isfinite([least, most]).all():
        return Flag.NON_FINITE
    return Flag.EMPTY if most <= 0 or most == least else None
