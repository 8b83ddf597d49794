"""From frames, and what the network gave for them, to flags of odd ones, and how sure it may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.bundle import Bundle
from speckle_plugin.network.engines import NetworkOutput
from speckle_plugin.network.trust.calibration import Calibration
from speckle_plugin.network.trust.file import Trust
from speckle_plugin.network.trust.head import Head
from speckle_plugin.network.trust.oddness import Look, Verdict
from speckle_plugin.network.trust.photons import lack_photon_noise, thinned
from speckle_plugin.network.trust.spots import frame_spots, quadrants_for
from speckle_plugin.network.trust.statistics import View, frame_statistics, masked_share, range_of, views_of
from speckle_plugin.preprocessing import FrameGeometry, Preprocessing, prepare, view_shape
from speckle_plugin.schema import Flag

__all__ = ["Judgement", "heads_for", "join_heads", "judge", "odd_flags", "warm_up"]


class Judgement(NamedTuple):
    """What is thought of N frames."""

    verdict: Verdict
    """How odd they are."""

    calibration: Calibration | None
    """What tells how sure the network may be; None where that was not fitted."""

    logits: NDArray[np.floating]
    """Those of the network, joined with those of heads where some were fitted; shape (N, views, classes)."""

    masked: float
    """Share of the pixels of the frames that a mask leaves out."""


def judge(
    trust: Trust | None,
    bundle: Bundle,
    frames: Sequence[NDArray[Any]],
    inputs: NDArray[np.float32],
    output: NetworkOutput,
    geometry: FrameGeometry,
) -> Judgement | None:
    """Judge raw frames.

    Parameters
    ----------
    trust : Trust or None
    bundle : Bundle
    frames : sequence of N arrays, shape `geometry.shape`
    inputs : array, shape (N, views, rows, columns)
        Of these frames.
    output : NetworkOutput
        Of these inputs.
    geometry : FrameGeometry

    Returns
    -------
    Judgement or None
        None without frames, if nothing was fitted for their size, or if a mask leaves other quadrants there
        than the network sees. What was fitted for the largest range of k that frames and fit have is taken.

    Raises
    ------
    ValueError
        If too little of the frame is left around the beam to classify.
    """
    if trust is None or not len(frames):
        return None
    largest = range_of(geometry, bundle.preprocessing) or 0
    size = max((fitted for fitted in trust.oddness if fitted <= largest), default=None)
    if size is None:
        return None
    views = views_of(geometry, bundle.preprocessing, size)
    if len(views) != inputs.shape[1]:  # a mask leaves another quadrant out at this range of k
        return None
    count = len(frames)
    heads = heads_for(trust, geometry, bundle.preprocessing)
    most = min((head.most_photons for head in heads), default=None)
    valid = geometry.unmasked(bundle.preprocessing.center_half_width)
    learned = [_as_learned(f, i, views, valid, most) for f, i in zip(frames, inputs, strict=True)]
    frames, statistics, unlike = zip(*learned, strict=True)
    look = Look(
        np.stack(statistics),
        output.features.reshape(count, -1, output.features.shape[1]).mean(axis=1),
        output.logits.reshape(count, -1, output.logits.shape[1]),
    )
    verdict = trust.oddness[size].judge(look, bundle.feature_statistics)
    spots = [
        np.stack(
            [
                frame_spots(f, s, geometry, bundle.preprocessing, head.maps)
                for f, s in zip(frames, look.statistics, strict=True)
            ]
        )
        for head in heads
    ]
    # Confidences that were fitted to several voices are not those of one.
    calibration = trust.calibration.get(size) if size not in trust.heads else None
    if heads:
        calibration = trust.calibration[heads[-1].maps.rows]
    logits = join_heads(trust, heads, look, spots, verdict, np.array(unlike))
    return Judgement(verdict, calibration, logits, masked_share(views))


def _as_learned(
    frame: NDArray[Any],
    given: NDArray[np.float32],
    views: tuple[View, ...],
    valid: NDArray[np.bool_],
    most: float | None,
) -> tuple[NDArray[Any], NDArray[np.float32], bool]:
    """Give a frame as heads have learned them, its statistics, and whether it can't be had so.

    Without heads, for which there is no largest number of photons, it stays as it is.
    """
    statistics = frame_statistics(frame, given, views)
    if most is None:
        return frame, statistics, False
    if lack_photon_noise(frame, statistics, views):
        return frame, statistics, True
    fewer = thinned(frame, statistics, most, valid, views)
    return fewer, statistics if fewer is frame else frame_statistics(fewer, given, views), False


def heads_for(trust: Trust, geometry: FrameGeometry, settings: Preprocessing) -> list[Head]:
    """Give the heads whose range of k a frame has, in the order in which they are heard: the largest last."""
    views, *_ = view_shape(settings, geometry)
    found = []
    for _, head in sorted(trust.heads.items()):
        seen = len(quadrants_for(geometry, settings, head.maps) or ())
        # Where a mask leaves out a quadrant at this range of k alone, no map is of what the network sees.
        if seen and (head.maps.quadrants > 1 or seen == views):
            found.append(head)
    return found


def join_heads(
    trust: Trust,
    heads: Sequence[Head],
    look: Look,
    spots: Sequence[NDArray[np.float32]],
    verdict: Verdict,
    unlike: NDArray[np.bool_] | None = None,
) -> NDArray[np.floating]:
    """Join what heads say of N frames with what the network said.

    Parameters
    ----------
    trust : Trust
    heads : sequence of Head
        Some of its heads, in the order in which they are heard.
    look : Look
    spots : sequence of array, shape (N, views, spots)
        For each head.
    verdict : Verdict
        Of what was looked at.
    unlike : array of bool, shape (N,), optional
        Frames such as no head has learned, though they are not odd.

    Returns
    -------
    array, shape (N, views, classes)
        Logits; those of the network without heads, and of frames that are too odd for them.
    """
    logits = look.logits
    odd = verdict.detected if unlike is None else np.where(unlike, np.inf, verdict.detected)
    for head, of_head in zip(heads, spots, strict=True):
        families = trust.calibration[head.maps.rows].probable_families(verdict.inputs)
        logits = head.join(logits, look.statistics, of_head, families, odd)
    return logits


def warm_up(trust: Trust | None, bundle: Bundle) -> None:
    """Have the statistics compiled, or read from the cache of compiled code, before the first frame comes."""
    for size in trust.oddness if trust else ():
        geometry = FrameGeometry((2 * size - 1, 2 * size - 1), (size - 1.0, size - 1.0))
        frame = np.random.default_rng(0).poisson(3.0, geometry.shape).astype(np.float32)
        inputs = prepare(frame, bundle.preprocessing, geometry)[0]
        statistics = frame_statistics(frame, inputs, views_of(geometry, bundle.preprocessing, size))
        for head in heads_for(trust, geometry, bundle.preprocessing) if trust else ():
            frame_spots(frame, statistics, geometry, bundle.preprocessing, head.maps)


def odd_flags(
    judgement: Judgement | None, novelty: NDArray[np.float32], bundle: Bundle
) -> list[tuple[Flag, ...]]:
    """Give for each frame the flags of an odd one, or none.

    Parameters
    ----------
    judgement : Judgement or None
        Without it the features alone tell.
    novelty : array, shape (N,)
        Distances of the features.
    bundle : Bundle
    """
    if judgement is not None:
        verdict = judgement.verdict
        return [
            (Flag.OUT_OF_DISTRIBUTION, flag) if score > 1 else ()
            for score, flag in zip(verdict.score, verdict.flags, strict=True)
        ]
    statistics = bundle.feature_statistics
    threshold = statistics.threshold if statistics else np.inf
    far = (Flag.OUT_OF_DISTRIBUTION, Flag.ODD_FEATURES)
    return [far if distance > threshold else () for distance in novelty]
