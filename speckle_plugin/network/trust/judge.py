"""From frames, and what the network gave for them, to flags of odd ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.bundle import Bundle
from speckle_plugin.network.engines import NetworkOutput
from speckle_plugin.network.trust.file import Trust
from speckle_plugin.network.trust.oddness import Look, Verdict
from speckle_plugin.network.trust.statistics import frame_statistics, range_of, views_of
from speckle_plugin.preprocessing import FrameGeometry, prepare
from speckle_plugin.schema import Flag

__all__ = ["judge", "odd_flags", "warm_up"]


def judge(
    trust: Trust | None,
    bundle: Bundle,
    frames: Sequence[NDArray[Any]],
    inputs: NDArray[np.float32],
    output: NetworkOutput,
    geometry: FrameGeometry,
) -> Verdict | None:
    """Judge how odd raw frames are.

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
    Verdict or None
        None without frames, or if nothing was fitted for their size.

    Raises
    ------
    ValueError
        If too little of the frame is left around the beam to classify.
    """
    size = range_of(geometry, bundle.preprocessing) if trust else None
    oddness = trust.oddness.get(size) if trust and size else None
    if oddness is None or size is None or not len(frames):
        return None
    views = views_of(geometry, bundle.preprocessing, size)
    count = len(frames)
    look = Look(
        np.stack([frame_statistics(f, i, views) for f, i in zip(frames, inputs, strict=True)]),
        output.features.reshape(count, -1, output.features.shape[1]).mean(axis=1),
        output.logits.reshape(count, -1, output.logits.shape[1]),
    )
    return oddness.judge(look, bundle.feature_statistics)


def warm_up(trust: Trust | None, bundle: Bundle) -> None:
    """Have the statistics compiled, or read from the cache of compiled code, before the first frame comes."""
    for size in trust.oddness if trust else ():
        geometry = FrameGeometry((size, size))
        frame = np.random.default_rng(0).poisson(3.0, geometry.shape).astype(np.float32)
        inputs = prepare(frame, bundle.preprocessing, geometry)[0]
        frame_statistics(frame, inputs, views_of(geometry, bundle.preprocessing, size))


def odd_flags(
    verdict: Verdict | None, novelty: NDArray[np.float32], bundle: Bundle
) -> list[tuple[Flag, ...]]:
    """Give for each frame the flags of an odd one, or none.

    Parameters
    ----------
    verdict : Verdict or None
        Without it the features alone tell.
    novelty : array, shape (N,)
        Distances of the features.
    bundle : Bundle
    """
    if verdict is not None:
        return [
            (Flag.OUT_OF_DISTRIBUTION, flag) if score > 1 else ()
            for score, flag in zip(verdict.score, verdict.flags, strict=True)
        ]
    statistics = bundle.feature_statistics
    threshold = statistics.threshold if statistics else np.inf
    far = (Flag.OUT_OF_DISTRIBUTION, Flag.ODD_FEATURES)
    return [far if distance > threshold else () for distance in novelty]
