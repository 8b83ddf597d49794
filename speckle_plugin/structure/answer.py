"""From the model that was found to the answer: standard errors, certificate, coordinates."""

from __future__ import annotations

import math

import numpy as np

from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.structure.certificate import Evidence, certify, less_noise
from speckle_plugin.structure.difference import hidden_radius
from speckle_plugin.structure.finish import Found
from speckle_plugin.structure.information import standard_errors
from speckle_plugin.structure.selection import WORTH
from speckle_plugin.structure.settings import SolveSettings
from speckle_plugin.structure.shapes import shapes_z_score
from speckle_plugin.structure.structure import Certificate, Structure
from speckle_plugin.structure.targets import Amplitudes

__all__ = ["answer", "no_answer"]


def answer(
    found: Found,
    settings: SolveSettings,
    out_of_time: bool,
    seconds: float,
    starts: int,
    history: tuple[str, ...],
) -> Structure:
    """Judge what was found.

    Parameters
    ----------
    found : Found
    settings : SolveSettings
    out_of_time : bool
        Whether the search ended for that.
    seconds : float
    starts : int
    history : tuple of str
    """
    model, observation = found.model, found.selection.observation
    hidden = 0.0
    if observation.noise != "none":
        hidden = hidden_radius(
            observation, model, WORTH, found.selection.extent, found.selection.refinement.point_spread
        )
    certificate, reason = certify(
        model,
        Evidence(
            found.residual,
            found.z_score,
            found.rings_z_score,
            found.selection.worth,
            found.weakest,
            found.remaining,
            hidden,
            out_of_time,
            settings.tolerance,
            _smallest(settings, model.number),
        ),
        lambda: _shapes_z_score(found),
    )
    errors = standard_errors(found, observation)
    low = (model.positions - model.radii[:, None]).min(axis=0)
    order = np.argsort(-model.radii, kind="stable")
    x, y = (model.positions - low)[order].T
    return Structure(
        x=x,
        y=y,
        r=model.radii[order],
        x_error=errors[order, 0],
        y_error=errors[order, 1],
        r_error=errors[order, 2],
        certificate=certificate,
        reason=reason,
        scale=math.exp(model.log_scale),
        background=model.background,
        beam_center=model.center,
        k_step=observation.k_step,
        point_spread=settings.point_spread,
        residual=found.residual,
        z_score=found.z_score,
        weakest_gain=found.weakest,
        remaining_gain=found.remaining,
        hidden_radius=hidden,
        seconds=seconds,
        starts=starts,
        history=(*history, *found.notes),
        seed=settings.seed,
    )


def _shapes_z_score(found: Found) -> float:
    target = found.selection.target
    if isinstance(target, Amplitudes):  # the residual tells more
        return 0.0
    return shapes_z_score(found.model, target, found.selection.refinement, less_noise(found.z_score))


def _smallest(settings: SolveSettings, number: int) -> float | None:
    """Give the smallest radius that the sample may hold, if that is known."""
    if settings.smallest_radius is not None:
        return settings.smallest_radius
    prior = settings.prior
    if prior is None:
        return None
    if prior.equal:
        return math.inf
    if prior.mean is None or prior.deviation is None:
        return None
    return max(prior.mean - 3.0 * prior.deviation, 0.02 * prior.mean)


def no_answer(
    reason: str, geometry: FrameGeometry, k_step: float, settings: SolveSettings, seconds: float
) -> Structure:
    """Give an undecided structure without disks."""
    nothing = np.empty(0)
    return Structure(
        x=nothing,
        y=nothing,
        r=nothing,
        x_error=nothing,
        y_error=nothing,
        r_error=nothing,
        certificate=Certificate.UNDECIDED,
        reason=reason,
        scale=math.nan,
        background=0.0,
        beam_center=geometry.beam_center,
        k_step=float(k_step),
        point_spread=settings.point_spread,
        residual=math.nan,
        z_score=math.nan,
        weakest_gain=math.nan,
        remaining_gain=math.nan,
        hidden_radius=math.nan,
        seconds=seconds,
        starts=0,
        history=(),
        seed=settings.seed,
    )
