"""Frames of TIFF files: one in a page, in as many pages as there are."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.frames.library_logs import captured_log
from speckle_plugin.frames.source import FrameFileError, FrameSource, frames_shape

__all__ = ["open_tiff"]


def open_tiff(path: str | os.PathLike[str]) -> FrameSource:
    """Open the frames of a TIFF file.

    Raises
    ------
    FrameFileError
        If it holds none, pages of unlike frames, or is damaged.
    """
    return _Tiff(path)


class _Tiff(FrameSource):
    """Pages only: what OME and others say of further files is not followed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import tifffile

        with captured_log("tifffile") as errors:
            self._file = tifffile.TiffFile(path)
            pages = list(self._file.pages)
        try:
            if errors:  # it would go on with the pages before
                raise FrameFileError(f"{path} is damaged or truncated: {errors[0]}", not_yet=True)
            if not pages:
                raise FrameFileError(f"{path} holds no page", not_yet=True)
            shapes = {(page.shape, page.dtype) for page in pages}
            if len(shapes) > 1 or pages[0].dtype is None:
                raise FrameFileError(
                    f"the pages of {path} are unlike, they can't be frames of one detector: {shapes}"
                )
            stated = (self._file.imagej_metadata or {}).get("images", len(pages))
            if stated != len(pages):
                raise FrameFileError(
                    f"{path} holds {stated} images of ImageJ in {len(pages)} page(s): save it as "
                    "pages, or as HDF5"
                )
            shape = (len(pages), *pages[0].shape)
            checked = frames_shape(str(path), shape)
            super().__init__(str(path), checked, pages[0].dtype, is_single=len(pages) == 1)
        except BaseException:
            self._file.close()
            raise

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        frames = []
        for index in range(start, stop):
            page: Any = self._file.pages[index]
            try:
                frames.append(page.asarray())
            except ValueError as error:
                if "imagecodecs" in str(error):
                    raise FrameFileError(
                        f"{self.name} is compressed ({page.compression.name}): pip install imagecodecs, or "
                        "save it without compression"
                    ) from None
                raise
        return np.stack(frames)

    def close(self) -> None:  # noqa: D102
        self._file.close()
