"""A detector of a run, and what is learnt of it while its frames come: from its file, from its frames."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import Detector, FrameSettings
from speckle_plugin.documents.frame_finder import CorrectionFrames, FrameReference
from speckle_plugin.documents.roles import Role
from speckle_plugin.frames.checks import FrameChecks
from speckle_plugin.frames.correction_frames import UNCORRECTED, Corrected, correct_by
from speckle_plugin.frames.opening import open_source
from speckle_plugin.frames.reader import read_frames
from speckle_plugin.frames.source import FrameFileError
from speckle_plugin.frames.stated import to_record, with_statements
from speckle_plugin.live.labels import label_frames
from speckle_plugin.network.classifier import Classifier, FrameResult
from speckle_plugin.stage_times import StageTimes

__all__ = ["KnownDetector"]

logger = logging.getLogger(__name__)


class KnownDetector:
    """One detector, as far as it is known by now. For one thread.

    Parameters
    ----------
    detector : Detector
        What documents and the user say of it.

    Attributes
    ----------
    detector : Detector
        With what its file says.
    stated : dict
        What the file said, as it is stored in the run's summary.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.stated: dict[str, Any] = {}
        self._checks = FrameChecks(detector)
        self._file_asked = False
        self._correcting: tuple[CorrectionFrames | None, ...] = ()
        self._corrected = UNCORRECTED
        self._told = ""

    def ask_file(self, references: Sequence[FrameReference], pixels: Sequence[NDArray[Any] | OSError]) -> str:
        """Have the first file that could be read say what it does of its frames, once.

        Returns
        -------
        str
            What is to be told of it; empty if nothing is.
        """
        if self._file_asked:
            return ""
        files = (
            (reference.path, reference.dataset)
            for reference, frame in zip(references, pixels, strict=True)
            if reference.path and not isinstance(frame, OSError)
        )
        for path, dataset in files:
            try:
                with open_source(path, dataset or None) as source:
                    statements = source.statements()
            except FrameFileError as error:
                self._file_asked = not error.not_yet
                return f"{self.detector.image_key}: {error}"
            self._file_asked = True
            self.stated = to_record(statements)
            self.detector, problem = with_statements(self.detector, statements)
            self._checks = FrameChecks(self.detector)
            if problem:
                logger.warning(problem)
            return problem
        return ""

    def correct(self, reference: FrameReference, settings: FrameSettings) -> Corrected:
        """Give what corrects a frame, and those with the same dark frames and flat fields.

        These are read where they are not those of before.
        """
        asked = settings.corrections
        if not asked:
            return UNCORRECTED
        correcting = (reference.darks, reference.flats)
        if correcting != self._correcting:
            rows, columns = self.detector.shape[-2:]
            darks, flats = ([] if found is None else read_frames(found.frames) for found in correcting)
            self._corrected = correct_by(
                darks if Role.DARK in asked else None, flats if Role.FLAT in asked else None, (rows, columns)
            )
            self._correcting = correcting
        return self._corrected

    def label(
        self,
        classifier: Classifier,
        frames: Sequence[NDArray[Any] | OSError],
        times: StageTimes | None = None,
        corrected: Corrected = UNCORRECTED,
    ) -> list[tuple[FrameResult, str]]:
        """Label frames, see :func:`label_frames`, and look at some of them."""
        labelled = label_frames(classifier, self.detector, frames, times, self._checks, corrected)
        if self._checks.advice and not self._told:
            self._told = self._checks.advice
            logger.warning(self._told)
        return labelled
