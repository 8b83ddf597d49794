"""Frames of CBF files (Pilatus, Eiger) and EDF files (ESRF), read by fabio."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.frames.library_logs import captured_log
from speckle_plugin.frames.source import FrameFileError, FrameSource, Statements, frames_shape
from speckle_plugin.scattering.units import k_step_of

__all__ = ["open_cbf", "open_edf", "open_fit2d_mask"]

NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"


def open_cbf(path: str | os.PathLike[str]) -> FrameSource:
    """Open the frame of a CBF file; what its header says of the detector is read too."""
    from fabio.cbfimage import CbfImage

    return _Fabio(path, CbfImage)


def open_edf(path: str | os.PathLike[str]) -> FrameSource:
    """Open the frames of an EDF file. Pixels that it keeps in another file are not followed."""
    from fabio.edfimage import EdfImage

    return _Fabio(path, EdfImage)


def open_fit2d_mask(path: str | os.PathLike[str]) -> FrameSource:
    """Open the mask of Fit2D (.msk), as one frame."""
    from fabio.fit2dmaskimage import Fit2dMaskImage

    return _Fabio(path, Fit2dMaskImage)


class _Fabio(FrameSource):
    """A file that one of fabio's classes reads."""

    def __init__(self, path: str | os.PathLike[str], kind: Any) -> None:
        with captured_log("fabio"):
            self._image = kind().read(os.fspath(path))
        try:
            frames = getattr(self._image, "_frames", None) or [self._image]
            for frame in frames:
                if any(key.startswith("EDF_BinaryFile") for key in getattr(frame, "header", {})):
                    raise FrameFileError(
                        f"{path} keeps its pixels in another file (EDF_BinaryFileName): that is not followed"
                    )
            data = self._image.data
            if data is None:
                raise FrameFileError(f"{path} holds no frame")
            shape = frames_shape(str(path), (int(self._image.nframes), *data.shape))
            super().__init__(str(path), shape, data.dtype, is_single=shape[0] == 1)
        except BaseException:
            self.close()
            raise

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        frames = []
        with captured_log("fabio"):
            for index in range(start, stop):
                data = self._image.data if self.shape[0] == 1 else self._image.get_frame(index).data
                if data is None or data.shape != self.shape[1:]:
                    raise FrameFileError(f"{self.name}: frame {index} is unlike the first, or damaged")
                frames.append(data)
        return np.stack(frames)

    def _statements(self) -> Statements:
        header = self._image.header.get("_array_data.header_contents", "")
        center = re.search(rf"Beam_xy\s*\(?\s*{NUMBER}\s*,\s*{NUMBER}", header)
        pixel = re.search(rf"Pixel_size\s*{NUMBER}\s*m?\s*x\s*{NUMBER}", header)
        wavelength, distance = _number(header, "Wavelength"), _number(header, "Detector_distance")
        beam = (float(center[2]), float(center[1])) if center else None
        return Statements(
            beam_center=beam if beam and any(beam) else None,
            k_step=k_step_of(
                None if wavelength is None else wavelength * 1e-10,
                distance,
                (float(pixel[2]), float(pixel[1])) if pixel else (None, None),
            ),
            saturation_level=_number(header, "Count_cutoff") or None,
        )

    def close(self) -> None:  # noqa: D102
        self._image.close()


def _number(header: str, key: str) -> float | None:
    """Give a number of the header that Dectris' detectors write, such as `# Wavelength 0.9 A`."""
    found = re.search(rf"{key}\s*=?\s*{NUMBER}", header)
    return float(found[1]) if found else None
