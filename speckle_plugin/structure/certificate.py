"""When to believe: a structure is certified if it explains the frame, needs each disk, and hides none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from speckle_plugin.structure.model import Model
from speckle_plugin.structure.structure import Certificate

__all__ = ["NEARLY", "Evidence", "certify", "less_noise"]

NEARLY = 0.012
"""Largest residual of frames of disks on a raster, or of what is nearly disks; wrong answers have 0.1."""

LARGEST_Z = 4.5
"""Deviance beyond that of the noise, in standard deviations, that chance explains."""

LARGEST_OVERLAP = 0.05
"""Share of the smaller radius by which disks may seem to overlap."""

CERTAIN = 45.0
"""What each disk must gain for a certificate where the noise is known: over all places and radii that a disk
could have, noise alone gains now and then more than what keeps a disk (`selection.WORTH`)."""

SMALLEST_PART = 0.1
"""Without another word the smallest disk that counts has this part of the mean radius."""


@dataclass(frozen=True)
class Evidence:
    """What a certificate is decided by.

    Parameters
    ----------
    residual : float
        Of the amplitudes of all pixels.
    z_score, rings_z_score : float
        Of the deviance, and of the sums over rings; NaN where the noise is not known.
    worth : float
        What a disk has to gain.
    weakest, remaining : float
        What the least significant disk gains, and what the best further disk would.
    hidden : float
        Radius below which a disk could hide; 0 where that cannot be.
    out_of_time : bool
    tolerance : float
        Residual up to which a frame without noise is explained.
    smallest : float, optional
        No disk of the sample is smaller.
    """

    residual: float
    z_score: float
    rings_z_score: float
    worth: float
    weakest: float
    remaining: float
    hidden: float
    out_of_time: bool
    tolerance: float
    smallest: float | None = None


def less_noise(z_score: float) -> bool:
    """Whether the deviance is so small that there is less noise than the target says."""
    return z_score < -LARGEST_Z


def certify(model: Model, evidence: Evidence, shapes_z_score: Callable[[], float]) -> tuple[Certificate, str]:
    """Decide.

    Parameters
    ----------
    model : Model
    evidence : Evidence
    shapes_z_score : callable
        Gives what other shapes would gain, see :func:`speckle_plugin.structure.shapes.shapes_z_score`. It
        takes time, so that it is asked last, and only where the noise is known.

    Returns
    -------
    certificate : Certificate
    reason : str
    """
    unexplained = _unexplained(evidence)
    if unexplained:
        if evidence.out_of_time:
            return Certificate.UNDECIDED, f"the budget of time ran out before a solution: {unexplained}"
        return Certificate.NOT_EXPLAINED, unexplained
    pair = _overlap(model)
    if pair > LARGEST_OVERLAP:
        return (
            Certificate.NOT_EXPLAINED,
            f"disks overlap by {pair:.2f} of the smaller radius: the frame is of something else",
        )
    if np.isnan(evidence.z_score) and evidence.residual > evidence.tolerance:
        return (
            Certificate.UNDECIDED,
            f"explained but for a residual of {evidence.residual:.1e}: nearly of disks, or of disks on a "
            "raster (then give a tolerance)",
        )
    asked = evidence.worth if np.isnan(evidence.z_score) else max(CERTAIN, evidence.worth)
    if evidence.weakest < asked:
        return (
            Certificate.UNDECIDED,
            f"the weakest disk gains {evidence.weakest:.0f} only ({asked:.0f} asked)",
        )
    if evidence.remaining > evidence.worth:
        return Certificate.UNDECIDED, f"a further disk would gain {evidence.remaining:.0f}"
    if model.number == 1:
        return (
            Certificate.UNDECIDED,
            "one disk explains the frame, but nothing interferes in it: disks that scatter incoherently, or "
            "the mean of many frames, look the same",
        )
    smallest = evidence.smallest or SMALLEST_PART * float(model.radii.mean())
    if evidence.hidden > smallest:
        return (
            Certificate.UNDECIDED,
            f"a disk of radius {evidence.hidden:.3g} could hide in the noise, and {smallest:.3g} is the "
            "smallest that counts (give smallest_radius or a prior if the sample has none so small)",
        )
    if not np.isnan(evidence.z_score) and (z_score := shapes_z_score()) > LARGEST_Z:
        return (
            Certificate.NOT_EXPLAINED,
            f"objects of other shapes would gain {z_score:.1f} standard deviations more than by chance: "
            "these are nearly disks",
        )
    return Certificate.SOLVED, _praise(evidence)


def _unexplained(evidence: Evidence) -> str:
    if np.isnan(evidence.z_score):
        if evidence.residual > max(NEARLY, evidence.tolerance):
            return f"residual {evidence.residual:.2g} of the amplitudes"
        return ""
    if evidence.z_score > LARGEST_Z:
        return f"the deviance is {evidence.z_score:.1f} standard deviations beyond that of the noise"
    if evidence.rings_z_score > LARGEST_Z:
        return (
            f"the sums of photons over rings are {evidence.rings_z_score:.1f} standard deviations from those "
            "of disks: the intensity falls off in another way"
        )
    return ""


def _praise(evidence: Evidence) -> str:
    if np.isnan(evidence.z_score):
        return f"explained: residual {evidence.residual:.1e}"
    quiet = "; less noise than was told" if less_noise(evidence.z_score) else ""
    return (
        f"explained to the noise (z {evidence.z_score:.1f}{quiet}); the weakest disk gains "
        f"{evidence.weakest:.0f}, a further one {evidence.remaining:.0f}; none larger than "
        f"{evidence.hidden:.2g} could hide"
    )


def _overlap(model: Model) -> float:
    """Give the largest overlap of two disks, as a share of the smaller radius."""
    if model.number < 2:
        return 0.0
    first, second = np.triu_indices(model.number, 1)
    distance = np.hypot(*(model.positions[first] - model.positions[second]).T)
    smaller = np.minimum(model.radii[first], model.radii[second])
    return float(((model.radii[first] + model.radii[second] - distance) / smaller).max())
