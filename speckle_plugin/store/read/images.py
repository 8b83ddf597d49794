"""The frames under one image key of a stored run: how many, whose, when, and their pixels.

A frame's index counts from 0 over all frames of the key. Which frames there are is told by the run's
documents; the file may hold more, such as those of an aborted flight that no document named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speckle_plugin.documents.descriptors import (
    Detector,
    FrameSettings,
    describe_detector,
    is_configured_anew,
)
from speckle_plugin.documents.shapes import count_frames
from speckle_plugin.frames.source import Statements
from speckle_plugin.frames.stated import from_record, with_statements
from speckle_plugin.preprocessing import hash_mask
from speckle_plugin.schema import image_key_of
from speckle_plugin.store.read.events import StreamEvents
from speckle_plugin.store.read.file_statements import read_file_statements
from speckle_plugin.store.read.read_errors import frame_errors

__all__ = ["StoredImages", "cut_spans"]

LARGEST_GAP = 16
"""Frames between two wanted ones that are read along: a request costs more than they do,
since the server looks up all the files of the stream for each."""

BYTES_AT_ONCE = 64 * 2**20


class StoredImages:
    """The frames under one image key.

    Parameters
    ----------
    events : StreamEvents
        The events of their stream.
    data_key : str
    stated : mapping, optional
        What the run's summary says that their file said; None if nobody has asked it yet.

    Attributes
    ----------
    stream : str
    image_key : str
        Their name in results.
    """

    def __init__(self, events: StreamEvents, data_key: str, stated: Mapping[str, Any] | None = None) -> None:
        self._stated = stated
        self.events, self.stream, self.data_key = events, events.stream, data_key
        self.image_key = image_key_of(self.stream, data_key)
        self._spec: Mapping[str, Any] = events.data_keys[data_key]

    def describe(self, settings: FrameSettings | None = None, *, with_file: bool = True) -> Detector:
        """Give what the run's documents, its files, and the settings, say of the detector.

        Parameters
        ----------
        settings : FrameSettings, optional
        with_file : bool
            Whether what the file says is wanted too.
        """
        settings = settings or FrameSettings()
        detector = describe_detector(self.data_key, self.events.descriptor, settings, self.stream)
        return with_statements(detector, self.statements)[0] if with_file else detector

    @cached_property
    def statements(self) -> Statements:
        """What the file of the frames says of them, as when they were labelled.

        A mask is read again, if the file is on this machine and still has it.
        """
        if self._array is None or self._stated == {}:
            return Statements()
        if self._stated is None:
            return read_file_statements(self._array)
        recorded = from_record(self._stated)
        if "mask" in self._stated:
            mask = read_file_statements(self._array).mask
            if mask is not None and hash_mask(mask) == self._stated["mask"]:
                return replace(recorded, mask=mask)
        return recorded

    @property
    def lacks_mask(self) -> bool:
        """Whether the file had a mask when the frames were labelled that cannot be read here."""
        return "mask" in (self._stated or {}) and self.statements.mask is None

    def is_configured_anew(self, settings: FrameSettings) -> bool:
        """Tell whether the detector got another beam centre, pitch or saturation level during the run."""
        return is_configured_anew(self.data_key, self.events.descriptor, self.stream, settings)

    # Which frames there are

    @cached_property
    def _array(self) -> Any:
        try:
            return self.events.run.base[f"{self.stream}/{self.data_key}"]
        except KeyError:  # described, but never read
            return None

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        shape = self._spec["shape"] if self._array is None else self._array.shape
        return int(shape[-2]), int(shape[-1])

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return np.dtype(self._spec.get("dtype_numpy") or "<f8") if self._array is None else self._array.dtype

    @cached_property
    def frames_per_event(self) -> int:
        """Frames of each event, as its data key says, or the resource where it says more (`multiplier`)."""
        if self._array is None:
            return count_frames(self._spec["shape"])
        shape = self._array.shape
        if len(shape) > max(3, len(self._spec["shape"])):  # (events, ..., rows, columns)
            return int(np.prod(shape[1:-2]))
        return count_frames(self._spec["shape"], self._array.metadata.get("frame_per_point"))

    @cached_property
    def _count(self) -> int:
        if self._array is None:
            return 0
        stored = int(np.prod(self._array.shape[:-2]))
        # The stored array is as long as the documents say, until Tiled's `run.validate()` makes it as long
        # as the file. The number of events counts those that were taken again once; the rows all of them.
        stop = self.events.run.metadata.get("stop") or {}
        events = (stop.get("num_events") or {}).get(self.stream, 0)
        if not events or stored <= events * self.frames_per_event:
            return stored
        return min(stored, max(events, len(self.events.times[0])) * self.frames_per_event)

    def __len__(self) -> int:
        return self._count

    # Their pixels

    def read(self, indices: ArrayLike, region: tuple[slice, slice] | None = None) -> Iterator[NDArray[Any]]:
        """Read frames, one after the other, so that any number fits in memory.

        Parameters
        ----------
        indices : array of int
            Of the frames, ascending.
        region : (slice, slice), optional
            Rows and columns, if not all are wanted: the server then gives only these.

        Yields
        ------
        array, shape (rows, columns)
            In the detector's type.

        Raises
        ------
        ValueError
            If there is no such frame.
        FrameReadError
            If the server can't read it from its file; with the reason, if the server tells it.
        """
        wanted = np.asarray(indices, np.int64)
        self.check(wanted)
        rows, columns = region or (slice(None), slice(None))
        shape = tuple(
            len(range(*part.indices(n))) for part, n in zip((rows, columns), self.shape, strict=True)
        )
        most = max(1, BYTES_AT_ONCE // max(1, shape[0] * shape[1] * self.dtype.itemsize))
        for span in cut_spans(wanted, most):
            per_row = int(np.prod(self._array.shape[1:-2]))
            first, last = int(span[0]) // per_row, int(span[-1]) // per_row
            cut = (slice(first, last + 1), *[slice(None)] * (len(self._array.shape) - 3), rows, columns)
            with frame_errors(self._array, self.image_key, span.tolist()):
                block = np.asarray(self._array[cut if region else cut[0]]).reshape(-1, *shape)
            for index in span:
                # A copy, or one wanted frame would keep the whole block in memory.
                yield block[index - first * per_row].copy()

    def check(self, indices: NDArray[np.int64]) -> None:
        """See that there are frames of these indices.

        Raises
        ------
        ValueError
            If not.
        """
        missing = indices[(indices < 0) | (indices >= len(self))]
        if len(missing):
            raise ValueError(
                f"there are {len(self)} frames, none with index {missing[-1]}: is the run still open?"
            )

    # Their events

    def circumstances(
        self,
        frame_index: NDArray[np.int64],
        seq_num: NDArray[np.int64],
        more: Sequence[str] = (),
    ) -> dict[str, NDArray[np.float64]]:
        """Give what else was recorded with each frame, NaN where it was not.

        Parameters
        ----------
        frame_index, seq_num : array, shape (N,)
            Index of each frame and sequence number of its event.
        more : sequence of str
            Keys to give besides.

        Returns
        -------
        dict
            `truth_disk_number`, `time` of the event, then the positions of the moved motors (all numbers of
            the stream where nothing was moved), then `more`; each of shape (N,), float64.
        """
        truth = self.events.truth_key(self.data_key)
        keys = [key for key in self.events.positions if key != truth]
        keys += [key for key in more if key in self.events.numbers and key not in keys]
        wanted = ["time", *keys, *([truth] if truth else [])]
        table = self.events.columns(["seq_num", *wanted])
        values = {key: np.full(len(frame_index), np.nan) for key in ("truth_disk_number", "time", *keys)}
        streamed = self.events.streamed_truth(self.data_key)
        named = frame_index < len(streamed)
        values["truth_disk_number"][named] = streamed[frame_index[named]]
        if table is None or table.empty:
            return values
        rows = self._rows(frame_index, seq_num, table["seq_num"].to_numpy())
        known = rows >= 0
        for key in wanted:
            column = table[key].to_numpy(dtype=np.float64)
            values["truth_disk_number" if key == truth else key][known] = column[rows[known]]
        return values

    def _rows(
        self, frame_index: NDArray[np.int64], seq_num: NDArray[np.int64], table_seq_num: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Give the row of each frame, -1 for none.

        By the frame's index, since after a pause two rows may have one sequence number;
        by that number where the index does not fit (a key that not every event has).
        """
        rows = frame_index // max(1, self.frames_per_event)
        fits = rows < len(table_seq_num)
        fits[fits] = table_seq_num[rows[fits]] == seq_num[fits]
        last_row = {int(number): row for row, number in enumerate(table_seq_num)}
        by_number = np.array([last_row.get(int(number), -1) for number in seq_num], dtype=np.int64)
        return np.where(fits, rows, by_number)

    def event_of(self, index: int) -> tuple[int, float]:
        """Give sequence number and time of a frame's event, as far as known; the time is 0 if it is not."""
        event = index // max(1, self.frames_per_event)
        seq_nums, times = self.events.times
        return (int(seq_nums[event]), float(times[event])) if event < len(times) else (event + 1, 0.0)


def cut_spans(indices: NDArray[np.int64], most: int) -> Iterable[NDArray[np.int64]]:
    """Cut ascending indices into runs, of `most` frames at most, that are read at once."""
    start = 0
    for i in range(1, len(indices) + 1):
        at_end = i == len(indices)
        if at_end or indices[i] - indices[i - 1] > LARGEST_GAP or indices[i] - indices[start] >= most:
            yield indices[start:i]
            start = i
