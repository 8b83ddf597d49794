"""The classifier: raw frames in, disk numbers with their probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speckle_plugin.network import Bundle, find_bundle
from speckle_plugin.network.engines import Engine, NetworkOutput, make_engine
from speckle_plugin.network.fitness import unfit_flag
from speckle_plugin.network.posterior import Posterior, join_views
from speckle_plugin.network.trust import find_trust
from speckle_plugin.network.trust.judge import Judgement, judge, odd_flags, warm_up
from speckle_plugin.preprocessing import Correction, FrameGeometry, prepare, used_values
from speckle_plugin.preprocessing.marked_pixels import may_be_saturated, without_marked_pixels
from speckle_plugin.preprocessing.resampling import LARGEST_CHANGE, SAME_K_STEP, Resampling, resampling_to
from speckle_plugin.schema import NO_DISK_NUMBER, UNFIT, Flag, Status
from speckle_plugin.stage_times import StageTimes

__all__ = ["Classifier", "FrameResult", "Posterior", "fits_k_step", "join_views"]


@dataclass(frozen=True, eq=False)
class FrameResult:
    """What became of one frame; without a label `disk_number` is 0 and the numbers are 0.

    Parameters
    ----------
    status : Status
    disk_number : int
    confidence, entropy : float
        Probability of the disk number; entropy of all probabilities in nats.
    novelty : float
        Distance of the network's features from those of known frames, about 1 for these; 0 without a
        label, and where the bundle has no statistics of them.
    probabilities : array, shape (classes,), float32
    flags : tuple of Flag
    possible : tuple of int
        The disk numbers that are possible, see :mod:`speckle_plugin.network.trust.calibration`; none where
        nothing tells.
    """

    status: Status
    probabilities: NDArray[np.float32]
    disk_number: int = NO_DISK_NUMBER
    confidence: float = 0.0
    entropy: float = 0.0
    novelty: float = 0.0
    flags: tuple[Flag, ...] = ()
    possible: tuple[int, ...] = ()


class Classifier:
    """A bundle and the engine that runs it.

    Parameters
    ----------
    bundle : Bundle, str, path or None
        The bundle, the name of a shipped one, or the path of one; None for the default.
    engine : str or Engine
        Name of the engine, or an engine of one's own.
    any_k_step : bool
        Whether frames of another k step get a label, and a warning; else they are flagged without one.
    alone : bool
        Whether only the network speaks: what was fitted beside the bundle is left out.

    Attributes
    ----------
    trust : Trust or None
        What was fitted beside the bundle to tell odd frames, to count disks and to say how sure it may be, if
        there is such a file.
    """

    def __init__(
        self,
        bundle: Bundle | str | None = None,
        engine: str | Engine = "auto",
        *,
        any_k_step: bool = True,
        alone: bool = False,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else find_bundle(bundle)
        self.engine = make_engine(self.bundle, engine) if isinstance(engine, str) else engine
        self.trust = None if alone else find_trust(self.bundle)
        warm_up(self.trust, self.bundle)
        self.any_k_step = any_k_step

    @property
    def chosen_among(self) -> tuple[str, ...]:
        """SHA-256 of the networks that `for_k_step` chooses among; none where there is no choice."""
        return ()

    def for_k_step(self, k_step: float | None) -> Classifier:
        """Give the classifier whose network is for a k step, None where it is not known."""
        return self

    def ready_for(self, k_step: float | None) -> Classifier | None:
        """Give what `for_k_step` gives, if its network is loaded; without waiting."""
        return self

    def fits(self, k_step: float | None) -> bool:
        """Tell whether its network is for a k step; see :func:`fits_k_step`."""
        return fits_k_step(k_step, self.bundle.pitch)

    def prepare(
        self, frames: ArrayLike | Sequence[NDArray[Any]], geometry: FrameGeometry
    ) -> NDArray[np.float32]:
        """Make the network's inputs, shape (N, views, rows, columns), of raw frames."""
        return prepare(frames, self.bundle.preprocessing, geometry)

    def infer(self, inputs: NDArray[np.float32]) -> Posterior:
        """Classify prepared inputs, shape (N, views, rows, columns); see :func:`join_views`.

        How sure the network may be is told by the frames, too: see `classify`.
        """
        return self.posterior(self.run(inputs), inputs.shape[1])

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        """Run the network on prepared inputs, shape (N, views, rows, columns), one view after the other."""
        count, views = inputs.shape[:2]
        output = self.engine.run(inputs.reshape(count * views, *inputs.shape[2:]))
        if output.logits.shape != (count * views, len(self.bundle.classes)):
            raise RuntimeError(
                f"the engine {self.engine.name!r} gave logits of shape {output.logits.shape}, "
                f"not {(count * views, len(self.bundle.classes))}"
            )
        return output

    def posterior(self, output: NetworkOutput, views: int, judgement: Judgement | None = None) -> Posterior:
        """Join what the network gave for the views of each frame, one frame after the other.

        Parameters
        ----------
        output : NetworkOutput
        views : int
        judgement : Judgement, optional
            Of these frames; with it they have temperatures of their own, and the head that counts disks
            beside the network is heard, where such were fitted.
        """
        calibration = judgement.calibration if judgement else None
        if judgement and calibration:
            temperatures = calibration.temperatures(
                judgement.verdict.inputs, judgement.logits, judgement.masked
            )
            joined = join_views(judgement.logits, temperatures[:, None, None])
        else:
            logits = output.logits.reshape(-1, views, len(self.bundle.classes))
            joined = join_views(logits, self.bundle.temperature)
        statistics = self.bundle.feature_statistics
        novelty = (
            statistics.distances(output.features) if statistics else np.zeros(len(output.logits), np.float32)
        )
        return Posterior(
            self.bundle.classes,
            np.exp(joined).astype(np.float32),
            novelty.reshape(-1, views).mean(axis=1),
            calibration.limit if calibration else None,
        )

    def classify(self, frames: ArrayLike, geometry: FrameGeometry) -> Posterior:
        """Classify raw frames, shape (N, rows, columns) or (rows, columns)."""
        inputs = self.prepare(frames, geometry)
        output = self.run(inputs)
        pixels = list(np.asarray(frames).reshape(-1, *geometry.shape))
        judgement = judge(self.trust, self.bundle, pixels, inputs, output, geometry)
        return self.posterior(output, inputs.shape[1], judgement)

    def label(
        self,
        frames: Sequence[NDArray[np.generic]],
        geometry: FrameGeometry,
        saturation_level: float | None = None,
        k_step: float | None = None,
        times: StageTimes | None = None,
        *,
        center_assumed: bool = False,
        correction: Correction | None = None,
    ) -> list[FrameResult]:
        """Classify raw frames that may be unfit for it: each gets a result with its flags.

        Pixels that a frame marks as without a value are left out; see
        :mod:`speckle_plugin.preprocessing.marked_pixels`.

        Parameters
        ----------
        frames : sequence of array, each of shape (rows, columns)
        geometry : FrameGeometry
        saturation_level : float, optional
            Value from which on a pixel is saturated; by default the largest value of an
            integer dtype, and none for floating point.
        k_step : float, optional
            Wave number per pixel of the detector, if known. Where it differs from the network's by up to
            30 %, frames are resampled, see :mod:`speckle_plugin.preprocessing.resampling`.
        times : StageTimes, optional
            To which the seconds of the stages `prepare` and `classify` are added.
        center_assumed : bool
            Whether nobody said where the beam is; then each frame is flagged for it.
        correction : Correction, optional
            Of each frame that is fit; flags are those of the frame as it was measured.

        Returns
        -------
        list of FrameResult
            One for each frame, in order.
        """
        times = times or StageTimes()
        nothing = np.zeros(len(self.bundle.classes), np.float32)
        if correction is not None:
            geometry = correction.without_blind(geometry)
        with times("prepare"):
            geometries = [
                without_marked_pixels(np.asarray(frame), geometry, self.bundle.preprocessing)
                for frame in frames
            ]
            flags = [
                self._inspect(frame, of_frame, saturation_level, k_step, of_frame is not geometry)
                for frame, of_frame in zip(frames, geometries, strict=True)
            ]
        results = [FrameResult(Status.FLAGGED, nothing, flags=found) for found in flags]
        alike: dict[FrameGeometry, list[int]] = {}
        for i, found in enumerate(flags):
            if not UNFIT.intersection(found):
                alike.setdefault(geometries[i], []).append(i)
        for of_frames, fit in alike.items():
            with times("prepare"), np.errstate(over="ignore"):  # in pixels that the network does not see
                inputs = self._prepare_fit([frames[i] for i in fit], of_frames, k_step, correction)
            with times("classify"):
                output = self.run(inputs)
                # Noise that was combined or corrected is not that of a frame as it is measured.
                as_measured = correction is None and self.resampling(of_frames, k_step) is None
                judged = [frames[i] for i in fit] if as_measured else []
                judgement = judge(self.trust, self.bundle, judged, inputs, output, of_frames)
                posterior = self.posterior(output, inputs.shape[1], judgement)
                possible = posterior.possible
                odd = odd_flags(judgement, posterior.novelty, self.bundle)
            for row, i in enumerate(fit):
                results[i] = FrameResult(
                    Status.CLASSIFIED,
                    posterior.probabilities[row],
                    int(posterior.disk_number[row]),
                    float(posterior.confidence[row]),
                    float(posterior.entropy[row]),
                    float(posterior.novelty[row]),
                    (*flags[i], *odd[row]),
                    possible[row],
                )
        if center_assumed:
            results = [replace(result, flags=(*result.flags, Flag.ASSUMED_CENTER)) for result in results]
        return results

    def _prepare_fit(
        self,
        frames: list[NDArray[Any]],
        geometry: FrameGeometry,
        k_step: float | None,
        correction: Correction | None,
    ) -> NDArray[np.float32]:
        """Prepare frames that are fit: corrected, on pixels of the network's k step."""
        if correction is not None:
            frames = [correction(frame) for frame in frames]
        if resampling := self.resampling(geometry, k_step):
            return self.prepare([resampling(frame) for frame in frames], resampling.geometry)
        return self.prepare(frames, geometry)

    def resampling(self, geometry: FrameGeometry, k_step: float | None) -> Resampling | None:
        """Give how frames are brought to the network's k step; None if they are taken as they are."""
        if not k_step or not self.bundle.pitch:
            return None
        return resampling_to(self.bundle.pitch, k_step, geometry, self.bundle.preprocessing)

    def _inspect(
        self,
        frame: NDArray[Any],
        geometry: FrameGeometry,
        saturation_level: float | None,
        k_step: float | None,
        marked: bool,
    ) -> tuple[Flag, ...]:
        frame = np.asarray(frame)
        if frame.shape != geometry.shape or frame.dtype.kind not in "biuf":
            return (Flag.WRONG_SHAPE,)
        with np.errstate(over="ignore"):  # what overflows float32 is not finite to the network
            pixels = used_values(frame, geometry, self.bundle.preprocessing)
        least, most = pixels.min(), pixels.max()
        if unfit := unfit_flag(least, most):
            return (unfit,)
        # What was left out as marked may have been saturated: nothing tells which, in a type of few bits.
        saturated = marked and saturation_level is None and may_be_saturated(frame.dtype)
        if saturation_level is None and frame.dtype.kind in "iu":
            saturation_level = float(np.iinfo(frame.dtype).max)
        flags = []
        if saturated or (saturation_level is not None and most >= saturation_level):
            flags.append(Flag.SATURATED)
        if least < 0:
            flags.append(Flag.NEGATIVE)
        known = self.bundle.pitch
        if k_step and known and abs(k_step / known - 1.0) > SAME_K_STEP:
            if self.resampling(geometry, k_step):
                flags.append(Flag.RESAMPLED)
            else:
                flags.append(Flag.OTHER_PITCH if self.any_k_step else Flag.WRONG_K_STEP)
        return tuple(flags)


def fits_k_step(k_step: float | None, known: float | None) -> bool:
    """Tell whether a network for the k step `known` is for frames of another one.

    It is where frames can be brought to it, see :mod:`speckle_plugin.preprocessing.resampling`, and where
    one of the two is not known.
    """
    return not k_step or not known or abs(k_step / known - 1.0) <= LARGEST_CHANGE
